"""What Slurm's rows mean: recordings of real ones, and whatever else may be printed."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.errors import BadOutput
from scripthut_common.events import Outcome
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import ABSENT, Accounted, Accounts, JobState, Queue
from scripthut_poller.schedulers.slurm import Slurm, rows
from tests.unit.poller import recorded

END_OF = [
    ("22.05.8/01-completed/4-settled", "3", Outcome.SUCCEEDED, 0, None),
    ("22.05.8/02-exit1/4-settled", "4", Outcome.FAILED, 1, None),
    ("22.05.8/02-exit137/4-settled", "6", Outcome.FAILED, 9, None),
    ("22.05.8/02-exit255/4-settled", "7", Outcome.FAILED, 127, None),
    ("22.05.8/02-step-fails-batch-ok/4-settled", "8", Outcome.SUCCEEDED, 0, None),
    ("22.05.8/03-signal-kill/4-settled", "10", Outcome.FAILED, None, 9),
    ("22.05.8/03-signal-term/4-settled", "11", Outcome.FAILED, None, 15),
    ("22.05.8/04-timeout/4-settled", "63", Outcome.TIMED_OUT, None, 9),
    ("22.05.8/04-timeout-trap/4-settled", "64", Outcome.TIMED_OUT, 3, None),
    ("22.05.8/05-cancel-completing/4-settled", "23", Outcome.CANCELLED, None, 9),
    ("22.05.8/05-cancel-pending/4-settled", "20", Outcome.CANCELLED, None, None),
    ("22.05.8/05-cancel-running/4-settled", "21", Outcome.CANCELLED, None, 15),
    ("22.05.8/08-requeue/4-settled", "42", Outcome.SUCCEEDED, 0, None),
    ("22.05.8/08-requeuehold/4-settled", "43", Outcome.CANCELLED, None, None),
    ("22.05.8/09-node-fail/4-settled", "105", Outcome.NODE_FAILED, None, None),
    ("22.05.8/09-node-fail/3-requeued-done", "106", Outcome.SUCCEEDED, 0, None),
    ("22.05.8/10-preempted/4-settled", "46", Outcome.PREEMPTED, None, 15),
    ("22.05.8/10-preempted-requeued/4-settled", "48", Outcome.SUCCEEDED, 0, None),
    ("22.05.8/11-array/4-settled", "70", Outcome.FAILED, 9, None),
    ("22.05.8/17-srun/4-settled", "93", Outcome.FAILED, 6, None),
    ("22.05.8/19-command-not-found/4-settled", "19", Outcome.FAILED, 127, None),
    ("22.05.8/19-workdir-missing/4-settled", "16", Outcome.FAILED, None, None),
    ("22.05.8/22-oom-batch/4-settled", "8", Outcome.OUT_OF_MEMORY, None, None),
    ("22.05.8/22-oom-step/4-settled", "10", Outcome.SUCCEEDED, 0, None),
    ("22.05.8/22-overmemorykill/4-settled", "1", Outcome.FAILED, None, 9),
    ("24.11.5/02-exit137/4-settled", "4", Outcome.FAILED, 9, None),
    ("24.11.5/03-signal-segv/4-settled", "8", Outcome.FAILED, None, 11),
    ("24.11.5/04-timeout/4-settled", "1", Outcome.TIMED_OUT, None, 9),
    ("24.11.5/05-cancel-running/4-settled", "11", Outcome.CANCELLED, None, 15),
    ("24.11.5/08-requeue/3-cancelled", "15", Outcome.CANCELLED, None, None),
]


@pytest.mark.parametrize(("recording", "job_id", "outcome", "code", "signal"), END_OF)
def test_rule_9_a_recorded_end_is_read_as_what_happened(
    recording: str, job_id: str, outcome: Outcome, code: int | None, signal: int | None
) -> None:
    last = last_of(recorded.accounts(recording), job_id)

    assert (last.outcome, last.exit_code, last.signal) == (outcome, code, signal)


NOT_FINAL = [
    ("22.05.8/01-completed/2-running", "3", "RUNNING"),
    ("22.05.8/02-exit1/3-done", "4", "FAILED"),
    ("22.05.8/05-cancel-completing/2-completing", "23", "CANCELLED by 1002"),
    ("22.05.8/06-dependency-never/2-killed", "28", "CANCELLED"),
    ("22.05.8/08-requeue/2-requeued", "42", "REQUEUED"),
    ("22.05.8/08-requeuehold/2-requeuehold", "43", "PENDING"),
    ("22.05.8/18-suspended/2-suspended", "45", "SUSPENDED"),
    ("22.05.8/21-down-slurmdbd/3-restarted", "108", "FAILED"),
    ("22.05.8/24-link-fields-default-config/2-running", "1", "PENDING"),
]


@pytest.mark.parametrize(("recording", "job_id", "word"), NOT_FINAL)
def test_rule_9_a_provisional_or_unfinished_row_is_not_final(recording: str, job_id: str, word: str) -> None:
    last = last_of(recorded.accounts(recording), job_id)

    assert (last.outcome, last.word) == (None, word)


def test_rule_9_every_execution_of_a_requeued_job_is_told_oldest_first() -> None:
    executions = recorded.accounts("22.05.8/08-requeue/4-settled").rows["42"]

    assert [one.word for one in executions] == ["REQUEUED", "COMPLETED"]


def test_a_job_that_never_began_has_no_start_and_no_node() -> None:
    last = last_of(recorded.accounts("22.05.8/05-cancel-pending/4-settled"), "20")

    assert (last.started_at, last.node) == (None, None)
    assert last.ended_at == datetime(2026, 11, 23, 6, 29, 29, tzinfo=UTC)


IN_QUEUE = [
    ("22.05.8/01-completed/2-running", "3", JobState.RUNNING, None, 0),
    ("22.05.8/05-cancel-completing/2-completing", "23", JobState.RUNNING, None, None),
    ("22.05.8/06-dependency-never/2-never", "27", JobState.QUEUED, "DependencyNeverSatisfied", 0),
    ("22.05.8/07-held/1-held-user", "31", JobState.QUEUED, "JobHeldUser", 0),
    ("22.05.8/08-requeue/2-requeued", "42", JobState.QUEUED, None, 1),
    ("22.05.8/08-specialexit/2-special", "44", JobState.QUEUED, "job requeued in held state", 1),
    ("22.05.8/11-array/2-partly", "66", JobState.RUNNING, None, 0),
    ("22.05.8/18-suspended/2-suspended", "45", JobState.RUNNING, None, 0),
    ("24.11.5/08-requeue/2-requeued", "15", JobState.RUNNING, None, None),
    ("24.11.5/12-het/2-running", "24", JobState.RUNNING, None, 0),
]


@pytest.mark.parametrize(("recording", "job_id", "state", "reason", "restarts"), IN_QUEUE)
def test_a_recorded_queue_shows_how_the_job_stands(
    recording: str, job_id: str, state: JobState, reason: str | None, restarts: int | None
) -> None:
    job = recorded.queue(recording).jobs[job_id]

    assert (job.state, job.reason, job.restarts) == (state, reason, restarts)
    assert (job.started_at is not None) == (state is JobState.RUNNING)


@pytest.mark.parametrize("recording", recorded.every("squeue-O"))
def test_jobs_that_are_over_are_absent_though_squeue_still_shows_them(recording: str) -> None:
    queue = recorded.queue(recording)

    assert all(job.word not in {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"} for job in queue.jobs.values())


@pytest.mark.parametrize("recording", recorded.every("sacct-P"))
def test_no_recorded_success_has_another_word_than_completed(recording: str) -> None:
    executions = [one for known in recorded.accounts(recording).rows.values() for one in known]

    assert executions
    assert all(one.word == "COMPLETED" for one in executions if one.outcome is Outcome.SUCCEEDED)


def test_a_state_that_nobody_knows_is_odd_in_the_queue_and_not_final_in_accounting() -> None:
    queue = rows.queue(answer("1\n7|LEVITATING|0|1|2|n1|None|\n"))
    accounts = rows.accounts(answer("1\n7|LEVITATING|0:0|1|2|3|debug|n1\n"))

    assert (queue.jobs["7"].state, queue.jobs["7"].word) == (JobState.ODD, "LEVITATING")
    assert last_of(accounts, "7").outcome is None


JOB = "7|{state}|{code}|10|11|12|debug|n1\n"
BATCH = "7.batch|{state}|{code}|11|11|12||n1\n"


@pytest.mark.parametrize(
    ("job", "batch", "outcome", "code", "signal"),
    [
        (("COMPLETED", "0:0"), ("FAILED", "3:0"), Outcome.FAILED, 3, None),
        (("COMPLETED", "3:0"), ("COMPLETED", "0:0"), Outcome.FAILED, 3, None),
        (("COMPLETED", "0:9"), None, Outcome.FAILED, None, 9),
        (("COMPLETED", "?:?"), ("COMPLETED", "?:?"), Outcome.SUCCEEDED, None, None),
        (("FAILED", "1:0"), ("OUT_OF_MEMORY", "0:125"), Outcome.OUT_OF_MEMORY, 1, None),
        (("FAILED", "0:15"), ("CANCELLED", "0:15"), Outcome.FAILED, None, 15),
        (("TIMEOUT", "0:0"), ("COMPLETED", "0:0"), Outcome.TIMED_OUT, None, None),
        (("NODE_FAIL", "0:0"), ("CANCELLED", ""), Outcome.NODE_FAILED, None, None),
        (("DEADLINE", "0:0"), None, Outcome.TIMED_OUT, None, None),
        (("BOOT_FAIL", "0:0"), None, Outcome.NODE_FAILED, None, None),
    ],
)
@pytest.mark.parametrize("is_batch_first", [False, True])
def test_rule_9_job_and_batch_are_weighed_in_any_order(
    job: tuple[str, str],
    batch: tuple[str, str] | None,
    outcome: Outcome,
    code: int | None,
    signal: int | None,
    is_batch_first: bool,  # noqa: FBT001  a parameter of the table
) -> None:
    lines = [JOB.format(state=job[0], code=job[1])]
    lines += [BATCH.format(state=batch[0], code=batch[1])] if batch else []

    last = last_of(rows.accounts(answer("1\n" + "".join(reversed(lines) if is_batch_first else lines))), "7")

    assert (last.outcome, last.exit_code, last.signal) == (outcome, code, signal)


BROKEN = [
    "",
    "no clock\n",
    "1\n7|RUNNING|0|1|2|n1|None",
    "1\n7|RUNNING|0|1|2|n1\n",
    "1\nseven|RUNNING|0|1|2|n1|None|\n",
    "1\n7|RUNNING|many|1|2|n1|None|\n",
    "1\n7|RUNNING|0|yesterday|2|n1|None|\n",
    "1\n7|RUNNING|0|999999999999|2|n1|None|\n",
    "1\n7|RUNNING|0|1|2|n1|None|\n\n",
    "1\nsqueue: error: Invalid job format specification\n",
    "1\nCLUSTER: other\n7|RUNNING|0|1|2|n1|None|\n",
]


@pytest.mark.parametrize("text", BROKEN)
def test_rule_1_one_row_that_cannot_be_read_spoils_the_answer(text: str) -> None:
    with pytest.raises(BadOutput):
        rows.queue(answer(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1\n7|COMPLETED|0:0|10|11|12|debug\n",
        "1\n7|COMPLETED|0:0|10|11|12|debug|n1",
        "1\n7|0|0:0|10|11|12|debug|n1\n",
        "1\nline2|COMPLETED|0:0|10|11|12|debug|n1\n",
    ],
)
def test_rule_1_the_same_holds_for_accounting(text: str) -> None:
    with pytest.raises(BadOutput):
        rows.accounts(answer(text))


@pytest.mark.parametrize("read", [rows.queue, rows.accounts])
def test_a_command_that_failed_has_answered_nothing(read: object) -> None:
    failed = Answer(stdout=b"1\n", stderr=b"slurm_load_jobs error: Unable to contact slurm controller", exit_status=1)

    with pytest.raises(BadOutput, match="Unable to contact slurm controller"):
        read(failed)  # type: ignore[operator]


def test_a_cluster_that_keeps_no_accounting_says_so() -> None:
    accounts = rows.accounts(Answer(stdout=b"1\n", stderr=b"Slurm accounting storage is disabled\n", exit_status=1))

    assert not accounts.is_kept
    assert accounts.look("7") is None


def test_a_job_of_which_only_a_step_is_known_is_not_known() -> None:
    assert rows.accounts(answer("1\n7.batch|COMPLETED|0:0|11|11|12||n1\n")).look("7") == ABSENT


_LINES = st.lists(
    st.text(alphabet="|:0179.\x1fRUNINGCOMPLETED \u00e9", max_size=60)
    | st.sampled_from(["7|RUNNING|0|1|2|n1|None|", "7|COMPLETED|0:0|10|11|12|debug|n1", "7.batch|FAILED|1:0|1|1|1||n1"])
)


@given(st.binary(max_size=300) | _LINES.map(lambda lines: "\n".join(["1", *lines, ""]).encode()), st.integers(0, 2))
def test_whatever_is_printed_is_read_or_refused_as_bad_output(stdout: bytes, exit_status: int) -> None:
    said = Answer(stdout=stdout, stderr=stdout[:50], exit_status=exit_status)

    for question in (Slurm().queue([]), Slurm().accounting(["1"])):
        try:
            told = question.parse(said)
        except BadOutput:
            continue
        assert isinstance(told, Queue | Accounts)


def answer(stdout: str) -> Answer:
    return Answer(stdout=stdout.encode(), stderr=b"", exit_status=0)


def last_of(accounts: Accounts, job_id: str) -> Accounted:
    executions = accounts.look(job_id)
    assert isinstance(executions, tuple)
    return executions[-1]
