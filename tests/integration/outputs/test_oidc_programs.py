"""Programs with a JWT: of a real provider, and of everybody who is none."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import text

from scripthut_outputs.access import oidc_kept
from scripthut_outputs.access.policy import Oidc
from tests.integration.outputs.house import House, document
from tests.integration.outputs.logging_in import REDIRECT, Providers, use
from tests.testbed.oidc import Lying, OidcProvider, lying
from tests.unit.outputs.access.signing import AUDIENCE, KEY, OTHER, header, sign

KEYS = {"keys": [KEY.as_dict(private=False)]}


@pytest.fixture
def provider(house: House, oidc_providers: Providers) -> OidcProvider:
    """A real provider that the access file names."""
    provider = oidc_providers(REDIRECT)
    use(house, provider.settings())
    return provider


@pytest.fixture
def liar(house: House) -> Iterator[Lying]:
    """One that says what a test lets it say."""
    with lying(KEYS) as found:
        use(house, settings(found))
        yield found


def settings(liar: Lying, **changes: Any) -> Oidc:
    told = {"audiences": (AUDIENCE,), "admin_groups": ("wheel",)} | changes
    return Oidc(issuer=liar.issuer, client_id="scripthut", **told)


def token(liar: Lying, *, ago_s: float = 0.0, **changes: Any) -> str:
    now = time.time() - ago_s
    claims = {"iss": liar.issuer, "aud": AUDIENCE, "sub": "u1", "iat": now, "exp": now + 3600}
    said = claims | {"preferred_username": "grace"} | changes
    return sign({name: value for name, value in said.items() if value is not None}).decode()


async def ask(house: House, bearer: str, path: str = "/runs", body: Any = None) -> httpx.Response:
    async with house.client(None, authorization=f"Bearer {bearer}") as client:
        return await (client.get(path) if body is None else client.post(path, content=msgspec.json.encode(body)))


async def test_a_program_of_a_real_provider_may_what_its_token_says(house: House, provider: OidcProvider) -> None:
    reading = provider.token()
    submitting = provider.token(scope="scripthut:read scripthut:submit")

    assert (await ask(house, reading)).status_code == 200
    assert (await ask(house, reading, "/runs", document())).status_code == 403
    assert (await ask(house, submitting, "/runs", document())).status_code == 201
    assert [row.owner for row in await house.rows("SELECT owner FROM outputs.runs")] == ["robot"]
    [row] = await house.rows("SELECT name, issuer, subject FROM outputs.identities")
    assert tuple(row) == ("robot", provider.issuer, "robot")


async def test_a_token_for_somebody_else_counts_nothing(house: House, provider: OidcProvider) -> None:
    use(house, provider.settings(audiences=("https://another.example.org",)))
    assert "for somebody else" in (await ask(house, provider.token())).json()["detail"]

    use(house, provider.settings(audiences=()))
    assert "names no `audiences`" in (await ask(house, provider.token())).json()["detail"]


async def test_keys_that_were_changed_count_no_more(
    house: House, provider: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc_kept, "AGAIN_AFTER_S", 0.0)
    old = provider.token()
    assert (await ask(house, old)).status_code == 200

    provider.rotate()

    assert (await ask(house, provider.token())).status_code == 200
    assert "a key that its issuer does not have" in (await ask(house, old)).json()["detail"]


@pytest.mark.parametrize(
    "forged",
    [
        lambda said: sign(said, key=OTHER),
        lambda said: sign(said, header(alg="none")).rpartition(b".")[0] + b".",
        lambda said: sign(said, header(alg="HS256")),
        lambda said: sign(said, header(kid="../../one")),
        lambda said: sign(said, header(jku="https://evil.example.org/jwks"), OTHER),
        lambda said: sign(said, header(crit=["exp"])),
        lambda said: sign(said | {"iss": "https://evil.example.org"}),
        lambda said: sign(said | {"exp": time.time() - 3600}),
        lambda said: sign(said | {"iat": time.time() + 3600}),
        lambda said: sign(said | {"padding": "x" * 20_000}),
        lambda said: sign(said, '{"alg": "RS256", "kid": "one", "kid": "two"}'),
        lambda _: sign("[" * 1100),
        lambda _: b"eyJ..",
        lambda _: b"eyJ.eyJ.\xe9",
    ],
)
async def test_a_forged_token_is_nobody(house: House, liar: Lying, forged: Any) -> None:
    said = {"iss": liar.issuer, "aud": AUDIENCE, "sub": "u1", "iat": time.time(), "exp": time.time() + 60}

    bearer = forged(said | {"preferred_username": "ada"})
    async with house.client(None) as client:
        answer = await client.get("/runs", headers=[(b"authorization", b"Bearer " + bearer)])

    assert answer.status_code == 401
    assert answer.json()["title"] == "Unauthorized"
    assert liar.count("/jwks") <= 1
    assert await house.rows("SELECT * FROM outputs.identities") == []


async def test_invented_keys_make_us_ask_the_provider_once(house: House, liar: Lying) -> None:
    said = {"iss": liar.issuer, "aud": AUDIENCE, "sub": "u1", "iat": time.time(), "exp": time.time() + 60}
    for number in range(20):
        answer = await ask(house, sign(said, header(kid=f"invented-{number}")).decode())
        assert answer.status_code == 401

    assert liar.count("/jwks") == 1


async def test_a_token_without_a_name_says_which_claim_is_missing(house: House, liar: Lying) -> None:
    answer = await ask(house, token(liar, preferred_username=None))

    assert answer.status_code == 401
    assert "'preferred_username' is missing" in answer.json()["detail"]


async def test_a_provider_that_is_away_is_no_refusal(house: House, liar: Lying) -> None:
    liar.says["/jwks"] = (500, b"{}")

    answer = await ask(house, token(liar))

    assert answer.status_code == 503
    assert "/jwks answers 500" in answer.json()["detail"]
    assert answer.headers["retry-after"]


async def test_a_name_that_is_another_subjects_is_refused_and_noted_once(house: House, liar: Lying) -> None:
    assert (await ask(house, token(liar))).status_code == 200

    for _ in range(5):
        answer = await ask(house, token(liar, sub="u2"))
        assert answer.status_code == 401
        assert "somebody else's here" in answer.json()["detail"]

    rows = await house.rows("SELECT act, actor, credential, address, details FROM outputs.audit WHERE actor = 'grace'")
    assert [(row.act, row.actor, row.credential, row.address, row.details["subject"]) for row in rows] == [
        ("login.refused", "grace", "jwt", "127.0.0.1", "u2")
    ]


async def test_the_newest_word_counts_and_an_old_token_brings_nothing_back(house: House, liar: Lying) -> None:
    old = token(liar, ago_s=600, groups=["wheel"], scope="scripthut:admin")
    assert (await ask(house, old, "/metrics")).status_code == 200

    newer = token(liar, ago_s=300, groups=["lattice"], scope="scripthut:admin")
    assert (await ask(house, newer, "/metrics")).status_code == 403

    assert (await ask(house, old, "/metrics")).status_code == 403
    assert (await ask(house, token(liar, ago_s=500, groups=["wheel"]), "/runs")).status_code == 200
    assert (await ask(house, token(liar), "/runs")).status_code == 200
    assert [tuple(row) for row in await house.rows("SELECT groups FROM outputs.identities")] == [(["lattice"],)]


async def test_a_closed_name_and_ended_sessions_end_tokens_too(house: House, liar: Lying) -> None:
    old = token(liar, ago_s=60)
    assert (await ask(house, old)).status_code == 200
    async with house.database.transaction() as connection:
        await connection.execute(text("UPDATE outputs.identities SET sessions_since = now() - interval '30 seconds'"))

    assert (await ask(house, old)).status_code == 401
    assert (await ask(house, token(liar))).status_code == 200
    async with house.database.transaction() as connection:
        await connection.execute(text("UPDATE outputs.identities SET disabled_at = now()"))
    assert (await ask(house, token(liar))).status_code == 401


async def test_a_token_that_was_taken_ends_when_its_name_comes_into_the_tokens_file(
    house: House, liar: Lying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripthut_outputs.access.watched._LOOK_AGAIN_S", 0.0)
    house.policy = msgspec.structs.replace(house.policy, trusts_listed_names=False)
    bearer = token(liar, scope="scripthut:admin scripthut:read")
    assert (await ask(house, bearer)).status_code == 200

    house.tokens_file.write_text("grace admin token-of-grace-0123456789\n")

    assert [(await ask(house, bearer, path)).status_code for path in ("/runs", "/metrics")] == [401, 401]


async def test_a_programs_token_begins_no_session(house: House, liar: Lying) -> None:
    async with house.client(None) as client:
        answer = await client.post("/login", data={"token": token(liar)})

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert "for programs" in answer.text


async def test_a_wrong_token_is_not_helped_out_by_a_cookie(house: House, liar: Lying) -> None:
    cookie = house.session("ada")

    answer = await house.get("/runs", None, cookie=cookie, authorization=f"Bearer {token(liar, aud='another')}")

    assert answer.status_code == 401
