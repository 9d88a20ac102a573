"""The outputs service with something to serve, as the process that `serving` measures: DATABASE FOLDER PORT."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from litestar import Response, get
from litestar.params import FromPath

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_common.serving import serve
from scripthut_outputs import app
from scripthut_outputs.access import Action
from scripthut_outputs.catalog.changes import Listener
from scripthut_outputs.controllers.archives import Archives
from scripthut_outputs.controllers.door import Door, Rules
from scripthut_outputs.controllers.files import Files
from scripthut_outputs.controllers.lanes import Lanes
from scripthut_outputs.controllers.live import Live
from scripthut_outputs.controllers.routing import Guard, asks
from scripthut_outputs.ledger import Place
from scripthut_outputs.migrations import MIGRATIONS
from tests.integration.outputs.house import House, ended

FRAGMENTS = 30
FRAGMENT_BYTES = 1024
OUTPUTS = 30
MANY_FILES = 1000
KIB = 1024
FILES = {"64k": 64 * KIB, "1m": 1024 * KIB}
SUMMARY, LISTED = "/runs/r1/summary", "/runs/r1/tasks/t0/outputs"
READY = "ready"


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
    guard = Guard(house.reading)
    litestar = app.build_litestar(house.parts, guard)
    litestar.register(_from_memory({"summary": await _body(house, SUMMARY), "outputs": await _body(house, LISTED)}))
    rules = Rules(allowed_hosts=frozenset({"127.0.0.1"}), cors_origins=frozenset())
    files = Files(house.reading, house.blobs, guard)
    archives = Archives(house.reading, house.blobs, guard, house.parts.archive_limits)
    live = Live(house.hub, guard, house.parts.stream_limits)
    door = Door(Lanes(litestar, files, archives, live), house.parts.tokens, house.sessions, rules)
    print(READY, flush=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(Listener(database, house.cache).step())
        group.create_task(serve(door, "127.0.0.1", port))


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
