"""The words of PBS on its stand-in, over real sshd: submit, watch, account, look up, cancel, arrays."""

import asyncio
import os
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.errors import BadOutput, TimedOut
from scripthut_common.events import Outcome
from scripthut_common.shell.ssh import SshShell
from scripthut_poller.schedulers.job import ABSENT, Accounted, Action, Fate, JobState, Seen
from scripthut_poller.schedulers.pbs import Pbs
from tests.integration.poller.slurm_bed import Bed
from tests.testbed.accounts import ALICE, BOB
from tests.testbed.pbs import PbsCluster
from tests.testbed.sshd import Sshd


@pytest.fixture
async def bed(pbs: PbsCluster, pbs_login: Sshd) -> AsyncIterator[Bed]:
    cluster = Cluster(
        name="testbed",
        scheduler=SchedulerKind.PBS,
        host=pbs_login.host,
        port=pbs_login.port,
        user=ALICE,
        key_file=str(pbs_login.key(ALICE)),
        known_hosts_file=str(pbs_login.known_hosts),
    )
    run_id = f"r{os.urandom(6).hex()}"
    shell = SshShell(cluster)
    yield Bed(shell, pbs.directory_of(ALICE) / run_id, run_id, Pbs())
    await shell.close()


async def _array(login: Sshd, user: str, script: str) -> str:
    """Hand in an array of three as somebody would by hand; return its id without brackets and server."""
    said = await asyncio.to_thread(login.run, user, "qsub -J 0-2 -o /dev/null -e /dev/null", script)
    return said.partition("[")[0]


async def test_a_job_is_seen_from_its_submission_to_its_history(bed: Bed) -> None:
    job_id = await bed.run("t1", "echo out; echo err >&2; until [ -e go ]; do sleep 0.1; done; exit 3")

    seen = await bed.sighted(job_id, JobState.RUNNING)
    (bed.log_dir / "go").touch()
    accounted = await bed.ended(job_id)
    trace = await bed.trace("t1")

    assert (seen.job.word, seen.job.restarts, seen.job.node) == ("R", None, "pbs01")
    assert seen.job.submitted_at == accounted.submitted_at
    assert seen.job.started_at == accounted.started_at
    assert (accounted.outcome, accounted.exit_code, accounted.word) == (Outcome.FAILED, 3, "F 3")
    assert (await bed.ask(bed.slurm.queue([job_id]))).look(job_id) is ABSENT
    assert trace.record is not None
    assert (trace.record.exit_code, trace.record.job_id, trace.record.attempt) == (3, job_id, 1)
    assert bed.logs("t1") == ("out\n", "err\n")


async def test_a_batch_is_submitted_in_one_command_and_released(bed: Bed) -> None:
    parent = bed.submission("parent", "echo parent >> order", is_held=True)
    child = bed.submission("child", "echo child >> order", after_tags=(parent.tag,))
    commands = bed.shell.commands_run

    first, second = await bed.submit(parent, child)
    assert bed.shell.commands_run == commands + 1
    ids = [first.job_id or "", second.job_id or ""]
    queue = await bed.ask(bed.slurm.queue(ids))
    assert {job.reason for job in queue.jobs.values()} == {"held"}
    assert await bed.ask(bed.slurm.act(Action.RELEASE, ids[:1])) == {}
    await bed.ended(ids[1])

    assert (bed.log_dir / "order").read_text() == "parent\nchild\n"


async def test_a_dependency_that_fails_or_is_not_known_fails_its_dependent(bed: Bed) -> None:
    bad = await bed.run("bad", "exit 1")
    orphans = [
        await bed.run("child", "true", after_ids=(bad,)),
        await bed.run("lost", "true", after_ids=("999999.pbs01",)),
    ]

    assert {(await bed.ended(orphan)).outcome for orphan in orphans} == {Outcome.DEPENDENCY_FAILED}


async def test_jobs_are_cancelled_and_others_stay(bed: Bed, pbs_login: Sshd) -> None:
    running, held = await bed.run("a", "sleep 60"), await bed.run("b", "true", is_held=True)
    await bed.claimed("a")
    of_bob = (await asyncio.to_thread(pbs_login.run, BOB, "qsub -o /dev/null -e /dev/null", "sleep 60")).strip()

    complaints = await bed.ask(bed.slurm.act(Action.CANCEL, [running, held, of_bob, "999999.pbs01"]))

    assert complaints == {of_bob: "Unauthorized Request"}
    assert [(await bed.ended(one)).outcome for one in (running, held)] == [Outcome.CANCELLED] * 2
    assert isinstance((await bed.ask(bed.slurm.queue([of_bob]))).look(of_bob), Seen)
    await asyncio.to_thread(pbs_login.run, BOB, f"qdel {of_bob}")


async def test_tags_are_found_in_queue_and_history(bed: Bed, pbs: PbsCluster) -> None:
    queued, ended = await bed.run("a", "true", is_held=True), await bed.run("b", "true")
    await bed.ended(ended)
    tags = [f"{bed.run_id}/{one}" for one in "abc"]

    kept = await bed.ask(bed.slurm.find(tags, 60.0))
    pbs.set(history=False)
    forgotten = await bed.ask(bed.slurm.find(tags, 60.0))

    assert kept.jobs == {tags[0]: (queued,), tags[1]: (ended,)}
    assert kept.is_accounting_kept
    assert forgotten.jobs == {tags[0]: (queued,)}
    assert not forgotten.is_accounting_kept


async def test_elements_of_an_array_are_watched_each_by_itself(bed: Bed, pbs_login: Sshd) -> None:
    script = f"until [ -e {bed.log_dir}/go-$PBS_ARRAY_INDEX ]; do sleep 0.1; done; exit $PBS_ARRAY_INDEX"
    bed.log_dir.mkdir()
    bed.log_dir.chmod(0o755)
    number = await _array(pbs_login, ALICE, script)
    elements, whole = [f"{number}[{index}].pbs01" for index in range(3)], f"{number}[].pbs01"
    await bed.sighted(elements[2], JobState.RUNNING)

    for index in (1, 2):
        (bed.log_dir / f"go-{index}").touch()
    await bed.left(*elements[1:])
    running = await bed.ask(bed.slurm.queue([*elements, whole]))
    midway = [(await bed.ended(element)).word for element in elements[1:]]
    (bed.log_dir / "go-0").touch()
    rows = [await bed.ended(element) for element in elements]
    parent = await bed.ended(whole)

    assert set(running.jobs) == {elements[0], whole}
    assert midway == ["X 1", "X 2"]
    assert [(row.outcome, row.exit_code) for row in rows] == [
        (Outcome.SUCCEEDED, 0),
        (Outcome.FAILED, 1),
        (Outcome.FAILED, 2),
    ]
    assert (parent.outcome, parent.exit_code) == (Outcome.FAILED, None)


async def test_without_history_an_element_that_is_over_says_nothing(bed: Bed, pbs: PbsCluster, pbs_login: Sshd) -> None:
    pbs.set(history=False)
    number = await _array(pbs_login, ALICE, "[ $PBS_ARRAY_INDEX = 0 ] || sleep 3")
    first, last = f"{number}[0].pbs01", f"{number}[2].pbs01"
    await bed.sighted(last, JobState.RUNNING)
    await bed.left(first)

    accounts = await bed.ask(bed.slurm.accounting([first]))
    await bed.left(last)

    assert accounts.look(first) is None
    assert (await bed.ask(bed.slurm.queue([first, last]))).jobs == {}


async def test_jobs_that_are_hidden_from_us_are_not_absent(bed: Bed, pbs: PbsCluster, pbs_login: Sshd) -> None:
    of_bob = (await asyncio.to_thread(pbs_login.run, BOB, "qsub -h -o /dev/null -e /dev/null", "true")).strip()
    pbs.set(query_other_jobs=False)
    held = await bed.run("a", "true", is_held=True)

    queue = await bed.ask(bed.slurm.queue([of_bob, held, "999999.pbs01"]))
    accounts = await bed.ask(bed.slurm.accounting([of_bob]))

    assert queue.jobs[held].state is JobState.QUEUED
    assert queue.jobs[of_bob].state is JobState.ODD
    assert queue.look("999999.pbs01") is ABSENT
    assert accounts.rows[of_bob] == (Accounted(id=of_bob, outcome=None, word="not shown"),)


async def test_a_record_that_is_gone_is_absent(bed: Bed, pbs: PbsCluster) -> None:
    job_id = await bed.run("a", "true")
    await bed.ended(job_id)
    pbs.forget(job_id)

    assert (await bed.ask(bed.slurm.accounting([job_id]))).look(job_id) is ABSENT


async def test_a_server_that_is_down_or_hangs_proves_nothing(bed: Bed, pbs: PbsCluster) -> None:
    job_id = await bed.run("a", "sleep 60")
    await asyncio.to_thread(pbs.server.stop)
    with pytest.raises(BadOutput, match="cannot connect to server"):
        await bed.ask(bed.slurm.queue([job_id]))
    (receipt,) = await bed.submit(bed.submission("b", "true"))
    await asyncio.to_thread(pbs.server.start)
    pbs.server.pause()
    question, began = bed.slurm.queue([job_id]), time.monotonic()
    hasty = msgspec.structs.replace(question.program, timeout_s=2.0)
    with pytest.raises(TimedOut):
        await bed.shell.run(hasty, *question.argv, stdin=question.stdin)
    took_s = time.monotonic() - began
    pbs.server.resume()

    assert receipt.fate is Fate.DEFERRED
    assert took_s < 30
    assert isinstance((await bed.ask(bed.slurm.queue([job_id]))).look(job_id), Seen)
    await bed.ask(bed.slurm.act(Action.CANCEL, [job_id]))
