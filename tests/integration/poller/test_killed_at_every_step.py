"""The poller is killed at every step between submit and record, on real Slurm: no second execution, nothing lost."""

import asyncio
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import ItemEvent, Outcome, Type
from scripthut_common.tasks import TaskSpec
from scripthut_poller.watchlist import requests
from scripthut_poller.watchlist.requests import Terms
from tests.integration.poller.house import running, write_clusters
from tests.integration.poller.told import events, part_of_run, rows, run_row
from tests.testbed.accounts import ALICE
from tests.testbed.processes import wait_until
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

pytestmark = pytest.mark.timeout(240)
_STEPS = (
    "before commit submissions.claim",
    "after commit submissions.claim",
    "before commit submissions.place",
    "after commit submissions.place",
    "after commit dependencies.resolve",
    "before slurm-submit",
    "after slurm-submit",
    "before commit submissions.hand_over",
    "after commit submissions.hand_over",
    "before slurm-release",
    "after slurm-release",
    "before commit submissions.released",
    "after commit submissions.released",
    "after slurm-queue",
    "after records",
    "before commit rounds.record_round",
    "after commit rounds.record_round",
)
_DYING_AT_ONCE = 4
_ALL_END_WITHIN_S = 150.0
_LIVES_S = 60.0


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One step, and the run during which the poller dies there; each has a cluster's name of its own."""

    step: str
    cluster: Cluster
    run_id: str

    @property
    def notes(self) -> Path:
        """Where its tasks note that they ran."""
        return Path(self.cluster.log_dir, f"{self.run_id}.ran")

    @property
    def tasks(self) -> list[TaskSpec]:
        """A parent, which is submitted held, and its child."""
        command = f"echo $SCRIPTHUT_TASK_ID >> {self.notes}; sleep 1"
        return [TaskSpec(id="parent", command=command), TaskSpec(id="child", command=command, deps=("parent",))]


@pytest.fixture
def lives(slurm: SlurmCluster, sshd: Sshd) -> Sequence[Life]:
    token = secrets.token_hex(4)
    log_dir = str(slurm.directory_of(ALICE) / f"killed{token}")
    slurm.run("mkdir", log_dir, user=ALICE)
    cluster = Cluster(
        scheduler=SchedulerKind.SLURM,
        host=sshd.host,
        port=sshd.port,
        user=ALICE,
        key_file=str(sshd.key(ALICE)),
        known_hosts_file=str(sshd.known_hosts),
        log_dir=log_dir,
        poll_interval_s=2.0,
        connect_timeout_s=1.0,
        submission_timeout_s=5.0,
    )
    return [
        Life(
            step=step,
            cluster=msgspec.structs.replace(cluster, name=f"step{number}"),
            run_id=f"killed-{token}-{number}",
        )
        for number, step in enumerate(_STEPS)
    ]


async def test_a_poller_killed_at_any_step_runs_nothing_twice_and_loses_nothing(
    lives: Sequence[Life], database: Database, database_uri: str, slurm: SlurmCluster, tmp_path: Path
) -> None:
    for life in lives:
        part = part_of_run(life.tasks, run_id=life.run_id, cluster=life.cluster.name, log_dir=life.cluster.log_dir)
        await requests.store(database, part, Terms())

    turns = asyncio.Semaphore(_DYING_AT_ONCE)
    statuses = await asyncio.gather(*(_die(life, turns, database_uri, tmp_path) for life in lives))
    assert dict(zip(_STEPS, statuses, strict=True)) == dict.fromkeys(_STEPS, -signal.SIGKILL)
    await _let_leases_end(database)
    clusters_file = write_clusters(tmp_path / "clusters.toml", *(life.cluster for life in lives))
    async with running(database_uri, clusters_file), asyncio.timeout(_ALL_END_WITHIN_S):
        while not await _have_succeeded(database, lives):  # noqa: ASYNC110  PostgreSQL sets no event
            await asyncio.sleep(0.5)

    assert {life.step: _executions(life) for life in lives} == dict.fromkeys(_STEPS, ("parent", "child"))
    for life in lives:
        assert {row.outcome for row in (await rows(database, life.run_id)).values()} == {Outcome.SUCCEEDED}, life.step
    told = await _told(database)
    expected = {(life.run_id, task_id): 1 for life in lives for task_id in ("parent", "child")}
    assert told[Type.ITEM_SUBMITTED] == told[Type.ITEM_COMPLETED] == expected
    wanted = {f"--comment=scripthut:{run_id}/{task_id}": 1 for run_id, task_id in expected}
    assert await asyncio.to_thread(_submitted, slurm, wanted) == wanted


def _submitted(slurm: SlurmCluster, tags: Collection[str]) -> dict[str, int]:
    """Count the jobs of each of these tags by accounting, once that has heard of all."""
    found: Counter[str] = Counter()

    def are_all_there() -> bool:
        jobs = slurm.run("sacct", "-X", "-n", "-P", "-S", "now-1hour", "-o", "WorkDir,SubmitLine")
        found.clear()
        found.update(word for word in jobs.split() if word in tags)
        return len(found) == len(tags)

    wait_until(are_all_there, "accounting to hear of every job", every_s=0.5)
    return dict(found)


async def _die(life: Life, turns: asyncio.Semaphore, database_uri: str, folder: Path) -> int | None:
    """Let a poller live until its step and return its exit status; `None` when it lived on."""
    clusters_file = str(write_clusters(folder / f"{life.cluster.name}.toml", life.cluster))
    argv = (sys.executable, "-m", "tests.integration.poller.dying", database_uri, clusters_file, life.step)
    async with turns:
        process = await asyncio.create_subprocess_exec(*argv)
        try:
            async with asyncio.timeout(_LIVES_S):
                return await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            return None


async def _have_succeeded(database: Database, lives: Sequence[Life]) -> bool:
    return all([(await run_row(database, life.run_id)).state == "succeeded" for life in lives])


async def _let_leases_end(database: Database) -> None:
    """Let the dead pollers' leases of their clusters end; those of their submissions are waited out."""
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE poller.leases SET until = now() - interval '1 second'"))


def _executions(life: Life) -> tuple[str, ...]:
    return tuple(life.notes.read_text().split())


async def _told(database: Database) -> Mapping[Type, Counter[tuple[str, str]]]:
    """Count the events of each item."""
    told = {Type.ITEM_SUBMITTED: Counter[tuple[str, str]](), Type.ITEM_COMPLETED: Counter[tuple[str, str]]()}
    for one in await events(database, *told):
        if isinstance(one.data, ItemEvent):
            told[one.type][one.data.run_id, one.data.task_id] += 1
    return told
