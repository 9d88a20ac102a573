"""The outputs service with something to serve, as the process that `serving` measures: DATABASE FOLDER PORT [open].

`open` leaves the door and its guard out.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from litestar import Response, get
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send
from sqlalchemy import insert

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_common.serving import serve
from scripthut_outputs import app
from scripthut_outputs.access import Action, Actor, Role
from scripthut_outputs.catalog.changes import Listener
from scripthut_outputs.controllers.archives import Archives
from scripthut_outputs.controllers.door import Door, Rules
from scripthut_outputs.controllers.files import Files
from scripthut_outputs.controllers.lanes import Lanes
from scripthut_outputs.controllers.live import Live
from scripthut_outputs.controllers.routing import Guard, asks
from scripthut_outputs.ledger import Place
from scripthut_outputs.migrations import MIGRATIONS
from scripthut_outputs.tables import ITEMS, RUNS
from tests.integration.outputs.house import House, ended

FRAGMENTS = 30
FRAGMENT_BYTES = 1024
OUTPUTS = 30
MANY_FILES = 1000
KIB = 1024
FILES = {"64k": 64 * KIB, "1m": 1024 * KIB}
SUMMARY, LISTED = "/runs/r1/summary", "/runs/r1/tasks/t0/outputs"
PAGE, LARGE_PAGE = "/ui/runs/page", "/ui/runs/large"
PAGE_ITEMS, LARGE_ITEMS = 100, 10_000
READY = "ready"
CREDENTIALS = "credentials.json"


def content(name: str) -> bytes:
    """The bytes of one of `FILES`."""
    return (name.encode() * (FILES[name] // len(name) + 1))[: FILES[name]]


def many(number: int) -> bytes:
    """The bytes of one of many files of 64 KiB, each different."""
    return f"{number:016}".encode() * (64 * KIB // 16)


async def main(arguments: Sequence[str]) -> None:
    """Fill a house and serve it until killed."""
    database, folder, port = Database(arguments[0]), Path(arguments[1]), int(arguments[2])
    await migrating.upgrade(database, MIGRATIONS)
    house = House(database, folder)
    await _fill(house)
    is_open = arguments[3:] == ["open"]
    guard = _Nobody(house.reading, house.parts.noting) if is_open else Guard(house.reading, house.parts.noting)
    litestar = app.build_litestar(house.parts, guard)
    kept = {"summary": SUMMARY, "outputs": LISTED, "page": PAGE}
    litestar.register(_from_memory({name: await _body(house, path) for name, path in kept.items()}))
    rules = Rules(allowed_hosts=frozenset({"127.0.0.1"}), cors_origins=frozenset())
    files = Files(house.reading, house.blobs, guard)
    archives = Archives(house.reading, house.blobs, guard, house.parts.archive_limits)
    live = Live(house.hub, guard, house.parts.stream_limits)
    lanes = Lanes(litestar, files, archives, live)
    door = _letting_all_in(lanes) if is_open else Door(lanes, house.parts.access, rules)
    (folder / CREDENTIALS).write_bytes(msgspec.json.encode(await _credentials(house)))
    print(READY, flush=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(Listener(database, house.cache, house.hub).step())
        group.create_task(house.hub.step())
        group.create_task(serve(door, "127.0.0.1", port))


class _Nobody(Guard):
    """A guard who asks nobody anything."""

    async def ask(self, actor: Actor | None, action: Action, run_id: str | None) -> None:
        pass


def _letting_all_in(app: ASGIApp) -> ASGIApp:
    """A door without a guard: everybody is root."""
    root = Actor(name="root", role=Role.ADMIN)

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        scope["user"] = root
        await app(scope, receive, send)

    return door


async def _fill(house: House) -> None:
    await house.apply(*(ended(f"t{number}", position=number) for number in range(FRAGMENTS)))
    await house.apply(ended("files", position=FRAGMENTS))
    for name in FILES:
        await house.store("r1", "files", name.encode(), content(name))
    for number in range(MANY_FILES):
        await house.store("r1", "files", f"many/{number}".encode(), many(number))
    for number in range(FRAGMENTS):
        line = f"- step **{number}** of [the log](log.txt) converged\n"
        fragment = (line * (FRAGMENT_BYTES // len(line) + 1))[:FRAGMENT_BYTES].encode()
        await house.store("r1", f"t{number}", b"", fragment, Place.RUN_SUMMARY, kind="markdown")
    for number in range(OUTPUTS):
        await house.store("r1", "t0", f"plot-{number}.png".encode(), f"plot {number}".encode())
    await _fill_pages(house)


async def _fill_pages(house: House) -> None:
    for number in range(PAGE_ITEMS):
        task_id = f"part.{number}"
        await house.apply(ended(task_id, "page", position=number))
        await house.store("page", task_id, b"task-summary.md", f"- step **{number}** converged\n".encode() * 5)
    rows = [
        {"run_id": "large", "task_id": f"sim.{number % 40}.{number}", "task_name": f"step {number}", "position": number}
        | {"state": "final", "outcome": "failed" if number % 50 == 0 else "succeeded"}
        for number in range(LARGE_ITEMS)
    ]
    async with house.database.transaction() as connection:
        run = {"run_id": "large", "name": "A large run", "cluster": "daint", "owner": "ada"}
        await connection.execute(insert(RUNS).values(run))
        await connection.execute(insert(ITEMS), rows)


async def _credentials(house: House) -> dict[str, str]:
    """Give headers that say who asks, by what is shown in them."""
    asked = {"label": "bench", "scopes": ["read"]}
    made = await house.post("/tokens", asked)
    made.raise_for_status()
    return {
        "a personal token": f"Authorization: Bearer {made.json()['token']}",
        "a session": f"Cookie: {house.session()}",
    }


async def _body(house: House, path: str) -> bytes:
    answer = await house.get(path)
    answer.raise_for_status()
    return answer.content


def _from_memory(bodies: dict[str, bytes]) -> Any:
    """A route of ours that answers the same bytes without asking anybody for them."""

    @get("/memory/{name:str}", opt=asks(Action.READ_SCHEMA))
    async def from_memory(name: FromPath[str]) -> Response[bytes]:
        return Response(bodies[name], media_type="application/json")

    return from_memory


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
