"""What sacct's rows mean: recordings of real ones, and whatever else may be printed."""

from datetime import UTC, datetime

import pytest

from scripthut_common.errors import BadOutput
from scripthut_common.events import Outcome
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import ABSENT, Accounted, Accounts
from scripthut_poller.schedulers.reading import UnreadRows
from scripthut_poller.schedulers.slurm import Slurm, rows
from tests.unit.poller import recorded

END_OF = [
    ("22.05.8/01-completed/4-settled", "3", Outcome.SUCCEEDED, 0, None),
    ("22.05.8/02-exit1/4-settled", "4", Outcome.FAILED, None, None),
    ("22.05.8/02-exit137/4-settled", "6", Outcome.FAILED, None, None),
    ("22.05.8/02-exit255/4-settled", "7", Outcome.FAILED, None, None),
    ("22.05.8/02-step-fails-batch-ok/4-settled", "8", Outcome.SUCCEEDED, 0, None),
    ("22.05.8/03-signal-kill/4-settled", "10", Outcome.FAILED, None, 9),
    ("22.05.8/03-signal-term/4-settled", "11", Outcome.FAILED, None, 15),
    ("22.05.8/04-timeout/4-settled", "63", Outcome.TIMED_OUT, None, 9),
    ("22.05.8/04-timeout-trap/4-settled", "64", Outcome.TIMED_OUT, None, None),
    ("22.05.8/05-cancel-completing/4-settled", "23", Outcome.CANCELLED, None, 9),
    ("22.05.8/05-cancel-pending/4-settled", "20", Outcome.CANCELLED, None, None),
    ("22.05.8/05-cancel-running/4-settled", "21", Outcome.CANCELLED, None, 15),
    ("22.05.8/08-requeue/4-settled", "42", Outcome.SUCCEEDED, 0, None),
    ("22.05.8/08-requeuehold/4-settled", "43", Outcome.CANCELLED, None, None),
    ("22.05.8/09-node-fail/4-settled", "105", Outcome.NODE_FAILED, None, None),
    ("22.05.8/09-node-fail/3-requeued-done", "106", Outcome.SUCCEEDED, 0, None),
    ("22.05.8/10-preempted/4-settled", "46", Outcome.PREEMPTED, None, 15),
    ("22.05.8/10-preempted-requeued/4-settled", "48", Outcome.SUCCEEDED, 0, None),
    ("22.05.8/11-array/4-settled", "65_4", Outcome.FAILED, None, None),
    ("22.05.8/11-array/4-settled", "65_6", Outcome.SUCCEEDED, 0, None),
    ("22.05.8/11-array-sparse/4-settled", "72_6", Outcome.CANCELLED, None, None),
    ("22.05.8/11-array-sparse/4-settled", "72_200", Outcome.CANCELLED, None, None),
    ("22.05.8/12-het/4-settled", "74", Outcome.FAILED, None, None),
    ("22.05.8/17-srun/4-settled", "93", Outcome.FAILED, None, None),
    ("22.05.8/19-command-not-found/4-settled", "19", Outcome.FAILED, None, None),
    ("22.05.8/19-workdir-missing/4-settled", "16", Outcome.FAILED, None, None),
    ("22.05.8/22-oom-batch/4-settled", "8", Outcome.OUT_OF_MEMORY, None, None),
    ("22.05.8/22-oom-step/4-settled", "10", Outcome.SUCCEEDED, 0, None),
    ("22.05.8/22-overmemorykill/4-settled", "1", Outcome.FAILED, None, 9),
    ("24.11.5/02-exit137/4-settled", "4", Outcome.FAILED, None, None),
    ("24.11.5/11-array/4-settled", "16_4", Outcome.FAILED, None, None),
    ("24.11.5/12-het/4-settled", "23", Outcome.FAILED, None, None),
    ("24.11.5/03-signal-segv/4-settled", "8", Outcome.FAILED, None, 11),
    ("24.11.5/04-timeout/4-settled", "1", Outcome.TIMED_OUT, None, 9),
    ("24.11.5/05-cancel-running/4-settled", "11", Outcome.CANCELLED, None, 15),
    ("24.11.5/08-requeue/3-cancelled", "15", Outcome.CANCELLED, None, None),
]


@pytest.mark.parametrize(("recording", "job_id", "outcome", "code", "signal"), END_OF)
def test_rule_9_a_recorded_end_is_read_as_what_happened(
    recording: str, job_id: str, outcome: Outcome, code: int | None, signal: int | None
) -> None:
    last = last_of(recorded.accounts(recording, job_id), job_id)

    assert (last.outcome, last.exit_code, last.signal) == (outcome, code, signal)


NOT_FINAL = [
    ("22.05.8/01-completed/2-running", "3", "RUNNING"),
    ("22.05.8/02-exit1/3-done", "4", "FAILED"),
    ("22.05.8/05-cancel-completing/2-completing", "23", "CANCELLED by 1002"),
    ("22.05.8/06-dependency-never/2-killed", "28", "CANCELLED"),
    ("22.05.8/08-requeue/2-requeued", "42", "REQUEUED"),
    ("22.05.8/08-requeuehold/2-requeuehold", "43", "PENDING"),
    ("22.05.8/12-het/2-running", "74", "PENDING"),
    ("22.05.8/18-suspended/2-suspended", "45", "SUSPENDED"),
    ("22.05.8/21-down-slurmdbd/3-restarted", "108", "FAILED"),
    ("22.05.8/24-link-fields-default-config/2-running", "1", "PENDING"),
]


@pytest.mark.parametrize(("recording", "job_id", "word"), NOT_FINAL)
def test_rule_9_a_provisional_or_unfinished_row_is_not_final(recording: str, job_id: str, word: str) -> None:
    last = last_of(recorded.accounts(recording, job_id), job_id)

    assert (last.outcome, last.word) == (None, word)


def test_rule_9_every_execution_of_a_requeued_job_is_told_oldest_first() -> None:
    executions = recorded.accounts("22.05.8/08-requeue/4-settled").rows["42"]

    assert [one.word for one in executions] == ["REQUEUED", "COMPLETED"]


def test_a_job_that_never_began_has_no_start_and_no_node() -> None:
    last = last_of(recorded.accounts("22.05.8/05-cancel-pending/4-settled", "20"), "20")

    assert (last.started_at, last.node) == (None, None)
    assert last.ended_at == datetime(2026, 11, 23, 6, 29, 29, tzinfo=UTC)


@pytest.mark.parametrize("recording", recorded.every("sacct-P"))
def test_no_recorded_success_has_another_word_than_completed(recording: str) -> None:
    executions = [one for known in recorded.accounts(recording, "72_1").rows.values() for one in known]

    assert executions
    assert all(one.word == "COMPLETED" for one in executions if one.outcome is Outcome.SUCCEEDED)


def test_a_state_that_nobody_knows_is_not_final() -> None:
    assert last_of(accounts("7|LEVITATING|0:0|1|2|3|debug|n1\n"), "7").outcome is None


JOB = "7|{state}|{code}|10|11|12|debug|n1\n"
BATCH = "7.batch|{state}|{code}|11|11|12||n1\n"


@pytest.mark.parametrize(
    ("job", "batch", "outcome", "code", "signal"),
    [
        (("COMPLETED", "0:0"), ("FAILED", "200:0"), Outcome.FAILED, 200, None),
        (("COMPLETED", "200:0"), ("COMPLETED", "0:0"), Outcome.FAILED, 200, None),
        (("COMPLETED", "0:9"), None, Outcome.FAILED, None, 9),
        (("COMPLETED", "?:?"), ("COMPLETED", "?:?"), Outcome.SUCCEEDED, None, None),
        (("FAILED", "1:0"), ("OUT_OF_MEMORY", "0:125"), Outcome.OUT_OF_MEMORY, None, None),
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

    last = last_of(accounts("".join(reversed(lines) if is_batch_first else lines)), "7")

    assert (last.outcome, last.exit_code, last.signal) == (outcome, code, signal)


@pytest.mark.parametrize(
    "lost",
    [
        "7|COMPLETED|0:0|10|11|11|debug|n1\n7.batch|RUNNING|0:0|11|11|Unknown||n1\n",
        "7|COMPLETED|0:0|10|Unknown|10|debug|None assigned\n",
    ],
)
def test_rule_9_a_job_that_slurm_has_lost_and_an_admin_has_closed_is_no_success(lost: str) -> None:
    """`sacctmgr show runawayjobs` writes COMPLETED and an end that is no later than the start, and leaves the steps."""
    last = last_of(accounts(lost), "7")

    assert (last.outcome, last.exit_code) == (None, None)


@pytest.mark.parametrize(
    ("version", "printed", "exit_code"),
    [
        ("slurm-wlm 22.05.8", "9:0", None),
        ("slurm 24.11.5", "9:0", None),
        ("slurm 25.11.0-0rc1", "9:0", None),
        ("slurm 26.05.5", "9:0", 9),
        ("slurm 26.05.5", "137:0", 137),
        ("slurm 22.05.8", "137:0", 137),
        ("slurm 26.05.5", "0:0", None),
        ("slurm 26.05.5", "9:15", None),
        ("slurm 26.05.5", "-1:0", None),
    ],
)
def test_rule_9_an_exit_code_is_told_only_where_slurm_prints_the_true_one(
    version: str, printed: str, exit_code: int | None
) -> None:
    """Up to 25.11, 9:0 is what a script prints that ended with 9, or with 137."""
    last = last_of(accounts(JOB.format(state="FAILED", code=printed), version=version), "7")

    assert (last.outcome, last.exit_code) == (Outcome.FAILED, exit_code)


@pytest.mark.parametrize(
    ("version", "printed", "possible"),
    [("slurm 24.11.5", "9:0", (9, 137)), ("slurm 26.05.5", "9:0", ()), ("slurm 24.11.5", "0:9", ())],
)
def test_rule_9_what_an_exit_code_may_be_is_told_where_it_is_not_known(
    version: str, printed: str, possible: tuple[int, ...]
) -> None:
    last = last_of(accounts(JOB.format(state="FAILED", code=printed), version=version), "7")

    assert last.possible_codes == possible


def test_a_job_that_was_resized_was_not_requeued() -> None:
    resized = "7|RESIZING|0:0|10|11|12|debug|n[1-2]\n7|COMPLETED|0:0|12|12|13|debug|n1\n"

    (execution,) = accounts(resized).rows["7"]

    assert execution.outcome is Outcome.SUCCEEDED
    assert execution.submitted_at == datetime.fromtimestamp(10, UTC)


LISTED = "12_[4-9%2]|CANCELLED by 7|0:0|10|None|12|debug|None assigned\n"


def test_elements_cancelled_while_they_waited_are_found_in_their_arrays_row() -> None:
    told = accounts(LISTED, "12_4", "12_9", "12_10", "13_4", "12")

    assert [job_id for job_id in ("12_4", "12_9", "12_10", "13_4", "12") if told.look(job_id) != ABSENT] == [
        "12_4",
        "12_9",
    ]
    last = last_of(told, "12_4")
    assert (last.outcome, last.started_at, last.word) == (Outcome.CANCELLED, None, "CANCELLED by 7")


def test_an_element_with_a_row_of_its_own_has_only_that() -> None:
    own = "12_4|REQUEUED|0:0|11|11|12|debug|n1\n"

    assert [one.word for one in accounts(LISTED + own, "12_4").rows["12_4"]] == ["REQUEUED"]


def test_a_row_that_was_printed_twice_is_one_execution() -> None:
    row = "12_4|CANCELLED by 7|0:15|10|11|12|debug|n1\n"

    assert len(accounts(row + LISTED + row, "12_4").rows["12_4"]) == 1


PART = "74+{part}|{state}|{code}|10|11|{ended}|debug|n{part}\n"


@pytest.mark.parametrize(
    ("states", "outcome", "word"),
    [
        (("COMPLETED", "COMPLETED"), Outcome.SUCCEEDED, "COMPLETED"),
        (("COMPLETED", "NODE_FAIL"), Outcome.NODE_FAILED, "NODE_FAIL"),
        (("FAILED", "CANCELLED by 7"), Outcome.CANCELLED, "CANCELLED by 7"),
        (("TIMEOUT", "FAILED", "OUT_OF_MEMORY"), Outcome.OUT_OF_MEMORY, "OUT_OF_MEMORY"),
        (("COMPLETED", "RUNNING"), None, "RUNNING"),
        (("COMPLETED",), None, "COMPLETED"),
    ],
)
def test_a_heterogeneous_job_is_one_and_ends_as_its_worst_part(
    states: tuple[str, ...], outcome: Outcome | None, word: str
) -> None:
    parts = [
        PART.format(part=part, state=state, code="0:0", ended="Unknown" if state == "RUNNING" else 12 + part)
        for part, state in enumerate(states)
    ]

    last = last_of(accounts("".join(reversed(parts))), "74")

    assert (last.id, last.outcome, last.word, last.node) == ("74", outcome, word, "n0")


def test_a_part_that_has_no_record_yet_keeps_a_heterogeneous_job_open() -> None:
    first, third = (PART.format(part=part, state="COMPLETED", code="0:0", ended=12) for part in (0, 2))

    assert last_of(accounts(first + third), "74").outcome is None


def test_every_execution_of_a_requeued_heterogeneous_job_is_told() -> None:
    before = "".join(PART.format(part=part, state="REQUEUED", code="0:0", ended=12) for part in (0, 1))
    after = "".join(f"74+{part}|COMPLETED|0:0|12|13|14|debug|n1\n" for part in (0, 1))

    assert [one.word for one in accounts(after + before).rows["74"]] == ["REQUEUED", "COMPLETED"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1\n",
        "1\nsacct: command not found\n",
        "1\nslurm 22.05.8\n7|COMPLETED|0:0|10|11|12|debug\n",
        "1\nslurm 22.05.8\n7|COMPLETED|0:0|10|11|12|debug|n1",
        "1\nslurm 22.05.8\n7|0|0:0|10|11|12|debug|n1\n",
        "1\nslurm 22.05.8\nline2|COMPLETED|0:0|10|11|12|debug|n1\n",
        "1\nslurm 22.05.8\n12_[1,2,...]|CANCELLED|0:0|10|11|12|debug|n1\n",
        "1\nslurm 22.05.8\n12_[5-3]|CANCELLED|0:0|10|11|12|debug|n1\n",
    ],
)
def test_rule_1_one_row_that_cannot_be_read_spoils_the_answer(text: str) -> None:
    with pytest.raises(BadOutput):
        rows.accounts(answer(text), ["7"])


def test_rows_that_cannot_be_read_are_counted() -> None:
    with pytest.raises(UnreadRows, match="2 rows of sacct cannot be read; sacct printed 'x'") as raised:
        accounts(f"x\n{LISTED}y\n")

    assert raised.value.rows == 2


def test_a_command_that_failed_has_answered_nothing() -> None:
    failed = Answer(stdout=b"1\n", stderr=b"sacct: error: Problem talking to the database", exit_status=1)

    with pytest.raises(BadOutput, match="Problem talking to the database"):
        rows.accounts(failed, ["7"])


def test_a_cluster_that_keeps_no_accounting_says_so() -> None:
    told = Answer(stdout=b"1\nslurm 22.05.8\n", stderr=b"Slurm accounting storage is disabled\n", exit_status=1)

    kept = rows.accounts(told, ["7"])

    assert not kept.is_kept
    assert kept.look("7") is None


def test_a_job_of_which_only_a_step_is_known_is_not_known() -> None:
    assert accounts("7.batch|COMPLETED|0:0|11|11|12||n1\n").look("7") == ABSENT


def test_what_is_no_id_hides_no_other() -> None:
    question = Slurm().accounting(["7", "seven", "12_3", "8.server", "12_4"])

    assert question.argv == ("7,12_3,12_4", "12")


def accounts(text: str, *job_ids: str, version: str = "slurm-wlm 22.05.8") -> Accounts:
    return rows.accounts(answer(f"1\n{version}\n{text}"), job_ids)


def answer(stdout: str) -> Answer:
    return Answer(stdout=stdout.encode(), stderr=b"", exit_status=0)


def last_of(accounts: Accounts, job_id: str) -> Accounted:
    executions = accounts.look(job_id)
    assert isinstance(executions, tuple)
    return executions[-1]
