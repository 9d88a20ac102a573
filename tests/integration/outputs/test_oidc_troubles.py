"""A provider that lies, is away, slow, or nobody that we trust: nobody comes in, and people are told why."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from joserfc.jwk import RSAKey
from structlog.testing import capture_logs

from scripthut_outputs import app
from scripthut_outputs.access import oidc_kept, oidc_login
from scripthut_outputs.access.addresses import Addresses
from scripthut_outputs.access.oidc_login import CALLBACK, Logins
from scripthut_outputs.access.policy import Oidc
from tests.integration.outputs.house import KEY as KEY_OF_COOKIES
from tests.integration.outputs.house import ORIGIN, House
from tests.integration.outputs.logging_in import Begun, begin, come_back, session_of, use
from tests.testbed.authorities import authority
from tests.testbed.oidc import Lying, lying
from tests.unit.outputs.access.signing import KEY, OTHER, header, sign

KEYS = {"keys": [KEY.as_dict(private=False)]}
AWAY = "The provider where people log in cannot be asked just now"


@pytest.fixture
def liar(house: House) -> Iterator[Lying]:
    """A provider that the access file names."""
    with lying(KEYS) as found:
        use(house, settings(found))
        yield found


def settings(liar: Lying, **changes: Any) -> Oidc:
    return Oidc(issuer=liar.issuer, client_id="scripthut", **changes)


def says(liar: Lying, begun: Begun, key: RSAKey = KEY, head: Any = None, **changes: Any) -> None:
    """Let it give these tokens for the next code."""
    now = time.time()
    claims = {"iss": liar.issuer, "aud": "scripthut", "sub": "u1", "iat": now, "exp": now + 60}
    claims |= {"nonce": begun.asked["nonce"], "preferred_username": "grace"} | changes
    said = {name: value for name, value in claims.items() if value is not None}
    liar.says["/token"] = {"id_token": sign(said, head or header(), key).decode(), "access_token": "at"}


async def finish(house: House, begun: Begun) -> httpx.Response:
    return await come_back(house, begun.answer(), begun.cookie)


async def test_a_provider_that_tells_the_truth_lets_people_in(house: House, liar: Lying) -> None:
    begun = await begin(house)
    says(liar, begun)

    assert session_of(house, await finish(house, begun)) is not None
    form = next(form for path, form in liar.asked if path == "/token")
    assert form["grant_type"] == ["authorization_code"]
    assert form["client_id"] == ["scripthut"]
    assert len(form["code_verifier"][0]) >= 43


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nonce": "of-another-login"}, "made for another login"),
        ({"nonce": None}, "made for another login"),
        ({"nonce": 5}, "made for another login"),
        ({"iss": "https://evil.example.org"}, "another issuer"),
        ({"aud": "another"}, "for somebody else"),
        ({"aud": ["scripthut", "another"]}, "another client"),
        ({"azp": "another"}, "another client"),
        ({"exp": 5}, "too old"),
        ({"iat": 4_000_000_000}, "the clocks"),
        ({"sub": None}, "`sub`"),
        ({"preferred_username": None}, "&#39;preferred_username&#39; is missing"),
    ],
)
async def test_an_id_token_that_is_not_of_this_login_is_refused(
    house: House, liar: Lying, changes: dict[str, Any], reason: str
) -> None:
    begun = await begin(house)
    says(liar, begun, **changes)

    answer = await finish(house, begun)

    assert answer.status_code == 403
    assert reason in answer.text
    assert session_of(house, answer) is None


async def test_an_id_token_that_somebody_else_signed_is_refused(house: House, liar: Lying) -> None:
    begun = await begin(house)
    says(liar, begun, OTHER)

    answer = await finish(house, begun)

    assert answer.status_code == 403
    assert "not signed by its issuer" in answer.text


@pytest.mark.parametrize("said", [{}, {"id_token": None}, {"id_token": 5}, {"id_token": "é"}])
async def test_without_an_id_token_nobody_comes_in(house: House, liar: Lying, said: Any) -> None:
    begun = await begin(house)
    liar.says["/token"] = said

    assert (await finish(house, begun)).status_code == 403


async def test_what_is_said_besides_must_be_of_the_same_person(house: House, liar: Lying) -> None:
    liar.says["/.well-known/openid-configuration"]["userinfo_endpoint"] = f"{liar.issuer}/me"
    begun = await begin(house)
    says(liar, begun)
    liar.says["/me"] = {"sub": "u2", "groups": ["wheel"]}

    assert "of somebody else" in (await finish(house, begun)).text
    begun = await begin(house)
    says(liar, begun)
    liar.says["/me"] = {"sub": "u1", "groups": ["lattice"], "preferred_username": "root"}
    assert session_of(house, await finish(house, begun)) is not None
    [row] = await house.rows("SELECT name, groups FROM outputs.identities")
    assert (row.name, row.groups) == ("grace", ["lattice"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"issuer": "https://evil.example.org"}, "is of the issuer"),
        ({"authorization_endpoint": "http://evil.example.org/auth"}, "is not https"),
        ({"token_endpoint": "ftp://127.0.0.1/token"}, "is not https"),
        ({"jwks_uri": "javascript:alert(1)"}, "is not https"),
        ({"jwks_uri": 5}, "is not what OpenID Connect asks for"),
        ({"code_challenge_methods_supported": ["plain"]}, "no PKCE"),
    ],
)
async def test_a_configuration_that_leads_elsewhere_is_not_taken(
    house: House, liar: Lying, changes: dict[str, Any], reason: str
) -> None:
    liar.says["/.well-known/openid-configuration"] |= changes

    with capture_logs() as logs:
        answer = await house.get("/login/oidc", None)

    assert answer.status_code == 503
    assert AWAY in answer.text
    assert reason in answer.text
    assert any(reason in str(line.get("error")) for line in logs)


@pytest.mark.parametrize(
    "said", [(200, b"<html>"), (200, b"[]"), (200, b"x" * 600_000), (500, b"{}"), (302, b"{}"), (200, b"[" * 2000)]
)
async def test_an_answer_that_cannot_be_read_is_no_answer(house: House, liar: Lying, said: Any) -> None:
    begun = await begin(house)
    for path in ("/token", "/.well-known/openid-configuration"):
        liar.says[path] = said

    assert (await finish(house, begun)).status_code in {403, 503}
    use(house, settings(liar, label="Another"))
    assert (await house.get("/login/oidc", None)).status_code == 503


async def test_a_provider_that_is_away_leaves_the_page_and_comes_back(
    house: House, liar: Lying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc_kept, "_FIRST_AGAIN_AFTER_S", 0.0)
    truth = liar.says.pop("/.well-known/openid-configuration")

    assert (await house.get("/login/oidc?next=/ui/runs/r1", None)).status_code == 503
    assert (await house.get("/login", None)).status_code == 200
    assert (await house.get("/runs")).status_code == 200
    liar.says["/.well-known/openid-configuration"] = truth
    assert (await house.get("/login/oidc", None)).status_code == 303


async def test_a_provider_where_nobody_listens_is_told_by_its_address(house: House) -> None:
    use(house, Oidc(issuer="http://127.0.0.1:9", client_id="scripthut"))

    answer = await house.get("/login/oidc", None)

    assert answer.status_code == 503
    assert "http://127.0.0.1:9/.well-known/openid-configuration cannot be reached" in answer.text


async def test_a_provider_that_hangs_holds_nobody_for_ever(
    house: House, liar: Lying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripthut_outputs.access.oidc_asking._TIMEOUT_S", 0.1)
    provider = house.parts.access.logins._providers.now()
    assert provider is not None
    provider.asking._timeout_s = 0.1
    liar.answering.clear()

    answer = await house.get("/login/oidc", None)

    assert answer.status_code == 503
    assert "did not answer within 0.1 s" in answer.text


async def test_keys_that_were_changed_are_found_while_people_log_in(
    house: House, liar: Lying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc_kept, "AGAIN_AFTER_S", 0.0)
    first = await begin(house)
    says(liar, first)
    assert session_of(house, await finish(house, first)) is not None
    fresh = RSAKey.generate_key(2048, {"kid": "two", "alg": "RS256"}, private=True)
    liar.says["/jwks"] = {"keys": [fresh.as_dict(private=False)]}
    second = await begin(house)
    says(liar, second, fresh, header(kid="two"))

    assert session_of(house, await finish(house, second)) is not None
    third = await begin(house)
    says(liar, third)
    assert "a key that its issuer does not have" in (await finish(house, third)).text


async def test_behind_tls_the_attempt_is_bound_to_our_host_alone(house: House, liar: Lying) -> None:
    providers = house.parts.access.logins._providers
    logins = Logins(providers, KEY_OF_COOKIES, "https://outputs.example.org")

    begun = await logins.begin("/ui/")

    assert begun.cookie.startswith("__Host-scripthut_login_")
    assert all(mark in begun.cookie for mark in ("; Secure", "; Path=/", "; HttpOnly", "; SameSite=Lax"))
    assert "omain" not in begun.cookie
    assert "redirect_uri=https%3A%2F%2Foutputs.example.org%2Flogin%2Foidc%2Fcallback" in begun.location
    house.parts = msgspec.structs.replace(
        house.parts, access=msgspec.structs.replace(house.parts.access, logins=logins)
    )
    house.app = app.build(house.parts, house.rules)
    [removal] = (await house.get(CALLBACK, None)).headers.get_list("set-cookie")
    assert removal.startswith("__Host-scripthut_login_")
    assert "Secure" in removal
    assert "Max-Age=0" in removal


async def test_a_cookie_of_another_installation_begins_no_login(house: House, liar: Lying) -> None:
    other = Logins(house.parts.access.logins._providers, b"another key", ORIGIN)
    begun = await other.begin("/ui/")
    value = begun.cookie.partition(";")[0].partition("=")[2]
    state = Begun(location=begun.location, cookie="").answer()

    answer = await come_back(house, state, f"{house.parts.access.logins.cookie_name}={value}")

    assert answer.status_code == 403
    assert liar.count("/token") == 0


async def test_a_certificate_counts_only_if_somebody_trusted_made_it(house: House, tmp_path: Path) -> None:
    (tmp_path / "another").mkdir()
    ca_file, context = authority(tmp_path)
    another, _ = authority(tmp_path / "another")
    with lying(KEYS, context) as found:
        use(house, settings(found))
        stranger = await house.get("/login/oidc", None)
        use(house, settings(found, ca_file=str(another)))
        wrong = await house.get("/login/oidc", None)
        use(house, settings(found, ca_file=str(ca_file)))
        trusted = await house.get("/login/oidc", None)

    assert "none of the system&#39;s authorities vouches for" in stranger.text
    assert "`ca_file` names further ones" in stranger.text
    assert f"nobody in {another} nor" in wrong.text
    assert trusted.status_code == 303


async def test_one_attempt_asks_the_provider_once(house: House, liar: Lying) -> None:
    begun = await begin(house)
    liar.says["/token"] = (400, b'{"error": "invalid_grant"}')

    answers = [await come_back(house, begun.answer(code=f"invented-{number}"), begun.cookie) for number in range(5)]

    assert [answer.status_code for answer in answers] == [403] * 5
    assert "was finished already" in answers[1].text
    assert liar.count("/token") == 1


async def test_how_many_attempts_are_remembered_is_bounded(
    house: House, liar: Lying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc_login, "_REMEMBERED", 3)
    logins = house.parts.access.logins

    for number in range(10):
        logins._use(f"state-{number}")
    remembered = list(logins._used)
    logins._clock = lambda: time.time() + 601
    logins._use("later")

    assert remembered == ["state-7", "state-8", "state-9"]
    assert list(logins._used) == ["later"]


async def test_wrong_answers_make_an_address_wait_and_are_written_as_long_as_there_are_few(
    house: House, liar: Lying
) -> None:
    answers = [await come_back(house, f"{CALLBACK}?code=x&state={number}", "") for number in range(21)]

    assert {answer.status_code for answer in answers[:20]} == {403}
    assert answers[20].status_code == 429
    assert int(answers[20].headers["retry-after"]) >= 1
    rows = await house.rows("SELECT act, address, details FROM outputs.audit")
    assert [(row.act, row.address, row.details["shown"]) for row in rows] == [
        ("login.refused", "127.0.0.1", "oidc")
    ] * 5
    assert "not begun in this browser" in rows[0].details["reason"]
    assert liar.count("/token") == 0


async def test_who_must_wait_keeps_the_attempt_and_finishes_it_later(house: House, liar: Lying) -> None:
    begun, refusals = await begin(house), house.parts.access.refusals
    says(liar, begun)
    for _ in range(20):
        await refusals.note("127.0.0.1", time.time(), "oidc")

    waiting = await finish(house, begun)
    asked = liar.count("/token")
    refusals._tried.clear()

    assert (waiting.status_code, asked) == (429, 0)
    assert "set-cookie" not in waiting.headers
    assert session_of(house, await finish(house, begun)) is not None


async def test_old_tokens_from_an_address_keep_nobody_there_from_logging_in(house: House, liar: Lying) -> None:
    begun = await begin(house)
    says(liar, begun)
    refused = [(await house.get("/runs", None, authorization="Bearer old")).status_code for _ in range(30)]

    assert set(refused) == {401, 429}
    assert session_of(house, await finish(house, begun)) is not None


async def test_where_all_places_are_taken_a_login_waits_a_moment_and_may_be_tried_again(
    house: House, liar: Lying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc_login, "_PATIENCE_S", 0.05)
    begun, logins = await begin(house), house.parts.access.logins
    says(liar, begun)
    for _ in range(16):
        await logins._places.acquire()

    refused = await finish(house, begun)
    logins._places.release()

    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert "too many people log in" in refused.text
    assert "set-cookie" not in refused.headers
    assert session_of(house, await finish(house, begun)) is not None


async def test_a_login_stands_in_the_log_with_the_address_that_a_trusted_proxy_tells(house: House, liar: Lying) -> None:
    house.app = app.build(house.parts, msgspec.structs.replace(house.rules, addresses=Addresses(["127.0.0.0/8"])))
    begun = await begin(house)
    says(liar, begun)

    for _ in range(2):
        await house.get(begun.answer(), None, cookie=begun.cookie, **{"x-forwarded-for": "203.0.113.9"})

    rows = await house.rows("SELECT act, address FROM outputs.audit ORDER BY entry")
    assert [tuple(row) for row in rows] == [("login", "203.0.113.9"), ("login.refused", "203.0.113.9")]
