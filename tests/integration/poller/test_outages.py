"""PostgreSQL goes away in the middle of a run: the poller stays up, says so, and carries on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripthut_common import migrating
from scripthut_common.clusters import Cluster
from scripthut_common.database import Database
from scripthut_common.errors import DatabaseUnavailable
from scripthut_common.events import Outcome, Type
from scripthut_common.tasks import TaskSpec
from scripthut_poller.migrations import MIGRATIONS
from tests.integration.poller.bench import Bench
from tests.integration.poller.house import running, write_clusters
from tests.integration.poller.told import part_of_run, request
from tests.testbed.postgres import PostgresServer


async def _ten_times() -> AsyncIterator[None]:
    for _ in range(10):
        yield
        await asyncio.sleep(0.1)


@pytest.fixture
async def uri(postgres: PostgresServer) -> str:
    """A migrated database on a server that a test may stop."""
    uri = postgres.databases.create()
    database = Database(uri)
    await migrating.upgrade(database, MIGRATIONS)
    await database.close()
    return uri


async def test_a_database_that_goes_away_after_the_submission_leads_to_no_second_one(
    postgres: PostgresServer, uri: str, here: Cluster, tmp_path: Path
) -> None:
    bench = Bench(Database(uri), here, tmp_path)
    await bench.lease.step()
    await bench.ask([bench.task("a"), bench.task("b")])
    bench.shell.after["localhost submit"] = postgres.daemon.stop

    with pytest.raises(DatabaseUnavailable):
        await bench.submitting.step()
    await asyncio.to_thread(postgres.daemon.start)
    await bench.submitting.step()
    await bench.rounds_until("final", "a", "b")
    await bench.database.close()

    assert bench.shell.ran.count("localhost submit") == 1
    assert [note.read_text() for note in bench.notes.iterdir()] == ["ran\n", "ran\n"]


async def test_a_stopped_database_is_told_and_nothing_is_lost_or_doubled(
    postgres: PostgresServer, uri: str, here: Cluster, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    wanted = [TaskSpec(id=f"t{n}", command=f"echo {n} >> '{notes}'; sleep 4") for n in range(3)]
    wanted += [TaskSpec(id="last", command=f"echo last >> '{notes}'", deps=("t0", "t1", "t2"))]

    async with running(uri, write_clusters(tmp_path / "clusters.toml", here)) as house:
        await house.bus.publish(request(part_of_run(wanted, log_dir=here.log_dir)))
        await house.until(lambda one: one.type is Type.ITEM_STARTED)
        await asyncio.to_thread(postgres.daemon.stop)
        await house.until_it_says("poller.database: PostgreSQL", "poller.relay: PostgreSQL", "poller.watch.here")
        assert all(["poller.watch.here" in await house.faults() async for _ in _ten_times()])
        await asyncio.to_thread(postgres.daemon.start)
        await house.until(lambda one: one.type is Type.RUN_COMPLETED)

        assert {one.outcome for one in house.items(Type.ITEM_COMPLETED).values()} == {Outcome.SUCCEEDED}
        assert sorted(notes.read_text().split()) == ["0", "1", "2", "last"]
