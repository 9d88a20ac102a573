"""The whole poller on real Slurm whose commands are slow, hang, are killed, forget jobs, or have another clock."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from sqlalchemy import text

from scripthut_common.clusters import Cluster, Patience, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import Evidence, ItemEvent, Outcome, Type
from scripthut_common.shell.ssh import SshShell
from tests.integration.poller.house import House
from tests.integration.poller.slurm_bed import Bed
from tests.integration.poller.strange import SHORT, StrangeLogin, Turnstile, Watch
from tests.integration.poller.told import part_of_run, request, tasks
from tests.testbed.accounts import ALICE
from tests.testbed.slurm import SlurmCluster
from tests.truth.scene import until

_KILLED = "kill -KILL $SLURM_TASK_PID; sleep 5"
_LIMIT_S = 3.0
_FORGETS = 'case $1 in -V) real "$@" ;; esac'
_REFUSED = "echo 'sacct: error: Problem talking to the database: Connection refused' >&2; exit 1"


@pytest.fixture
def login(slurm: SlurmCluster) -> Iterator[StrangeLogin]:
    with StrangeLogin(slurm) as server:
        yield server


@pytest.fixture
def watch(database: Database, database_uri: str, slurm: SlurmCluster, login: StrangeLogin, tmp_path: Path) -> Watch:
    log_dir = str(slurm.directory_of(ALICE) / f"strange{secrets.token_hex(4)}")
    slurm.run("mkdir", log_dir, user=ALICE)
    cluster = Cluster(
        scheduler=SchedulerKind.SLURM,
        name="here",
        host=login.host,
        port=login.port,
        user=ALICE,
        key_file=str(login.key(ALICE)),
        known_hosts_file=str(login.known_hosts),
        log_dir=log_dir,
        poll_interval_s=1.0,
        connect_timeout_s=5.0,
    )
    return Watch(login, cluster, database_uri, tmp_path)


@pytest.fixture
def turnstile(slurm: SlurmCluster) -> Turnstile:
    return Turnstile(slurm.directory / f"turnstile-{secrets.token_hex(4)}")


@pytest.fixture
def marker() -> str:
    """How long a command of this test's sleeps, like no other process."""
    return f"6{secrets.randbelow(10**6):06d}"


async def test_a_queue_slower_than_the_interval_is_never_asked_twice(watch: Watch, turnstile: Turnstile) -> None:
    watch.login.becomes("squeue", turnstile.around('sleep 2.5; real "$@"'))

    async with watch.poller():
        await watch.ask(t="true")
        await watch.started()
        watch.open_gate()
        ended = await watch.ended()

    assert ended.outcome is Outcome.SUCCEEDED
    assert turnstile.overlaps == 0
    assert turnstile.runs >= 2


@pytest.mark.parametrize("commands", [("squeue",), ("squeue", "sacct")], ids=",".join)
async def test_a_queue_that_hangs_is_ended_at_its_limit_and_judges_nobody(
    watch: Watch, marker: str, commands: tuple[str, ...]
) -> None:
    watch.cluster = msgspec.structs.replace(watch.cluster, command_timeout_s=_LIMIT_S)

    async with watch.poller() as house:
        await watch.ask(t="exit 3")
        await watch.started()
        for command in commands:
            watch.login.becomes(command, f"sleep {marker}")
        watch.open_gate()
        await until(watch.has_record, "the task to end")
        assert f"silent for {_LIMIT_S:g} s" in await house.until_it_says("poller.cluster.here")
        await asyncio.sleep(2 * _LIMIT_S)
        assert watch.verdicts() == []
        assert len(_running(marker)) <= 1
        for command in commands:
            watch.login.is_itself(command)
        ended = await watch.confirmed()

    assert (ended.outcome, ended.exit_code, ended.revision) == (Outcome.FAILED, 3, 0)


async def test_while_accounting_hangs_records_decide_others_wait_and_everything_else_goes_on(
    watch: Watch, marker: str, here: Cluster
) -> None:
    watch.cluster = msgspec.structs.replace(watch.cluster, command_timeout_s=_LIMIT_S)
    there = msgspec.structs.replace(here, name="there")
    elsewhere = part_of_run(tasks("t"), run_id="elsewhere", cluster="there", log_dir=there.log_dir)

    async with watch.poller(beside=[there]) as house:
        await watch.ask(t="exit 3", killed=_KILLED, running="true")
        for task_id in ("t", "killed", "running"):
            await watch.started(task_id)
        watch.login.becomes("sacct", f"sleep {marker}")
        watch.open_gate("t")
        watch.open_gate("killed")
        first = await watch.ended("t")
        later = watch.another()
        await later.ask(t="true")
        await later.started()
        await house.bus.publish(request(elsewhere))
        later.open_gate()
        late = await later.ended()
        await house.until(lambda one: one.type is Type.RUN_COMPLETED and one.subject == "elsewhere")
        assert f"accounting was silent for {_LIMIT_S:g} s" in await house.until_it_says("poller.cluster.here")
        assert "poller.cluster.there" not in await house.faults()
        assert watch.verdicts("killed") == watch.verdicts("running") == []
        assert len(_running(marker)) <= 1
        watch.login.is_itself("sacct")
        killed = await watch.ended("killed")
        last = [await watch.confirmed("t"), await later.confirmed()]
        watch.open_gate("running")
        assert (await watch.confirmed("running")).outcome is Outcome.SUCCEEDED

    assert [(one.evidence, one.confirmed) for one in (first, late)] == [(Evidence.EXIT_RECORD, False)] * 2
    assert [(one.outcome, one.exit_code, one.revision) for one in (first, late)] == [
        (Outcome.FAILED, 3, 0),
        (Outcome.SUCCEEDED, 0, 0),
    ]
    assert [(one.outcome, one.exit_code, one.revision) for one in last] == [
        (Outcome.FAILED, 3, 0),
        (Outcome.SUCCEEDED, 0, 0),
    ]
    assert (killed.outcome, killed.signal, killed.revision, killed.confirmed) == (Outcome.FAILED, 9, 0, True)


def _running(word: str) -> list[int]:
    return [one.pid for one in psutil.process_iter(["cmdline"]) if (one.info["cmdline"] or [""])[-1] == word]


@pytest.mark.parametrize("command", ["squeue", "sacct"])
async def test_an_answer_whose_exit_status_is_lost_says_nothing(watch: Watch, command: str) -> None:
    """The command prints nothing, and whoever would tell its exit status is killed."""
    async with watch.poller() as house:
        await watch.ask(t=_KILLED)
        await watch.started()
        watch.login.becomes(command, "kill -KILL $PPID")
        watch.open_gate()
        await house.until_it_says("poller.cluster.here")
        await asyncio.sleep(SHORT.settling_s + 2)
        assert watch.verdicts() == []
        watch.login.is_itself(command)
        ended = await watch.ended()

    assert (ended.outcome, ended.signal, ended.evidence) == (Outcome.FAILED, 9, Evidence.SCHEDULER)


async def test_a_garbled_queue_proves_no_absence(watch: Watch) -> None:
    async with watch.poller() as house:
        await watch.ask(t="true")
        await watch.started()
        before = _items_told(house)
        for garbled in ('real "$@" | head -c 20', 'real "$@"; exit 1', 'echo Welcome; real "$@"', "exit 1"):
            watch.login.becomes("squeue", garbled)
            await asyncio.sleep(SHORT.settling_s / 2)
            await house.until_it_says("poller.cluster.here")
        assert _items_told(house) == before
        watch.login.is_itself("squeue")
        watch.open_gate()
        assert (await watch.ended()).outcome is Outcome.SUCCEEDED


def _items_told(house: House) -> int:
    return sum(isinstance(one.data, ItemEvent) for one in house.told)


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_clock_that_is_hours_off_changes_no_verdict(watch: Watch, hours: int) -> None:
    """The login node's clock is; the jobs are over before any round could see them in the queue."""
    watch.login.becomes("date", f"echo $(($(real +%s) + {hours * 3600}))")
    watch.login.becomes("squeue", ":")

    async with watch.poller():
        await watch.ask(good="true", bad="exit 3", killed=_KILLED)
        for task_id in ("good", "bad", "killed"):
            watch.open_gate(task_id)
        ends = [await watch.confirmed(task_id, within_s=12) for task_id in ("good", "bad", "killed")]

    assert [(end.outcome, end.exit_code, end.signal) for end in ends] == [
        (Outcome.SUCCEEDED, 0, None),
        (Outcome.FAILED, 3, None),
        (Outcome.FAILED, None, 9),
    ]


async def test_a_submission_is_found_again_and_told_by_the_schedulers_own_time(watch: Watch) -> None:
    """What is asked is how long ago it was: no clock of ours reaches the cluster."""
    shell = SshShell(watch.cluster)
    bed = Bed(shell, Path(watch.cluster.log_dir), watch.run_id)
    (receipt,) = await bed.submit(bed.submission("t", "true"))
    job_id = receipt.job_id or ""
    ended = await bed.ended(job_id)

    found = await bed.ask(bed.slurm.find([f"{watch.run_id}/t"], 60.0))
    await shell.close()

    assert found.jobs == {f"{watch.run_id}/t": (job_id,)}
    assert found.submitted_at == {job_id: receipt.submitted_at}
    assert receipt.submitted_at == ended.submitted_at is not None


async def test_a_job_gone_from_queue_and_accounting_and_back_again_is_reopened(watch: Watch) -> None:
    async with watch.poller():
        await watch.ask(t="true")
        await watch.started()
        watch.login.becomes("squeue", ":")
        watch.login.becomes("sacct", _FORGETS)
        assert (await watch.ended()).outcome is Outcome.UNKNOWN
        watch.login.is_itself("squeue")
        await watch.house.until(lambda one: isinstance(one.data, ItemEvent) and one.data.revision == 1)
        watch.login.is_itself("sacct")
        watch.open_gate()
        ended = await watch.ended(revision=1)

    assert (ended.outcome, ended.attempt, ended.exit_code) == (Outcome.SUCCEEDED, 1, 0)
    assert watch.verdicts()[:2] == [(Outcome.UNKNOWN, 0), (Outcome.SUCCEEDED, 1)]
    assert watch.executions() == 1


async def test_a_truth_that_comes_late_wins_over_unknown(watch: Watch) -> None:
    async with watch.poller():
        await watch.ask(t=_KILLED)
        await watch.started()
        watch.login.becomes("sacct", _FORGETS)
        watch.open_gate()
        assert (await watch.ended()).outcome is Outcome.UNKNOWN
        watch.login.is_itself("sacct")
        ended = await watch.ended(revision=1)

    assert (ended.outcome, ended.signal, ended.confirmed) == (Outcome.FAILED, 9, True)
    assert watch.verdicts() == [(Outcome.UNKNOWN, 0), (Outcome.FAILED, 1)]


async def test_accounting_that_was_down_for_long_still_corrects_what_a_record_decided(
    watch: Watch, slurm: SlurmCluster
) -> None:
    patience = msgspec.structs.replace(SHORT, correcting_s=2.0)

    async with watch.poller(patience) as house:
        await watch.ask(t="sleep 600 & wait $!")
        await watch.started()
        watch.open_gate()
        watch.login.becomes("sacct", _REFUSED)
        slurm.run("scancel", str(house.items(Type.ITEM_STARTED)["t"].job_id))
        assert (await watch.ended()).outcome is Outcome.FAILED
        await asyncio.sleep(2 * patience.correcting_s)
        watch.login.is_itself("sacct")
        ended = await watch.ended(revision=1, within_s=10)

    assert (ended.outcome, ended.confirmed) == (Outcome.CANCELLED, True)


async def test_a_poller_that_was_down_for_an_hour_judges_as_if_it_had_not(watch: Watch, database: Database) -> None:
    async with watch.poller(Patience()):
        await watch.ask(running="true", good="true", bad="exit 3", killed=_KILLED)
        for task_id in ("running", "good", "bad", "killed"):
            await watch.started(task_id)
    for task_id in ("good", "bad", "killed"):
        watch.open_gate(task_id)
    await until(lambda: watch.has_record("bad"), "the task to end")
    await _pass(database, hours=1)
    watch.login.becomes("sacct", _REFUSED)

    async with watch.poller(Patience()) as house:
        assert (await watch.ended("good")).outcome is Outcome.SUCCEEDED
        assert (await watch.ended("bad")).exit_code == 3
        await house.until_it_says("poller.cluster.here")
        assert watch.verdicts("killed") == watch.verdicts("running") == []
        watch.login.is_itself("sacct")
        killed = await watch.ended("killed")
        watch.open_gate("running")
        last = await watch.confirmed("running")

    assert (killed.outcome, killed.signal) == (Outcome.FAILED, 9)
    assert (last.outcome, last.attempt, last.revision) == (Outcome.SUCCEEDED, 1, 0)
    assert {watch.executions(task_id) for task_id in ("running", "good", "bad", "killed")} == {1}


async def _pass(database: Database, *, hours: int) -> None:
    """Let time pass while nobody looks: every time of ours lies that much further back, those of the jobs do not."""
    moved: dict[str, list[str]] = {}
    async with database.transaction() as connection:
        columns = await connection.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'poller'"
                " AND data_type = 'timestamp with time zone' AND table_name IN ('items', 'clusters', 'leases')"
                " AND column_name NOT IN ('job_submitted_at', 'handed_in_at', 'started_at', 'ended_at')"
            )
        )
        for table, column in columns:
            moved.setdefault(table, []).append(f"{column} = {column} - interval '{hours} hours'")
        for table, changes in moved.items():
            await connection.execute(text(f"UPDATE poller.{table} SET {', '.join(changes)}"))
