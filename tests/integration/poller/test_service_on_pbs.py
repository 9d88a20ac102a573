"""The whole poller on a stand-in for PBS through real sshd, and what breaks between them."""

import asyncio
from pathlib import Path

import pytest

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import CloudEvent, Evidence, ItemEvent, Outcome, Type
from scripthut_common.shell.ssh import SshShell
from scripthut_common.tasks import TaskSpec
from tests.integration.poller.faulty import FaultyShell
from tests.integration.poller.house import House, running, write_clusters
from tests.integration.poller.told import cancellation, part_of_run, request
from tests.testbed.accounts import ALICE
from tests.testbed.pbs import PbsCluster
from tests.testbed.sshd import Sshd


@pytest.fixture
def there(pbs: PbsCluster, pbs_login: Sshd, tmp_path: Path) -> Cluster:
    """The cluster as Alice's account sees it; every test has its own log directory."""
    return Cluster(
        scheduler=SchedulerKind.PBS,
        name="here",
        host=pbs_login.host,
        port=pbs_login.port,
        user=ALICE,
        key_file=str(pbs_login.key(ALICE)),
        known_hosts_file=str(pbs_login.known_hosts),
        log_dir=str(pbs.directory_of(ALICE) / tmp_path.name),
        poll_interval_s=1.0,
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
    await house.bus.publish(request(part_of_run(wanted, run_id=run_id, log_dir=cluster.log_dir)))


def _notes(cluster: Cluster) -> dict[str, str]:
    return {note.name: note.read_text() for note in Path(cluster.log_dir, "notes").iterdir()}


def _text(path: str) -> str:
    return Path(path).read_text()


def _is_end(told: CloudEvent) -> bool:
    return told.type is Type.RUN_COMPLETED


def _is_start(told: CloudEvent) -> bool:
    return told.type is Type.ITEM_STARTED


def _attempts(house: House) -> set[int]:
    """Name the attempts that were ever said to be over."""
    ends = [one.data for one in house.told if one.type is Type.ITEM_COMPLETED]
    return {end.attempt for end in ends if isinstance(end, ItemEvent)}


def _outcomes(house: House) -> dict[str, Outcome | None]:
    return {task_id: item.outcome for task_id, item in house.items(Type.ITEM_COMPLETED).items()}


async def test_a_run_with_dependencies_and_failures(
    database: Database, database_uri: str, clusters_file: Path, there: Cluster
) -> None:
    wanted = [
        *_noting(there, *(f"t{n}" for n in range(4))),
        TaskSpec(id="007", command="echo hello; exit 0", cpus=2, memory="1G", gres="gpu:1"),
        TaskSpec(id="bad", command="sleep 3; echo trouble >&2; exit 7"),
        TaskSpec(id="killed", command="kill -9 $$"),
        TaskSpec(id="late", command="sleep 60", time_limit="00:00:02"),
        TaskSpec(id="after", command='echo "# sum" > "$SCRIPTHUT_RUN_SUMMARY"', deps=("t0", "t1")),
        TaskSpec(id="after-bad", command="true", deps=("bad",)),
        TaskSpec(id="impossible", command="true", partition="no-such-queue"),
        TaskSpec(id="after-impossible", command="true", deps=("impossible",)),
        TaskSpec(id="unfit", command="true", gres="gpu:a100:2"),
    ]

    async with running(database_uri, clusters_file) as house:
        await _ask(house, there, "whole", wanted)
        await house.until(_is_end)
        await house.until(lambda one: getattr(one.data, "outcome", None) is Outcome.TIMED_OUT)
        ends = house.items(Type.ITEM_COMPLETED)

        assert _outcomes(house) == dict.fromkeys([f"t{n}" for n in range(4)], Outcome.SUCCEEDED) | {
            "007": Outcome.SUCCEEDED,
            "bad": Outcome.FAILED,
            "killed": Outcome.FAILED,
            "late": Outcome.TIMED_OUT,
            "after": Outcome.SUCCEEDED,
            "after-bad": Outcome.DEPENDENCY_FAILED,
            "impossible": Outcome.SUBMISSION_FAILED,
            "after-impossible": Outcome.DEPENDENCY_FAILED,
            "unfit": Outcome.SUBMISSION_FAILED,
        }
        assert ends["bad"].exit_code == 7
        assert ends["killed"].exit_code == 137
        assert "Unknown queue" in (ends["impossible"].reason or "")
        assert "gpu:a100:2" in (ends["unfit"].reason or "")
        assert _text(ends["after"].run_summary_path) == "# sum\n"
        assert _text(f"{there.log_dir}/scripthut_whole_bad.err") == "trouble\n"
        assert _notes(there) == {f"t{n}": "ran\n" for n in range(4)}
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
        await house.until(lambda one: getattr(one.data, "outcome", None) is Outcome.CANCELLED)

        assert _outcomes(house)["b"] in {Outcome.CANCELLED, Outcome.DEPENDENCY_FAILED}


async def test_without_history_the_exit_record_speaks(
    database: Database, database_uri: str, clusters_file: Path, there: Cluster, pbs: PbsCluster
) -> None:
    pbs.set(history=False)
    wanted = [*_noting(there, "a", seconds=2), TaskSpec(id="b", command="sleep 1; exit 3")]

    async with running(database_uri, clusters_file) as house:
        await _ask(house, there, "unkept", wanted)
        await house.until(_is_end)

        assert _outcomes(house) == {"a": Outcome.SUCCEEDED, "b": Outcome.FAILED}
        ends = house.items(Type.ITEM_COMPLETED)
        assert {ends[one].evidence for one in "ab"} == {Evidence.EXIT_RECORD}
        assert ends["b"].exit_code == 3
        assert await house.faults() == {}


async def test_without_its_server_pbs_takes_nothing_and_nobody_is_judged(
    database: Database, database_uri: str, clusters_file: Path, there: Cluster, pbs: PbsCluster
) -> None:
    async with running(database_uri, clusters_file) as house:
        await _ask(house, there, "before", _noting(there, "a", seconds=4))
        await house.until(_is_start)
        await asyncio.to_thread(pbs.server.stop)
        await _ask(house, there, "during", _noting(there, "b"))
        await house.until_it_says("poller.cluster.here", "poller.submit.here", "cannot connect to server")
        assert Type.ITEM_COMPLETED not in {one.type for one in house.told}
        await asyncio.to_thread(pbs.server.start)
        await house.until(lambda one: _is_end(one) and one.subject == "before")
        await house.until(lambda one: _is_end(one) and one.subject == "during")

        assert _outcomes(house) == {"a": Outcome.SUCCEEDED, "b": Outcome.SUCCEEDED}
    assert _notes(there) == {"a": "ran\n", "b": "ran\n"}


async def test_a_lost_answer_of_qsub_leads_to_no_second_job(
    database: Database, database_uri: str, clusters_file: Path, there: Cluster
) -> None:
    shells: list[FaultyShell] = []

    def open_faulty(cluster: Cluster) -> FaultyShell:
        shells.append(FaultyShell(SshShell(cluster)))
        shells[-1].cut.add("pbs-submit")
        return shells[-1]

    async with running(database_uri, clusters_file, open_faulty) as house:
        await _ask(house, there, "lost", _noting(there, "a", "b"))
        await house.until(_is_end)

        assert _outcomes(house) == {"a": Outcome.SUCCEEDED, "b": Outcome.SUCCEEDED}
    assert _notes(there) == {"a": "ran\n", "b": "ran\n"}
    assert shells[0].ran.count("pbs-submit") == 1


@pytest.mark.parametrize(
    ("mishap", "has_history", "evidence"),
    [
        ("requeue", True, Evidence.SCHEDULER),
        ("lose_node", True, Evidence.SCHEDULER),
        ("requeue", False, Evidence.EXIT_RECORD),
    ],
)
async def test_a_job_that_is_run_again_is_a_second_attempt_and_not_final_in_between(
    database: Database,
    database_uri: str,
    clusters_file: Path,
    there: Cluster,
    pbs: PbsCluster,
    mishap: str,
    has_history: bool,  # noqa: FBT001  a parameter of the table
    evidence: Evidence,
) -> None:
    pbs.set(history=has_history)
    async with running(database_uri, clusters_file) as house:
        await _ask(house, there, f"again-{mishap}-{has_history}", _noting(there, "a", seconds=5))
        started = await house.until(_is_start)
        await asyncio.to_thread(getattr(pbs, mishap), getattr(started.data, "job_id"))  # noqa: B009  any event's data
        await house.until(_is_end)

        end = house.items(Type.ITEM_COMPLETED)["a"]
        assert (end.outcome, end.attempt, end.exit_code) == (Outcome.SUCCEEDED, 2, 0)
        assert end.evidence is evidence
        assert _attempts(house) == {2}
        assert "queued" in {getattr(one.data, "state", None) for one in house.told}
    assert _notes(there) == {"a": "ran\nran\n"}
