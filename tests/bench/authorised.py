"""Files and lists of outputs behind the door and its guard, against the same application without either."""

import asyncio
import tempfile
from pathlib import Path

import msgspec

from tests.bench import served, serving
from tests.bench.table import Row
from tests.testbed.postgres import PostgresServer

_FILE = "a file of 64 KiB"
_PATHS = {
    _FILE: "/runs/r1/tasks/files/outputs/file/64k",
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
            rows = [serving.row(_match(ours, peer, what), client) for what in _PATHS]
            written = (Path(first) / served.CREDENTIALS).read_bytes()
            others = msgspec.json.decode(written, type=dict[str, str])
            return [
                *rows,
                *(serving.row(_match(ours, peer, _FILE, by, header), client) for by, header in others.items()),
            ]


def _match(
    ours: str, peer: str, what: str, by: str = "a line of the tokens file", header: str = serving.BY_TOKEN
) -> serving.Match:
    path = _PATHS[what]
    what = f"GET {what}, knowing by {by} who asks and what they may; the same without"
    return serving.Match(what=what, ours=ours + path, peer=peer + path, target="≥ 0.8", header=header)
