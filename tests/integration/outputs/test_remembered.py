"""Whoever was let in a moment ago is out at once when that ends, here or in another process."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, insert

from scripthut_outputs.access.directory import Directory
from scripthut_outputs.access.policy import PROXY, Policy
from scripthut_outputs.catalog.changes import Listener, touch_access
from scripthut_outputs.tables import IDENTITIES
from tests.eventually import eventually
from tests.integration.outputs.house import ORIGIN, TOKENS, House
from tests.integration.outputs.test_tokens import make

WAYS = ("file", "personal", "session")


class Two:
    """Two processes of one installation; `known` counts how often one looks somebody up."""

    def __init__(self, here: House, there: House, known: list[str]) -> None:
        self.here = here
        self.there = there
        self.known = known
        self.token_id = ""

    async def headers(self, way: str) -> dict[str, str]:
        """What ada shows."""
        if way == "session":
            return {"cookie": self.here.session()}
        if way == "file":
            return {"authorization": f"Bearer {TOKENS['ada']}"}
        made = await make(self.there)
        self.token_id = made["token_id"]
        return {"authorization": f"Bearer {made['token']}"}

    async def ask(self, headers: dict[str, str], path: str = "/runs") -> httpx.Response:
        """Ask the first."""
        return await self.here.get(path, None, **headers)


@pytest.fixture
async def two(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    monkeypatch.setattr("scripthut_outputs.access.watched._LOOK_AGAIN_S", 0.0)
    (tmp_path / "there").mkdir()
    there, known, look = House(house.database, tmp_path / "there"), list[str](), Directory.actor

    async def counted(self: Directory, name: str, **more: object) -> object:
        if self is house.parts.access.directory:
            known.append(name)
        return await look(self, name, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Directory, "actor", counted)
    listening = asyncio.create_task(Listener(house.database, house.cache).step())
    await eventually(lambda: house.cache.is_listening)
    yield Two(house, there, known)
    listening.cancel()
    there.previewer.close()


async def line_goes(two: Two) -> None:
    two.here.tokens_file.write_text(f"bob user {TOKENS['bob']}\n")


async def token_is_revoked(two: Two) -> None:
    async with two.there.client("ada") as client:
        assert (await client.delete(f"/tokens/{two.token_id}")).status_code == 200


async def sessions_are_ended(two: Two) -> None:
    async with two.there.client(None, cookie=two.there.session(), origin=ORIGIN) as client:
        assert (await client.post("/ui/sessions/end")).status_code == 303


async def name_is_disabled(two: Two) -> None:
    row = insert(IDENTITIES).values(name="ada", issuer=PROXY, disabled_at=func.now())
    async with two.there.database.transaction() as connection:
        await connection.execute(row)
        await touch_access(connection)


ENDS: dict[str, tuple[Callable[[Two], Awaitable[None]], tuple[str, ...]]] = {
    "line": (line_goes, WAYS),
    "revoked": (token_is_revoked, ("personal",)),
    "ended": (sessions_are_ended, ("session",)),
    "disabled": (name_is_disabled, WAYS),
}
CASES = [(way, end) for end, (_, ways) in ENDS.items() for way in ways]


@pytest.mark.parametrize("way", WAYS)
async def test_who_comes_again_is_not_looked_up_again(two: Two, way: str) -> None:
    shown = await two.headers(way)
    assert [(await two.ask(shown)).status_code for _ in range(2)] == [200] * 2
    two.known.clear()

    assert [(await two.ask(shown)).status_code for _ in range(3)] == [200] * 3

    assert two.known == []


@pytest.mark.parametrize(("way", "end"), CASES)
async def test_who_was_just_let_in_is_out_when_that_ends(two: Two, way: str, end: str) -> None:
    shown = await two.headers(way)
    assert [(await two.ask(shown)).status_code for _ in range(3)] == [200] * 3

    await ENDS[end][0](two)

    async with asyncio.timeout(30.0):
        while (answer := await two.ask(shown)).status_code == 200:  # noqa: ASYNC110  what is waited for sets no event
            await asyncio.sleep(0.01)
    assert answer.status_code == 401


@pytest.mark.parametrize("way", ["personal", "session"])
async def test_who_was_just_let_in_is_out_when_its_time_is_over(
    two: Two, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = await two.headers(way)
    assert [(await two.ask(shown)).status_code for _ in range(3)] == [200] * 3

    later = time.time() + 31 * 86400
    monkeypatch.setattr("scripthut_outputs.controllers.door.time.time", lambda: later)

    assert (await two.ask(shown)).status_code == 401


@pytest.mark.parametrize("way", ["file", "session"])
async def test_who_becomes_an_admin_is_one_with_the_next_request(two: Two, way: str) -> None:
    shown = await two.headers(way)
    before = [(await two.ask(shown, "/metrics")).status_code for _ in range(2)]

    two.here.policy = Policy(admins=("ada",))
    as_admin = (await two.ask(shown, "/metrics")).status_code
    two.here.policy = Policy()

    assert (before, as_admin, (await two.ask(shown, "/metrics")).status_code) == ([403, 403], 200, 403)


async def test_while_nobody_hears_of_changes_everybody_is_looked_up(two: Two) -> None:
    shown = await two.headers("personal")
    assert [(await two.ask(shown)).status_code for _ in range(3)] == [200] * 3
    two.here.cache.end()

    await two.here.rows("UPDATE outputs.access_tokens SET revoked_at = now() RETURNING token_id")

    assert (await two.ask(shown)).status_code == 401
