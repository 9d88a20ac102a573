"""Two poller processes on one Slurm cluster: one asks it at a time, and the other goes on when that one is gone."""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import ItemEvent, Outcome, Type
from scripthut_common.tasks import TaskSpec
from tests.integration.poller.house import write_clusters
from tests.integration.poller.processes import Process
from tests.integration.poller.strange import StrangeLogin, Turnstile
from tests.integration.poller.told import events, part_of_run, request, rows
from tests.testbed.accounts import ALICE
from tests.testbed.ports import reserve_port
from tests.testbed.slurm import SlurmCluster
from tests.truth.scene import until

pytestmark = pytest.mark.timeout(240)
_TAKEN_OVER_WITHIN_S = 30.0
_SLOWLY = 'sleep 1; real "$@"'
_REFUSED = "watched by another poller now"


@pytest.fixture
def login(slurm: SlurmCluster) -> Iterator[StrangeLogin]:
    with StrangeLogin(slurm) as server:
        yield server


@pytest.fixture
def there(slurm: SlurmCluster, login: StrangeLogin) -> Cluster:
    log_dir = str(slurm.directory_of(ALICE) / f"twins{secrets.token_hex(4)}")
    slurm.run("mkdir", log_dir, user=ALICE)
    return Cluster(
        scheduler=SchedulerKind.SLURM,
        name="here",
        host=login.host,
        port=login.port,
        user=ALICE,
        key_file=str(login.key(ALICE)),
        known_hosts_file=str(login.known_hosts),
        log_dir=log_dir,
        poll_interval_s=1.0,
    )


@pytest.fixture
def twins(amqp_uri: str, database_uri: str, there: Cluster, tmp_path: Path) -> Iterator[list[Process]]:
    """Two processes with the same settings, not yet started."""
    clusters_file = write_clusters(tmp_path / "clusters.toml", there)
    found = []
    for number in range(2):
        port = reserve_port()
        environment = {
            "SCRIPTHUT_POLLER_DATABASE_URL": database_uri,
            "SCRIPTHUT_POLLER_AMQP_URL": amqp_uri,
            "SCRIPTHUT_POLLER_CLUSTERS_FILE": str(clusters_file),
            "SCRIPTHUT_POLLER_HEALTH_PORT": str(port),
        }
        found.append(Process(environment, tmp_path / f"log{number}", port))
    yield found
    for process in found:
        process.end(signal.SIGKILL)


@pytest.fixture
async def bus(amqp_uri: str) -> AsyncIterator[AmqpBus]:
    bus = AmqpBus(amqp_uri)
    yield bus
    await bus.close()


class Gated:
    """A run of four tasks that note their execution and wait for one gate."""

    def __init__(self, there: Cluster) -> None:
        self.run_id = f"twins-{secrets.token_hex(4)}"
        self._folder = Path(there.log_dir)
        note, gate = f"{self._folder}/{self.run_id}.ran", self._folder / f"{self.run_id}.go"
        command = f"echo $SCRIPTHUT_TASK_ID >> {note}; until [ -e {gate} ]; do sleep 0.2; done"
        wanted = [TaskSpec(id=f"t{number}", command=command) for number in range(4)]
        self.part = part_of_run(wanted, run_id=self.run_id, log_dir=there.log_dir)

    def open(self) -> None:
        (self._folder / f"{self.run_id}.go").touch()

    @property
    def executed(self) -> list[str]:
        return sorted((self._folder / f"{self.run_id}.ran").read_text().split())


async def test_a_cluster_is_taken_over_from_a_killed_and_from_a_stopped_poller(
    twins: list[Process], bus: AmqpBus, database: Database, there: Cluster, login: StrangeLogin, slurm: SlurmCluster
) -> None:
    turnstile = Turnstile(slurm.directory / f"turnstile-{secrets.token_hex(4)}")
    login.becomes("squeue", turnstile.around(_SLOWLY))
    first, second = Gated(there), Gated(there)
    for process in twins:
        process.start()
    for process in twins:
        await process.wait_answer(200)

    await bus.publish(request(first.part))
    await _until_state(database, first.run_id, "running")
    killed = await _holder(database, twins)
    killed.end(signal.SIGKILL)
    (stopped,) = [process for process in twins if process is not killed]
    async with asyncio.timeout(_TAKEN_OVER_WITHIN_S):
        await _until_held(database, stopped)
    first.open()
    await _until_state(database, first.run_id, "final")

    killed.start()
    await killed.wait_answer(200)
    await bus.publish(request(second.part))
    await _until_state(database, second.run_id, "running")
    await until(lambda: turnstile.is_turning, "a round to be in its middle")
    stopped.send(signal.SIGSTOP)
    async with asyncio.timeout(_TAKEN_OVER_WITHIN_S):
        await _until_held(database, killed)
    second.open()
    await _until_state(database, second.run_id, "final")
    before = await _written(database)
    stopped.send(signal.SIGCONT)
    await until(lambda: _REFUSED in stopped.log, "the woken poller to be refused")

    assert await _written(database) == before
    assert turnstile.overlaps == 0
    for gated in (first, second):
        assert gated.executed == ["t0", "t1", "t2", "t3"]
        assert {row.outcome for row in (await rows(database, gated.run_id)).values()} == {Outcome.SUCCEEDED}
    submitted = [one.subject for one in await events(database, Type.ITEM_SUBMITTED)]
    assert len(submitted) == len(set(submitted)) == 8
    ended = [one.data for one in await events(database, Type.ITEM_COMPLETED) if isinstance(one.data, ItemEvent)]
    assert sorted((end.run_id, end.task_id, end.revision) for end in ended) == sorted(
        (gated.run_id, f"t{number}", 0) for gated in (first, second) for number in range(4)
    )


async def _holder(database: Database, twins: list[Process]) -> Process:
    (holder,) = [process for process in twins if await _holds(database, process)]
    return holder


async def _holds(database: Database, process: Process) -> bool:
    async with database.transaction() as connection:
        holder = await connection.scalar(text("SELECT holder FROM poller.leases WHERE until > now()"))
    return holder is not None and holder.split("/")[2] == str(process.pid)


async def _until_held(database: Database, process: Process) -> None:
    while not await _holds(database, process):  # noqa: ASYNC110  PostgreSQL sets no event
        await asyncio.sleep(0.2)


async def _until_state(database: Database, run_id: str, state: str) -> None:
    async with asyncio.timeout(60):
        while {row.state for row in (await rows(database, run_id)).values()} != {state}:  # noqa: ASYNC110  same
            await asyncio.sleep(0.2)


async def _written(database: Database) -> dict[str, tuple[object, ...]]:
    """Give what a poller writes of items, apart from confirmations that may still come from the one that holds on."""
    async with database.transaction() as connection:
        found = await connection.execute(
            text("SELECT run_id, task_id, state, outcome, attempt, revision, job_id FROM poller.items")
        )
        return {f"{row.run_id}/{row.task_id}": tuple(row[2:]) for row in found}
