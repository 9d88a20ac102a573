"""Attacks at the door, each tried on every route: forged requests, names, addresses with tokens, floods."""

import re
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from tests.integration.outputs.house import ORIGIN, TOKENS, House, document, ended
from tests.integration.outputs.walking import Asked, Body, addresses, ask, unsafe

GIB = 1024**3
MANY = 10_000
ADA = ("authorization", f"Bearer {TOKENS['ada']}")
SECRET = "sho_" + "kUw0" * 16
HOST = ("host", "localhost:8080")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts what the database is asked: `asked[0]`."""
    count = [0]
    real = Database.transaction

    @asynccontextmanager
    async def counting(self: Database) -> AsyncIterator[AsyncConnection]:
        count[0] += 1
        async with real(self) as connection:
            yield connection

    monkeypatch.setattr(Database, "transaction", counting)
    return count


async def state(house: House) -> list[Any]:
    """All that a request could have changed."""
    tables = ("runs", "items", "collections", "outbox", "access_tokens", "identities", "audit")
    return [sorted(map(str, await house.rows(f"SELECT * FROM outputs.{table}"))) for table in tables]


def session(house: House, actor: str = "ada") -> tuple[str, str]:
    return ("cookie", house.session(actor))


async def log_in(house: House, token: str) -> Asked:
    form = f"token={token}".encode()
    return await ask(house, "POST", "/login", [HOST, ("origin", ORIGIN)], body=Body(len(form), form))


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [("origin", "https://evil.example.org")],
        [("origin", "null")],
        [("origin", "http://localhost:9999")],
        [("origin", "https://friend.example.org")],
        [("origin", ORIGIN), ("sec-fetch-site", "cross-site")],
        [("origin", ORIGIN), ("sec-fetch-site", "same-site")],
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-origin")],
    ],
)
async def test_no_route_does_what_another_sites_page_asks(house: House, sent: list[tuple[str, str]]) -> None:
    await house.apply(ended())
    before = await state(house)

    for method, path in unsafe(house):
        answer = await ask(house, method, path, [HOST, session(house), *sent])
        assert answer.status_code == 403, (method, path)

    assert await state(house) == before


async def test_a_strangers_browser_is_not_signed_in_by_another_site(house: House) -> None:
    for sent in (("origin", "https://friend.example.org"), ("sec-fetch-site", "cross-site")):
        assert (await ask(house, "POST", "/login", [HOST, sent])).status_code == 403


async def test_a_page_that_is_named_changes_things_with_a_token_alone(house: House) -> None:
    friend = [HOST, ("origin", "https://friend.example.org"), ("sec-fetch-site", "cross-site")]
    await house.apply(ended())

    assert (await ask(house, "PUT", "/runs/r1/pin", [*friend, ADA])).status_code == 200
    assert (await ask(house, "DELETE", "/runs/r1/pin", [*friend, session(house)])).status_code == 403


async def test_our_own_page_is_let_in_on_every_route(house: House) -> None:
    for method, path in unsafe(house):
        sent = [HOST, session(house), ("origin", ORIGIN), ("sec-fetch-site", "same-origin")]
        assert b"another site" not in (await ask(house, method, path, sent)).body, (method, path)


@pytest.mark.parametrize("host", ["evil.example.org", "localhost.evil.org", "", "127.0.0.1"])
async def test_a_name_that_is_not_ours_opens_no_route(house: House, host: str) -> None:
    for method, path in addresses(house):
        answer = await ask(house, method, path, [("host", host), ADA])
        assert answer.status_code == 421, (method, path)
    preflight = [("origin", "https://friend.example.org"), ("access-control-request-method", "POST")]
    assert (await ask(house, "OPTIONS", "/runs", [("host", host), *preflight])).status_code == 421


@pytest.mark.parametrize(
    "query",
    [
        f"token={SECRET}",
        f"a=b&access_token={SECRET}",
        f"%74oken={SECRET}",
        f"TOKEN={SECRET}",
        f"+token={SECRET}",
        "token=",
        f"q={SECRET}",
        f"next=/ui/%3F{SECRET}",
        f"q=%73ho_{SECRET[4:]}",
        SECRET,
    ],
)
async def test_a_token_in_an_address_is_refused_on_every_path(house: House, query: str) -> None:
    for method, path in addresses(house):
        answer = await ask(house, method, f"{path}?{query}", [ADA])
        assert answer.status_code == 400, (method, path)
        assert method == "HEAD" or b"Authorization: Bearer" in answer.body
        assert SECRET.encode() not in answer.body


@pytest.mark.parametrize("query", ["q=token", "q=my+token", "tokens=1", "state=", "q=sho_short", "x=%zz&token.x=1"])
async def test_an_address_that_only_speaks_of_tokens_is_none(house: House, query: str) -> None:
    assert (await ask(house, "GET", f"/runs?{query}", [ADA])).status_code in {200, 422}


async def test_a_name_before_the_host_is_refused_and_not_repeated(house: House) -> None:
    for method, path in addresses(house):
        answer = await ask(house, method, path, [("host", f"ada:{SECRET}@localhost"), ADA])
        assert answer.status_code == 400, (method, path)
        assert SECRET.encode() not in answer.body
        basic = await ask(house, method, path, [("authorization", "basic YWRhOnNlY3JldA==")])
        assert basic.status_code == 400, (method, path)


@pytest.mark.parametrize("is_told", [True, False], ids=["with its length", "in pieces"])
@pytest.mark.parametrize("who", [[ADA], []], ids=["ada", "a stranger"])
async def test_a_gibibyte_is_refused_early_by_every_route(
    house: House,
    is_told: bool,  # noqa: FBT001  a table's column
    who: list[tuple[str, str]],
) -> None:
    await house.apply(ended())
    before = await state(house)
    length = [("content-length", str(GIB))] if is_told else []

    for method, path in unsafe(house):
        answer = await ask(house, method, path, [*who, *length], body=Body(GIB))
        assert answer.status_code == 413 or (not who and path == "/runs"), (method, path)
        limit = 0 if is_told else 130 * 1024 * 1024 if path == "/runs" else 128 * 1024
        assert answer.taken_bytes <= limit, (method, path, answer.taken_bytes)

    assert await state(house) == before


async def test_a_run_document_of_a_gibibyte_is_not_kept_while_it_is_refused(house: House) -> None:
    tracemalloc.start()
    try:
        answer = await ask(house, "POST", "/runs", [ADA], body=Body(GIB))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answer.status_code == 413
    assert peak_bytes < 48 * 1024 * 1024


@pytest.mark.parametrize("length", ["-1", "1e9", "", "9" * 5000, "0x10"])
async def test_a_length_that_is_none_does_no_harm(house: House, length: str) -> None:
    answer = await ask(house, "POST", "/login", [("content-length", length)], body=Body(GIB))

    assert answer.status_code == 413
    assert answer.taken_bytes <= 128 * 1024


async def test_a_small_body_reaches_its_handler_whole(house: House) -> None:
    answer = await house.post("/tokens", {"label": "x" * 100, "scopes": ["read"]})

    assert answer.status_code == 201


async def test_ten_thousand_wrong_tokens_cost_nothing_and_open_nothing(house: House, asked: list[int]) -> None:
    house.cache.begin()
    statuses = set[int]()
    for number in range(MANY):
        token = f"sho_{number:064}" if number % 2 else f"guess-number-{number}"
        answer = await ask(house, "GET", "/runs", [("authorization", f"Bearer {token}")])
        statuses.add(answer.status_code)

    assert statuses == {401, 429}
    assert asked[0] <= 60
    assert len(house.cache._entries) <= 1
    right = await ask(house, "GET", "/runs", [ADA])
    assert right.status_code == 200


async def test_ten_thousand_wrong_tokens_in_the_form_cost_nothing(house: House, asked: list[int]) -> None:
    statuses = set[int]()
    for number in range(MANY):
        answer = await log_in(house, f"sho_{number:064}")
        statuses.add(answer.status_code)
    right = await log_in(house, TOKENS["ada"])

    assert statuses == {403, 429}
    assert asked[0] <= 60
    assert answer.headers[b"content-type"].startswith(b"text/html")
    assert int(answer.headers[b"retry-after"]) > 0
    assert b"set-cookie" not in answer.headers
    assert (right.status_code, b"set-cookie" in right.headers) == (303, True)


async def test_wrong_login_links_are_not_asked_of_the_database_for_ever(house: House, asked: list[int]) -> None:
    statuses = [(await ask(house, "GET", f"/login?code={number}")).status_code for number in range(1000)]

    assert statuses[:3] == [403, 403, 403]
    assert statuses[-1] == 429
    assert asked[0] <= 60
    elsewhere = await house.login_codes.issue("ada", minutes=5)
    assert (await ask(house, "GET", f"/login?code={elsewhere}", peer="198.51.100.7")).status_code == 303


async def test_who_is_told_to_wait_is_told_how_long(house: House) -> None:
    for _ in range(30):
        answer = await ask(house, "GET", "/runs", [("authorization", "Bearer wrong")])

    assert answer.status_code == 429
    assert answer.headers[b"content-type"] == b"application/problem+json"
    assert 0 < int(answer.headers[b"retry-after"]) <= 60
    other = await ask(house, "GET", "/runs", [("authorization", "Bearer wrong")], peer="198.51.100.7")
    assert other.status_code == 401


async def test_wrong_tokens_from_many_places_fill_no_memory_and_no_log(house: House, asked: list[int]) -> None:
    statuses = set[int]()
    for number in range(MANY):
        peer = f"2001:db8:{number >> 8:x}:{number & 255:x}::1"
        answer = await ask(house, "GET", "/runs", [("authorization", f"Bearer w{number}")], peer=peer)
        statuses.add(answer.status_code)

    assert statuses == {401, 429}
    assert 0 < len(house.parts.access.refusals) <= 4096
    assert asked[0] <= 70
    written = await house.rows("SELECT * FROM outputs.audit WHERE act = 'login.refused'")
    assert 0 < len(written) <= 60
    assert not any(re.search("w[0-9]", str(one)) for one in written)


async def test_a_session_is_forged_by_nobody_however_often(house: House, asked: list[int]) -> None:
    for number in range(1000):
        cookie = f"{house.sessions.cookie_name}=ImFkYSI.{number}.{'x' * 27}"
        assert (await ask(house, "GET", "/runs", [("cookie", cookie)])).status_code == 401

    assert asked[0] == 0


async def test_a_run_can_still_be_created_by_a_page_of_ours(house: House) -> None:
    async with house.client(None, cookie=session(house)[1], origin=ORIGIN) as client:
        answer = await client.post("/runs", json=document(), headers={"sec-fetch-site": "same-origin"})

    assert answer.status_code == 201
