"""Many people who have one run open: how soon each of them hears of a change, and how often the run is read for it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
from sqlalchemy import text

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_outputs.catalog.applying import Applying
from scripthut_outputs.catalog.changes import touch
from scripthut_outputs.migrations import MIGRATIONS
from tests.bench.table import Row
from tests.integration.outputs.api import HOST, Api
from tests.integration.outputs.house import TOKENS, item, said
from tests.testbed.postgres import PostgresServer

VIEWERS = 500
TASKS = 100
CHANGES = 40
SOON_S, LATE_S = 1.0, 5.0
_PAUSE_S = 0.5
_READS = "scripthut_outputs_live_reads_total"
_REQUEST = (
    f"GET /runs/r1/events HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {TOKENS['ada']}\r\n"
    "Accept: text/event-stream\r\n\r\n"
)


class _Heard(msgspec.Struct, frozen=True, kw_only=True):
    """How long it took each viewer to hear of each change, in seconds; how often the run was read for a change."""

    delays_s: Sequence[float]
    reads: float

    @property
    def soon(self) -> float:
        """The share that was told in time."""
        return sum(delay_s <= SOON_S for delay_s in self.delays_s) / len(self.delays_s)

    @property
    def slowest_s(self) -> float:
        """How long it took the last of all."""
        return max(self.delays_s)


class _Viewer:
    """Notes when it was told of which version."""

    def __init__(self) -> None:
        self.at: dict[int, float] = {}
        self.seen = asyncio.Event()

    async def watch(self, port: int) -> None:
        """Read the stream until cancelled."""
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(_REQUEST.encode())
            while line := await reader.readline():
                if line.startswith(b"id: "):
                    self.at[int(line[4:])] = time.monotonic()
                    self.seen.set()
        finally:
            writer.close()

    def heard_at(self, version: int) -> float:
        """When it stood at a version, or past it."""
        return min((at for told, at in self.at.items() if told >= version), default=float("inf"))


async def measure() -> list[Row]:
    """Measure one process, two, and one that a single viewer watches."""
    with PostgresServer() as postgres:
        uri = postgres.databases.create()
        database = Database(uri)
        await migrating.upgrade(database, MIGRATIONS)
        applying = Applying(database)
        for number in range(TASKS):
            await applying.apply(said(item(f"t{number}", position=number)))
        try:
            one = await _hear(database, uri, processes=1, viewers=VIEWERS)
            two = await _hear(database, uri, processes=2, viewers=VIEWERS)
            alone = await _hear(database, uri, processes=1, viewers=1)
        finally:
            await database.close()
    return [*_rows("one process", one), *_rows("two processes", two), _reads(one, alone)]


async def _hear(database: Database, uri: str, *, processes: int, viewers: int) -> _Heard:
    apis = [Api(uri, streams_each=viewers) for _ in range(processes)]
    try:
        async with _watching(apis, viewers) as watching:
            before = sum(api.counted(_READS) for api in apis)
            changed_at = {}
            for _ in range(CHANGES):
                await asyncio.sleep(random.uniform(0, 2 * _PAUSE_S))
                began = time.monotonic()
                changed_at[await _change(database)] = began
            await _all_at(watching, max(changed_at))
            reads = (sum(api.counted(_READS) for api in apis) - before) / CHANGES
    finally:
        for api in apis:
            api.close()
    delays_s = [viewer.heard_at(version) - at for version, at in changed_at.items() for viewer in watching]
    return _Heard(delays_s=delays_s, reads=reads)


@asynccontextmanager
async def _watching(apis: Sequence[Api], viewers: int) -> AsyncIterator[list[_Viewer]]:
    watching = [_Viewer() for _ in range(viewers)]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(viewer.watch(apis[number % len(apis)].port)) for number, viewer in enumerate(watching)
        ]
        for viewer in watching:
            await viewer.seen.wait()
        yield watching
        for task in tasks:
            task.cancel()


async def _change(database: Database) -> int:
    """Change one task, as an event does; give the version."""
    async with database.transaction() as connection:
        task_id = f"t{random.randrange(TASKS)}"
        await connection.execute(text("UPDATE outputs.items SET reason = 'moved' WHERE task_id = :id"), {"id": task_id})
        await touch(connection, "r1", items=[task_id], outputs=[task_id])
        found = await connection.scalar(text("SELECT version FROM outputs.runs WHERE run_id = 'r1'"))
        return int(found or 0)


async def _all_at(watching: Sequence[_Viewer], version: int) -> None:
    async with asyncio.timeout(60):
        for viewer in watching:
            while max(viewer.at) < version:
                viewer.seen.clear()
                await viewer.seen.wait()


def _rows(where: str, heard: _Heard) -> list[Row]:
    what = f"{VIEWERS} viewers of {where}"
    soon = f"{heard.soon:.1%} within {SOON_S:g} s"
    late = f"the last after {heard.slowest_s:.2f} s"
    return [
        Row(what=f"{what}: a change told", ours=soon, peer="all", ratio=heard.soon, target="≥ 0.95"),
        Row(what=f"{what}: none later", ours=late, peer=f"{LATE_S:g} s", ratio=heard.slowest_s / LATE_S, target="≤ 1"),
    ]


def _reads(many: _Heard, alone: _Heard) -> Row:
    what = f"queries for a change that {VIEWERS} watch, one viewer"
    return Row(
        what=what,
        ours=f"{many.reads:.2f}",
        peer=f"{alone.reads:.2f}",
        ratio=many.reads / alone.reads,
        target="≤ 1.1",
    )
