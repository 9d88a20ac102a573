"""One person's page of runs among 100,000 runs of 10,000 people, against the same page among 1,000 runs."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from sqlalchemy import text

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_outputs.access.policy import Policy
from scripthut_outputs.migrations import MIGRATIONS
from tests.bench.table import Row
from tests.integration.outputs.house import House
from tests.testbed.postgres import PostgresServer

PAIRS = 25
_OWN = 60
_GROUPS = Policy(groups={"g5": ("ada",), "g15": ("ada",), "g25": ("ada",)})
_VIEWS = {
    "": "newest first",
    "?sort=oldest": "oldest first",
    "?sort=name": "by name",
    "?sort=state": "by state",
    "?cluster=c1": "of one cluster",
    "?state=failed": "failed ones",
    "?owner=ada": "their own",
    "?sort=name&cluster=c1": "of one cluster, by name",
}
# Of twenty runs one is open to everybody and three are open to one of twenty groups.
_RUNS = """
INSERT INTO outputs.runs (run_id, name, cluster, owner, created_at, state, visibility, "group")
SELECT 'r' || n, 'run ' || n % 977, 'c' || n % 7,
    CASE WHEN n % (:runs / :own) = 1 THEN 'ada' ELSE 'user-' || n % :people END,
    now() - n * interval '1 second', (ARRAY['succeeded', 'failed', 'running'])[1 + n % 3],
    CASE WHEN n % 20 = 0 THEN 'instance' WHEN n % 5 = 0 THEN 'group' ELSE 'private' END,
    CASE WHEN n % 20 != 0 AND n % 5 = 0 THEN 'g' || n % 100 END
FROM generate_series(1, :runs) AS n
"""
_ITEMS = """
INSERT INTO outputs.items (run_id, task_id, task_name, position, state, outcome)
SELECT run_id, 't' || n, 'task', n, 'final', 'succeeded' FROM outputs.runs, generate_series(0, 2) AS n
"""
_CLUSTERS = """
INSERT INTO outputs.clusters (name, state, sequence) SELECT 'c' || n, 'reachable', 1 FROM generate_series(0, 6) AS n
"""


class Size(msgspec.Struct, frozen=True):
    """How many runs of how many people there are."""

    runs: int
    people: int


SMALL, LARGE = Size(1_000, 100), Size(100_000, 10_000)


async def measure() -> list[Row]:
    """Ask both for each view in turns; the ratio is the median of pairs."""
    temporary = tempfile.TemporaryDirectory
    with PostgresServer() as postgres, temporary() as first, temporary() as second:
        small = _filled(postgres.databases.create(), Path(first), SMALL)
        large = _filled(postgres.databases.create(), Path(second), LARGE)
        async with small as few, large as many:
            return [await _row(few, many, *view) for view in _VIEWS.items()]


async def _row(few: House, many: House, query: str, view: str) -> Row:
    pairs = [(await _time(many, query), await _time(few, query)) for _ in range(PAIRS + 2)][2:]
    ours, peer = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Row(
        what=f"one person's page of runs among {LARGE.runs:,} of {LARGE.people:,} people, {view}; among {SMALL.runs:,}",
        ours=f"{ours * 1000:.1f} ms",
        peer=f"{peer * 1000:.1f} ms",
        ratio=statistics.median(mine / theirs for mine, theirs in pairs),
        target="≤ 1.5",
    )


async def _time(house: House, query: str) -> float:
    async with house.client("ada") as client:
        begun = time.perf_counter()
        answer = await client.get(f"/ui/{query}")
        taken_s = time.perf_counter() - begun
    if answer.text.count('href="/ui/runs/') < 1:
        raise RuntimeError(f"/ui/{query} lists nothing")
    return taken_s


@asynccontextmanager
async def _filled(uri: str, folder: Path, size: Size) -> AsyncIterator[House]:
    database = Database(uri)
    await migrating.upgrade(database, MIGRATIONS)
    house = House(database, folder)
    house.policy = _GROUPS
    house.cache.is_listening = True
    sizes = {"runs": size.runs, "people": size.people, "own": _OWN}
    async with database.transaction() as connection:
        await connection.execute(text(_RUNS), sizes)
        await connection.execute(text(_ITEMS))
        await connection.execute(text(_CLUSTERS))
    async with database.transaction() as connection:
        await connection.execute(text("ANALYZE"))
    yield house
    await asyncio.to_thread(house.previewer.close)
    await database.close()
