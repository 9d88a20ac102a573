"""The words of Slurm on real Slurm, over real sshd: submit, watch, account, look up, cancel."""

import asyncio
import pwd
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from scripthut_common.errors import BadOutput
from scripthut_common.events import Outcome
from scripthut_poller.schedulers import Question
from scripthut_poller.schedulers.job import ABSENT, Action, Fate, JobState, Seen
from tests.integration.poller.slurm_bed import Bed
from tests.testbed.accounts import ALICE
from tests.testbed.slurm import SlurmCluster


async def test_a_job_is_seen_from_its_submission_to_its_accounting(bed: Bed) -> None:
    job_id = await bed.run(
        "t1", 'echo out; echo err >&2; until [ -e go ]; do sleep 0.1; done; echo x > "$SCRIPTHUT_OUTPUT_DIR/x"'
    )

    seen = await bed.sighted(job_id, JobState.RUNNING)
    (bed.log_dir / "go").touch()
    accounted = await bed.ended(job_id)
    trace = await bed.trace("t1")

    now = datetime.now(UTC)
    assert (seen.job.word, seen.job.restarts, seen.job.node) == ("RUNNING", 0, "n1")
    assert seen.job.submitted_at == accounted.submitted_at
    assert seen.job.started_at == accounted.started_at
    assert (accounted.outcome, accounted.exit_code, accounted.word) == (Outcome.SUCCEEDED, 0, "COMPLETED")
    assert accounted.ended_at is not None
    assert now - timedelta(minutes=1) < accounted.ended_at <= now
    assert trace.record is not None
    assert (trace.record.exit_code, trace.record.job_id, trace.record.attempt) == (0, job_id, 1)
    assert bed.logs("t1") == ("out\n", "err\n")


async def test_a_job_that_is_over_is_absent_from_the_queue(bed: Bed) -> None:
    job_id = await bed.run("t1", "true")
    await bed.left(job_id)

    queue = await bed.ask(bed.slurm.queue([job_id]))

    assert queue.look(job_id) == ABSENT


async def test_a_batch_is_submitted_in_one_command_with_its_dependencies(bed: Bed) -> None:
    parent = bed.submission("parent", "echo parent >> order", is_held=True)
    tags = (parent.tag,)
    child = bed.submission("child", "echo child >> order", after_tags=tags)
    commands = bed.shell.commands_run

    receipts = await bed.submit(parent, child)
    held, waiting = [receipt.job_id or "" for receipt in receipts]

    assert bed.shell.commands_run == commands + 1
    assert [receipt.fate for receipt in receipts] == [Fate.ACCEPTED, Fate.ACCEPTED]
    assert (await bed.sighted(held, JobState.QUEUED)).job.reason == "JobHeldUser"
    assert (await bed.sighted(waiting, JobState.QUEUED)).job.reason == "Dependency"
    assert await bed.ask(bed.slurm.act(Action.RELEASE, [held])) == {}
    await bed.left(held, waiting)
    assert (bed.log_dir / "order").read_text() == "parent\nchild\n"


async def test_releasing_or_cancelling_what_is_over_is_no_complaint(bed: Bed) -> None:
    job_id = await bed.run("t1", "true")
    await bed.left(job_id)

    for action in Action:
        assert await bed.ask(bed.slurm.act(action, [job_id, "4000000"])) == {}


async def test_what_belongs_to_others_is_a_complaint(bed: Bed, slurm: SlurmCluster) -> None:
    other = slurm.run("sbatch", "--parsable", "--hold", "--chdir=/", "--output=/dev/null", stdin="#!/bin/sh\n").strip()

    complaints = [await bed.ask(bed.slurm.act(action, [other])) for action in Action]

    slurm.run("scancel", other)
    assert [list(complaint) for complaint in complaints] == [[other], [other]]
    assert "denied" in complaints[1][other].lower()


async def test_the_child_of_a_failed_parent_is_cancelled_by_slurm(bed: Bed) -> None:
    failing = bed.submission("failing", "exit 3", is_held=True)
    child = bed.submission("child", "echo never > never", after_tags=(failing.tag,))
    parent_id, child_id = [receipt.job_id or "" for receipt in await bed.submit(failing, child)]
    await bed.ask(bed.slurm.act(Action.RELEASE, [parent_id]))

    accounted = await bed.ended(child_id)

    assert (await bed.ended(parent_id)).outcome is Outcome.FAILED
    assert (accounted.outcome, accounted.word, accounted.started_at) == (Outcome.CANCELLED, "CANCELLED", None)
    assert not (bed.log_dir / "never").exists()


async def test_refusals_say_why_and_leave_the_others_alone(bed: Bed) -> None:
    refused = bed.submission("refused", "true", partition="nope", is_held=True)
    orphan = bed.submission("orphan", "true", after_tags=(refused.tag,))
    fine = bed.submission("fine", "true")

    receipts = await bed.submit(refused, orphan, fine)

    assert [receipt.fate for receipt in receipts] == [Fate.REFUSED, Fate.ORPHANED, Fate.ACCEPTED]
    assert receipts[0].message == (
        "invalid partition specified: nope; Batch job submission failed: Invalid partition name specified"
    )


async def test_a_cut_batch_submits_nothing_that_has_not_come_whole(bed: Bed) -> None:
    one, two = bed.submission("one", "echo one >> ran"), bed.submission("two", "echo two >> ran")
    question = bed.slurm.submit([one, two])

    answer = await bed.shell.run(question.program, *question.argv, stdin=question.stdin[:-1])

    assert answer.exit_status == 65
    with pytest.raises(BadOutput):
        question.parse(answer)
    found = await bed.ask(bed.slurm.find([one.tag, two.tag], 0.0))
    assert list(found.jobs) == [one.tag]


async def test_tags_are_found_in_queue_and_accounting_and_nowhere_else(bed: Bed, slurm: SlurmCluster) -> None:
    waiting = await bed.run("waiting", "true", is_held=True)
    cancelled = await bed.run("cancelled", "true", is_held=True)
    await bed.ask(bed.slurm.act(Action.CANCEL, [cancelled]))
    over = await bed.run("over", "true")
    await bed.ended(over)
    await bed.ended(cancelled)
    forged = f"--comment=scripthut:{bed.run_id}/missing"
    slurm.submit("#!/bin/sh\n", f"--job-name=x {forged}", f"--comment=\n{forged}\n| {forged}", "--output=/dev/null")

    found = await bed.ask(
        bed.slurm.find([f"{bed.run_id}/{name}" for name in ("waiting", "over", "cancelled", "missing")], 0.0)
    )

    assert found.jobs == {
        f"{bed.run_id}/waiting": (waiting,),
        f"{bed.run_id}/over": (over,),
        f"{bed.run_id}/cancelled": (cancelled,),
    }
    await bed.ask(bed.slurm.act(Action.CANCEL, [waiting]))


PLACES = (
    "a%j",
    "100%",
    "%%",
    "back\\slash",
    "back\\%j",
    "end\\",
    "a b",
    "nl\nx",
    "q'uo\"te",
    "$(touch x)",
    "-lead",
    "ü☃",
)


async def test_logs_lie_where_they_should_whatever_the_path(bed: Bed) -> None:
    beds = [Bed(bed.shell, bed.log_dir / name, bed.run_id) for name in PLACES]
    receipts = await bed.submit(*[one.submission(f"t{i}", "echo out; echo err >&2") for i, one in enumerate(beds)])

    await bed.left(*[receipt.job_id or "" for receipt in receipts])

    assert [one.logs(f"t{i}") for i, one in enumerate(beds)] == [("out\n", "err\n")] * len(PLACES)
    assert all([(await one.trace(f"t{i}")).record for i, one in enumerate(beds)])


async def test_endings_read_as_slurm_tells_them_and_records_know_better(bed: Bed) -> None:
    endings = ["exit 0", "exit 3", "exit 137", "kill -SEGV $$", "exec sh -c 'exit 4'"]
    receipts = await bed.submit(*[bed.submission(f"t{i}", command) for i, command in enumerate(endings)])

    ends = [await bed.ended(receipt.job_id or "") for receipt in receipts]
    found = [(await bed.trace(f"t{i}")).record for i in range(len(endings))]

    assert [end.outcome for end in ends] == [Outcome.SUCCEEDED, *[Outcome.FAILED] * 4]
    # Before 26.05, Slurm says 9 for 9 and for 137: then nothing is told.
    assert [end.exit_code for end in ends] in ([0, 3, 137, 139, 4], [0, None, None, None, None])
    assert [record and record.exit_code for record in found] == [0, 3, 137, 139, 4]


async def test_a_cancelled_job_reads_as_cancelled_and_leaves_a_record(bed: Bed) -> None:
    job_id = await bed.run("t1", "sleep 600")
    await bed.sighted(job_id, JobState.RUNNING)
    await bed.claimed("t1")

    assert await bed.ask(bed.slurm.act(Action.CANCEL, [job_id])) == {}
    accounted = await bed.ended(job_id)

    assert accounted.outcome is Outcome.CANCELLED
    assert accounted.word == f"CANCELLED by {pwd.getpwnam(ALICE).pw_uid}"
    record = (await bed.trace("t1")).record
    assert record is not None
    assert record.exit_code == 143


async def test_a_claim_names_its_job_while_there_is_no_record(bed: Bed) -> None:
    job_id = await bed.run("t1", "until [ -e go ]; do sleep 0.1; done")
    await bed.sighted(job_id, JobState.RUNNING)

    claim = await bed.claimed("t1")

    assert (claim.job_id, claim.attempt) == (job_id, 1)
    (bed.log_dir / "go").touch()
    await bed.left(job_id)


async def test_a_job_submitted_twice_runs_once(bed: Bed) -> None:
    submission = bed.submission("t1", "echo once >> count")
    jobs = [receipt.job_id or "" for receipt in (*await bed.submit(submission), *await bed.submit(submission))]

    outcomes = {(await bed.ended(job_id)).outcome for job_id in jobs}

    assert outcomes == {Outcome.SUCCEEDED, Outcome.FAILED}
    assert (bed.log_dir / "count").read_text() == "once\n"


async def test_a_requeued_job_is_another_attempt(bed: Bed, slurm: SlurmCluster) -> None:
    job_id = await bed.run("t1", "echo $SCRIPTHUT_ATTEMPT >> attempts; [ $SCRIPTHUT_ATTEMPT = 2 ] || sleep 600")
    await bed.sighted(job_id, JobState.RUNNING)
    await bed.claimed("t1")

    slurm.run("scontrol", "requeue", job_id)
    seen = await bed.sighted(job_id, JobState.QUEUED)
    rows = (await bed.ask(bed.slurm.accounting([job_id]))).look(job_id)
    await asyncio.to_thread(slurm.start_requeued, job_id)
    accounted = await bed.ended(job_id)

    assert seen.job.restarts == 1
    assert isinstance(rows, tuple)
    assert rows[0].outcome is None
    assert accounted.outcome is Outcome.SUCCEEDED
    assert (bed.log_dir / "attempts").read_text() == "1\n2\n"
    record = (await bed.trace("t1")).record
    assert record is not None
    assert record.attempt == 2


async def test_jobs_that_are_stopped_in_whatever_way_are_in_the_queue(bed: Bed, slurm: SlurmCluster) -> None:
    """Squeue is not told which states to show: the manual page leaves some out of those that it shows then."""
    ways = {
        "SUSPENDED": ("scontrol", "suspend"),
        "STOPPED": ("scancel", "--signal=STOP"),
        "PENDING": ("scontrol", "requeuehold"),
        "SPECIAL_EXIT": ("scontrol", "requeuehold", "state=SpecialExit"),
    }
    job_ids = {word: await bed.run(word, "sleep 600") for word in ways}
    for word, argv in ways.items():
        await bed.sighted(job_ids[word], JobState.RUNNING)
        slurm.run(*argv, job_ids[word])

    async def words() -> bool | None:
        queue = await bed.ask(bed.slurm.queue([]))
        shown = {word: job.word for word, job_id in job_ids.items() if (job := queue.jobs.get(job_id)) is not None}
        assert shown.keys() == ways.keys()
        return True if all(word == known for word, known in shown.items()) else None

    assert await bed.until(words)
    slurm.run("scancel", *job_ids.values())


async def test_settings_in_a_profile_change_no_answer(bed: Bed) -> None:
    job_id = await bed.run("t1", "true", is_held=True)
    question = bed.slurm.queue([job_id])
    profile = (
        "export SQUEUE_STATES=RUNNING SQUEUE_FORMAT=%j SQUEUE_USERS=root SQUEUE_PARTITION=low SCANCEL_STATE=RUNNING\n"
    )
    upset = msgspec.structs.replace(question.program, text=profile + question.program.text)

    queue = question.parse(await bed.shell.run(upset))

    assert isinstance(queue.look(job_id), Seen)
    cancel = bed.slurm.act(Action.CANCEL, [job_id])
    upset = msgspec.structs.replace(cancel.program, text=profile + cancel.program.text)
    assert cancel.parse(await bed.shell.run(upset, *cancel.argv)) == {}
    assert (await bed.ended(job_id)).outcome is Outcome.CANCELLED


async def _unanswered(bed: Bed, questions: Sequence[Question[Any]]) -> list[BadOutput]:
    """Ask all at once what cannot be answered: Slurm's commands wait for ten seconds each."""
    answers = await asyncio.gather(*map(bed.ask, questions), return_exceptions=True)
    return [answer for answer in answers if isinstance(answer, BadOutput)]


async def test_no_answer_is_made_up_while_slurm_is_away(bed: Bed, slurm: SlurmCluster) -> None:
    asking = bed.slurm
    questions: list[Question[Any]] = [
        asking.queue(["1"]),
        asking.find(["r/t"], 0.0),
        asking.act(Action.CANCEL, ["1"]),
        asking.act(Action.RELEASE, ["1"]),
    ]

    with slurm.without(slurm.slurmctld):
        submissions = [bed.submission(f"t{number}", "true") for number in range(3)]
        faults, receipts = await asyncio.gather(_unanswered(bed, questions), bed.submit(*submissions))

    assert len(faults) == len(questions)
    assert [receipt.fate for receipt in receipts] == [Fate.DEFERRED] * 3


async def test_no_answer_is_made_up_while_accounting_is_away(bed: Bed, slurm: SlurmCluster) -> None:
    questions: list[Question[Any]] = [bed.slurm.accounting(["1"]), bed.slurm.find(["r/t"], 0.0)]

    with slurm.without(slurm.slurmdbd):
        faults = await _unanswered(bed, questions)

    assert len(faults) == len(questions)
