"""Login at a real OpenID provider: who comes in, as whom, and everything that somebody may try on the way."""

import time
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from sqlalchemy import text

from scripthut_outputs.access.oidc_login import CALLBACK
from scripthut_outputs.catalog.auditing import Act
from tests.integration.outputs.house import ORIGIN, House, ended
from tests.integration.outputs.logging_in import (
    REDIRECT,
    Providers,
    begin,
    come_back,
    log_in,
    runs_of,
    session_of,
    use,
)
from tests.testbed.oidc import OidcProvider


@pytest.fixture
def provider(house: House, oidc_providers: Providers) -> OidcProvider:
    """A provider that the access file names."""
    provider = oidc_providers(REDIRECT)
    provider.people(ada={"preferred_username": "ada"})
    use(house, provider.settings(admin_groups=("wheel",), account_claim="account"))
    return provider


async def acts(house: House) -> list[tuple[str, str | None, str | None]]:
    """What stands in the audit log, and why where somebody was refused."""
    rows = await house.rows("SELECT act, actor, details FROM outputs.audit ORDER BY entry")
    return [(row.act, row.actor, (row.details or {}).get("reason")) for row in rows]


async def refused(house: House, answer: Any, *words: str) -> None:
    """Nobody came in; the page says why in words, and so does the audit log."""
    assert answer.status_code == 403
    assert session_of(house, answer) is None
    for word in words:
        assert word in answer.text
    refusals = [reason for act, _, reason in await acts(house) if act == "login.refused"]
    assert refusals
    assert all(refusals)


async def test_a_browser_is_sent_to_the_provider_with_secrets_of_its_own(house: House, provider: OidcProvider) -> None:
    first, second = await begin(house), await begin(house)

    asked = first.asked
    assert first.location.startswith(f"{provider.issuer}/auth?")
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == REDIRECT
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[name]) >= 43
        assert asked[name] != second.asked[name]
    assert asked["state"] not in first.cookie
    answer = await house.get("/login/oidc", None)
    assert all(mark in answer.headers["set-cookie"] for mark in ("HttpOnly", "SameSite=Lax", "Max-Age=600"))
    assert answer.headers["cache-control"] == "no-store"


async def test_who_logged_in_is_here_what_the_provider_says(house: House, provider: OidcProvider) -> None:
    provider.people(u1={"preferred_username": "grace", "groups": ["lattice", "wheel"], "account": "grace_h"})

    answer = await log_in(house, provider, "u1")

    assert answer.status_code == 303
    assert answer.headers["location"] == "/ui/"
    assert (await runs_of(house, session_of(house, answer))).status_code == 200
    [row] = await house.rows("SELECT * FROM outputs.identities")
    assert (row.name, row.issuer, row.subject, row.account) == ("grace", provider.issuer, "u1", "grace_h")
    assert row.groups == ["lattice", "wheel"]
    assert (await acts(house)) == [("identity.changed", "grace", None), ("login", "grace", None)]


async def test_what_changed_at_the_provider_counts_from_the_next_login(house: House, provider: OidcProvider) -> None:
    provider.people(ada={"preferred_username": "grace", "groups": ["wheel"]})
    session = session_of(house, await log_in(house, provider))
    assert (await house.get("/metrics", None, cookie=str(session))).status_code == 200

    provider.people(ada={"preferred_username": "grace"})
    again = session_of(house, await log_in(house, provider))

    assert (await house.get("/metrics", None, cookie=str(again))).status_code == 403
    assert (await house.get("/metrics", None, cookie=str(session))).status_code == 403


async def test_a_login_that_was_begun_in_another_browser_is_refused(house: House, provider: OidcProvider) -> None:
    attacker, victim = await begin(house), await begin(house)
    address = await provider.log_in(attacker.location)

    await refused(house, await come_back(house, address, victim.cookie), "not begun in this browser")
    await refused(house, await come_back(house, address, ""), "not begun in this browser")
    name = victim.cookie.partition("=")[0]
    await refused(house, await come_back(house, address, f"{name}=forged"), "not begun in this browser")
    both = f"{attacker.cookie}; {victim.cookie}"
    await refused(house, await come_back(house, address, both), "not begun in this browser")


async def test_an_answer_counts_once(house: House, provider: OidcProvider) -> None:
    begun = await begin(house)
    address = await provider.log_in(begun.location)

    first = await come_back(house, address, begun.cookie)
    second = await come_back(house, address, begun.cookie)

    assert session_of(house, first) is not None
    removed = [cookie for cookie in first.headers.get_list("set-cookie") if begun.cookie.partition("=")[0] in cookie]
    assert len(removed) == 1
    assert "Max-Age=0" in removed[0]
    await refused(house, second, "was finished already")


async def test_a_login_takes_ten_minutes_at_most(house: House, provider: OidcProvider) -> None:
    begun = await begin(house)
    house.parts.access.logins._clock = lambda: time.time() + 601

    await refused(house, await come_back(house, begun.answer(), begun.cookie), "longer than 10 minutes")


async def test_a_code_of_another_browser_is_refused_by_its_proof(house: House, provider: OidcProvider) -> None:
    stolen, own = await begin(house), await begin(house)
    code = dict(pair.split("=", 1) for pair in urlsplit(await provider.log_in(stolen.location)).query.split("&"))[
        "code"
    ]

    answer = await come_back(house, own.answer(code=code, iss=provider.issuer), own.cookie)

    await refused(house, answer, "does not take this code")


@pytest.mark.parametrize("issuer", ["https://evil.example.org", "", None])
async def test_an_answer_of_another_provider_is_refused(
    house: House, provider: OidcProvider, issuer: str | None
) -> None:
    begun = await begin(house)

    await refused(house, await come_back(house, begun.answer(iss=issuer), begun.cookie), "another provider")


async def test_a_login_at_the_provider_of_before_is_refused(house: House, provider: OidcProvider) -> None:
    begun = await begin(house)
    address = await provider.log_in(begun.location)
    use(house, msgspec.structs.replace(provider.settings(), client_id="another"))

    await refused(house, await come_back(house, address, begun.cookie), "has changed meanwhile")


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example.org/",
        "//evil.example.org/",
        "/ui/../..//evil.example.org",
        "/\\evil.example.org",
        "/ui/\r\nset-cookie: a=b",
        "javascript:alert(1)",
        "/ui/é",
        "/logout",
    ],
)
async def test_a_login_leads_to_a_page_of_ours(house: House, provider: OidcProvider, address: str) -> None:
    begun = await begin(house, address)

    answer = await come_back(house, await provider.log_in(begun.location), begun.cookie)

    led = answer.headers["location"]
    assert led.startswith("/ui/")
    assert urlsplit(f"{ORIGIN}{led}").netloc == urlsplit(ORIGIN).netloc
    assert "a=b" not in str(answer.headers)


async def test_what_the_provider_says_of_an_error_is_shown_as_text(house: House, provider: OidcProvider) -> None:
    begun = await begin(house)
    said = {"code": None, "iss": provider.issuer, "error": "access_denied"}
    description = "<script>alert(1)</script>\x1b[31m\u202ered"

    answer = await come_back(house, begun.answer(**said, error_description=description), begun.cookie)

    await refused(house, answer, "&lt;script&gt;alert(1)&lt;/script&gt;")
    assert "<script>alert" not in answer.text
    assert "\x1b" not in answer.text
    assert "\u202e" not in answer.text


async def test_an_error_that_nobody_asked_for_is_not_shown(house: House, provider: OidcProvider) -> None:
    answer = await house.get(f"{CALLBACK}?error=call+this+number&state=x&iss={provider.issuer}", None)

    await refused(house, answer, "not begun in this browser")
    assert "call this number" not in answer.text


@pytest.mark.parametrize("twice", ["&code=other", "&state=other", "&iss=other", f"&x={'y' * 9000}", "&a=1" * 60])
async def test_an_address_that_no_provider_writes_is_refused(house: House, provider: OidcProvider, twice: str) -> None:
    begun = await begin(house)

    answer = await come_back(house, begun.answer(iss=provider.issuer) + twice, begun.cookie)

    await refused(house, answer, "This address")


async def test_a_name_is_its_first_bearers_for_ever(house: House, provider: OidcProvider) -> None:
    provider.people(u1={"preferred_username": "grace"}, u2={"preferred_username": "grace"})
    await log_in(house, provider, "u1")

    await refused(house, await log_in(house, provider, "u2"), "&#39;grace&#39; is somebody else")
    provider.people(u1={"preferred_username": "hopper"})
    await refused(house, await log_in(house, provider, "u1"), "known here as &#39;grace&#39;")

    assert [row.subject for row in await house.rows("SELECT subject FROM outputs.identities")] == ["u1"]
    assert [act for act, _, _ in await acts(house)] == ["login", "login.refused", "login.refused"]


async def test_a_name_is_given_to_another(house: House, provider: OidcProvider) -> None:
    provider.people(u1={"preferred_username": "grace"}, u2={"preferred_username": "grace"})
    old = session_of(house, await log_in(house, provider, "u1"))

    act = Act(act="identity.unbound", actor="root", credential="command", target="grace")
    await house.parts.access.identities.unbind("grace", act)

    assert (await runs_of(house, old)).status_code == 401
    fresh = session_of(house, await log_in(house, provider, "u2"))
    assert (await runs_of(house, fresh)).status_code == 200
    await refused(house, await log_in(house, provider, "u1"), "somebody else")


@pytest.mark.parametrize("name", ["<b>x</b>", "../root", "a b", "", "ada\n", "x" * 200])
async def test_a_name_that_nobody_may_have_here_is_refused(house: House, provider: OidcProvider, name: str) -> None:
    provider.people(ada={"preferred_username": name})

    answer = await log_in(house, provider)

    await refused(house, answer, "provider")
    assert "<b>" not in answer.text.partition("<main")[2]


async def test_a_name_that_was_closed_lets_nobody_in(house: House, provider: OidcProvider) -> None:
    provider.people(ada={"preferred_username": "grace"})
    session = session_of(house, await log_in(house, provider))
    async with house.database.transaction() as connection:
        await connection.execute(text("UPDATE outputs.identities SET disabled_at = now()"))

    await refused(house, await log_in(house, provider), "may not come in here any more")
    assert (await runs_of(house, session)).status_code == 401


async def test_a_wrong_secret_is_told_to_whoever_runs_this(house: House, provider: OidcProvider, tmp_path: Any) -> None:
    wrong = tmp_path / "secret"
    wrong.write_text("not the secret that it knows")
    use(house, msgspec.structs.replace(provider.settings(), client_secret_file=str(wrong)))

    await refused(house, await log_in(house, provider), "invalid_client", "client_secret_file")


async def test_people_of_the_tokens_file_keep_what_is_theirs(house: House, provider: OidcProvider) -> None:
    await house.apply(ended(owner="ada"))

    session = session_of(house, await log_in(house, provider))

    assert len((await runs_of(house, session)).json()["runs"]) == 1


async def test_the_button_is_there_where_there_is_a_provider(house: House, provider: OidcProvider) -> None:
    assert "Log in with your institution" in (await house.get("/login?next=/ui/runs/r%261", None)).text
    assert 'href="/login/oidc?next=/ui/runs/r%261"' in (await house.get("/login?next=/ui/runs/r%261", None)).text

    house.policy = type(house.policy)()

    assert "/login/oidc" not in (await house.get("/login", None)).text
    assert (await house.get("/login/oidc", None)).status_code == 404
    assert (await house.get(CALLBACK, None)).status_code == 403
