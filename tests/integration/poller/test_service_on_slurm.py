"""The whole poller on real Slurm through real sshd, and what breaks between them."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import CloudEvent, Outcome, Type
from scripthut_common.shell.ssh import SshShell
from scripthut_common.tasks import TaskSpec
from tests.integration.poller.faulty import FaultyShell
from tests.integration.poller.house import House, running, write_clusters
from tests.integration.poller.told import cancellation, part_of_run, request
from tests.testbed.accounts import ALICE, BOB
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd


@pytest.fixture
def login(slurm: SlurmCluster) -> Iterator[Sshd]:
    """A login node of this test alone, to change as it likes."""
    with Sshd(slurm.environment) as server:
        yield server


@pytest.fixture
def there(slurm: SlurmCluster, login: Sshd, tmp_path: Path) -> Cluster:
    """The Slurm cluster as Alice's account sees it; every test has its own log directory."""
    return Cluster(
        scheduler=SchedulerKind.SLURM,
        name="here",
        host=login.host,
        port=login.port,
        user=ALICE,
        key_file=str(login.key(ALICE)),
        known_hosts_file=str(login.known_hosts),
        log_dir=str(slurm.directory_of(ALICE) / tmp_path.name),
        poll_interval_s=1.0,
        commands_per_minute=240,
        connect_timeout_s=5.0,
    )


@pytest.fixture
def clusters_file(there: Cluster, tmp_path: Path) -> Path:
    return write_clusters(tmp_path / "clusters.toml", there)


def _noting(cluster: Cluster, *ids: str, seconds: float = 0) -> list[TaskSpec]:
    """Make tasks that note when they run, so that a second run would show."""
    command = (
        f"mkdir -p {cluster.log_dir}/notes; echo ran >> {cluster.log_dir}/notes/$SCRIPTHUT_TASK_ID; sleep {seconds}"
    )
    return [TaskSpec(id=id_, command=command) for id_ in ids]


async def _ask(house: House, cluster: Cluster, run_id: str, wanted: list[TaskSpec]) -> None:
    """Ask for a run; every test has its own id, since tags of finished jobs stay in accounting."""
    await house.bus.publish(request(part_of_run(wanted, run_id=run_id, log_dir=cluster.log_dir)))


def _notes(cluster: Cluster) -> dict[str, str]:
    return {note.name: note.read_text() for note in Path(cluster.log_dir, "notes").iterdir()}


def _text(path: str) -> str:
    return Path(path).read_text()


def _is_end(told: CloudEvent) -> bool:
    return told.type is Type.RUN_COMPLETED


def _is_start(told: CloudEvent) -> bool:
    return told.type is Type.ITEM_STARTED


def _outcomes(house: House) -> dict[str, Outcome | None]:
    return {task_id: item.outcome for task_id, item in house.items(Type.ITEM_COMPLETED).items()}


async def test_a_run_with_dependencies_and_a_failure(
    database: Database, database_uri: str, clusters_file: Path, there: Cluster
) -> None:
    wanted = [
        *_noting(there, *(f"t{n}" for n in range(8))),
        TaskSpec(id="bad", command="sleep 3; echo trouble >&2; exit 7"),
        TaskSpec(id="after", command='echo "# sum" > "$SCRIPTHUT_RUN_SUMMARY"', deps=("t0", "t1")),
        TaskSpec(id="after-bad", command="true", deps=("bad",)),
        TaskSpec(id="impossible", command="true", partition="no-such-partition"),
        TaskSpec(id="after-impossible", command="true", deps=("impossible",)),
    ]

    async with running(database_uri, clusters_file) as house:
        await _ask(house, there, "whole", wanted)
        await house.until(_is_end)

        assert _outcomes(house) == dict.fromkeys([f"t{n}" for n in range(8)], Outcome.SUCCEEDED) | {
            "bad": Outcome.FAILED,
            "after": Outcome.SUCCEEDED,
            "after-bad": Outcome.DEPENDENCY_FAILED,
            "impossible": Outcome.SUBMISSION_FAILED,
            "after-impossible": Outcome.DEPENDENCY_FAILED,
        }
        ends = house.items(Type.ITEM_COMPLETED)
        assert ends["bad"].exit_code == 7
        assert "partition" in (ends["impossible"].reason or "")
        assert _text(ends["after"].run_summary_path) == "# sum\n"
        assert _notes(there) == {f"t{n}": "ran\n" for n in range(8)}
        assert await house.faults() == {}


async def test_a_running_job_and_a_held_one_are_cancelled(
    database: Database, database_uri: str, clusters_file: Path, there: Cluster
) -> None:
    wanted = [TaskSpec(id="a", command="sleep 600"), TaskSpec(id="b", command="true", deps=("a",))]

    async with running(database_uri, clusters_file) as house:
        await _ask(house, there, "cancelled", wanted)
        await house.until(_is_start)
        await house.bus.publish(cancellation("cancelled"))
        await house.until(_is_end)

        assert _outcomes(house)["a"] is Outcome.CANCELLED
        assert _outcomes(house)["b"] in {Outcome.CANCELLED, Outcome.DEPENDENCY_FAILED}


async def test_a_wrong_key_is_told_and_the_right_one_taken_up(
    database: Database, database_uri: str, there: Cluster, login: Sshd, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    shutil.copy(login.key(BOB), key)
    clusters_file = write_clusters(tmp_path / "clusters.toml", msgspec.structs.replace(there, key_file=str(key)))

    async with running(database_uri, clusters_file) as house:
        await _ask(house, there, "key", _noting(there, "a"))
        said = await house.until_it_says("does not let sh-alice in")
        shutil.copy(login.key(ALICE), key)
        await house.until(_is_end)

    assert "poller.submit.here" in said
    assert _notes(there) == {"a": "ran\n"}


async def test_a_changed_host_key_is_told_and_nothing_is_sent_there(
    database: Database, database_uri: str, clusters_file: Path, there: Cluster, login: Sshd
) -> None:
    async with running(database_uri, clusters_file) as house:
        await _ask(house, there, "host", _noting(there, "a", seconds=5))
        await house.until(_is_start)
        await asyncio.to_thread(login.change_host_key)
        await house.until_it_says("poller.cluster.here", "host key is not the one")
        before = house.service.shells[0].commands_run
        assert Type.ITEM_COMPLETED not in {one.type for one in house.told}
        login.trust_host_key()
        await house.until(_is_end)

        assert house.service.shells[0].commands_run > before
        assert _outcomes(house) == {"a": Outcome.SUCCEEDED}


async def test_an_unreachable_host_is_told_and_nobody_is_judged(
    database: Database, database_uri: str, clusters_file: Path, there: Cluster, login: Sshd
) -> None:
    async with running(database_uri, clusters_file) as house:
        await _ask(house, there, "away", _noting(there, "a", seconds=3))
        await house.until(_is_start)
        await asyncio.to_thread(login.daemon.stop)
        await _ask(house, there, "late", _noting(there, "late"))
        await house.until_it_says("poller.cluster.here", "poller.submit.here")
        assert Type.ITEM_COMPLETED not in {one.type for one in house.told}
        await asyncio.to_thread(login.daemon.start)
        await house.until(lambda one: _is_end(one) and one.subject == "late")
        await house.until(lambda one: _is_end(one) and one.subject == "away")

    assert _notes(there) == {"a": "ran\n", "late": "ran\n"}


async def test_a_lost_answer_of_sbatch_leads_to_no_second_job(
    database: Database, database_uri: str, clusters_file: Path, there: Cluster, slurm: SlurmCluster
) -> None:
    shells: list[FaultyShell] = []

    def open_faulty(cluster: Cluster) -> FaultyShell:
        shells.append(FaultyShell(SshShell(cluster)))
        shells[-1].cut.add("slurm-submit")
        return shells[-1]

    async with running(database_uri, clusters_file, open_faulty) as house:
        await _ask(house, there, "lost", _noting(there, "a", "b"))
        await house.until(_is_end)

        assert _outcomes(house) == {"a": Outcome.SUCCEEDED, "b": Outcome.SUCCEEDED}
    assert _notes(there) == {"a": "ran\n", "b": "ran\n"}
    assert shells[0].ran.count("slurm-submit") == 1


async def test_without_its_controller_slurm_takes_nothing_and_loses_nothing(
    database: Database, database_uri: str, clusters_file: Path, there: Cluster, slurm: SlurmCluster
) -> None:
    async with running(database_uri, clusters_file) as house:
        await asyncio.to_thread(slurm.slurmctld.stop)
        await _ask(house, there, "controller", _noting(there, "a"))
        await house.until_it_says("poller.submit.here")
        await asyncio.to_thread(slurm.slurmctld.start)
        await house.until(_is_end)

        assert _outcomes(house) == {"a": Outcome.SUCCEEDED}
    assert _notes(there) == {"a": "ran\n"}


async def test_without_accounting_the_exit_record_speaks(
    database: Database, database_uri: str, clusters_file: Path, there: Cluster, slurm: SlurmCluster
) -> None:
    async with running(database_uri, clusters_file) as house:
        await asyncio.to_thread(slurm.slurmdbd.stop)
        await _ask(house, there, "accounting", _noting(there, "a", seconds=2))
        await house.until(_is_end)
        said = await house.until_it_says("poller.cluster.here")
        await asyncio.to_thread(slurm.slurmdbd.start)

        assert "sacct" in said.lower() or "account" in said.lower()
        assert _outcomes(house) == {"a": Outcome.SUCCEEDED}
        assert house.items(Type.ITEM_COMPLETED)["a"].evidence == "exit_record"
