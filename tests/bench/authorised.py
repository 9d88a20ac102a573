"""Files and lists of outputs behind the door and its guard, against the same application without either."""

import asyncio
import tempfile
from pathlib import Path

from tests.bench import served, serving
from tests.bench.table import Row
from tests.testbed.postgres import PostgresServer

_PATHS = {
    "a file of 64 KiB": "/runs/r1/tasks/files/outputs/file/64k",
    "a task's outputs": served.LISTED,
    "a run's summary": served.SUMMARY,
}


async def measure() -> list[Row]:
    """Serve both on one core, each from its own process and catalog, and ask them in turns."""
    return await asyncio.to_thread(_measure)


def _measure() -> list[Row]:
    client, server = serving.cores()
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second, PostgresServer() as postgres:
        guarded = serving.ours(postgres.databases.create(), Path(first), server)
        unguarded = serving.ours(postgres.databases.create(), Path(second), server, has_open_door=True)
        with guarded as ours, unguarded as peer:
            return [serving.row(_match(ours, peer, what, path), client) for what, path in _PATHS.items()]


def _match(ours: str, peer: str, what: str, path: str) -> serving.Match:
    what = f"GET {what}, knowing who asks and what they may; the same without"
    return serving.Match(what=what, ours=ours + path, peer=peer + path, target="≥ 0.8")
