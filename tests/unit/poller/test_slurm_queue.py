"""What squeue's rows mean: recordings of real ones, arrays and parts of jobs, and whatever else may be printed."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.errors import BadOutput, InvalidInput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import ABSENT, JobState, Queue, Seen
from scripthut_poller.schedulers.reading import UnreadRows
from scripthut_poller.schedulers.slurm import Slurm, queued
from scripthut_poller.schedulers.slurm.indexes import Indexes
from tests.unit.poller import recorded

IN_QUEUE = [
    ("22.05.8/01-completed/2-running", "3", JobState.RUNNING, None, 0),
    ("22.05.8/05-cancel-completing/2-completing", "23", JobState.RUNNING, None, 0),
    ("22.05.8/06-dependency-never/2-never", "27", JobState.QUEUED, "DependencyNeverSatisfied", 0),
    ("22.05.8/07-held/1-held-user", "31", JobState.QUEUED, "JobHeldUser", 0),
    ("22.05.8/08-requeue/2-requeued", "42", JobState.QUEUED, None, 1),
    ("22.05.8/08-requeue-deaf/1-running", "1", JobState.RUNNING, None, 0),
    ("22.05.8/08-requeue-deaf/2-completing", "1", JobState.RUNNING, None, None),
    ("22.05.8/08-requeue-deaf/4-requeued", "1", JobState.QUEUED, "BeginTime", 1),
    ("22.05.8/08-specialexit/2-special", "44", JobState.QUEUED, "job requeued in held state", 1),
    ("22.05.8/11-array/2-partly", "65_0", JobState.RUNNING, None, 0),
    ("22.05.8/11-array/2-partly", "65_7", JobState.QUEUED, "JobArrayTaskLimit", None),
    ("22.05.8/12-het/2-running", "74", JobState.RUNNING, None, 0),
    ("22.05.8/18-suspended/2-suspended", "45", JobState.RUNNING, None, 0),
    ("24.11.5/08-requeue/2-requeued", "15", JobState.RUNNING, None, None),
    ("24.11.5/11-array/2-partly", "16_1", JobState.RUNNING, None, 0),
    ("24.11.5/11-array/2-partly", "16_9", JobState.QUEUED, "JobArrayTaskLimit", None),
    ("24.11.5/12-het/2-running", "23", JobState.RUNNING, None, 0),
]


@pytest.mark.parametrize(("recording", "job_id", "state", "reason", "restarts"), IN_QUEUE)
def test_a_recorded_queue_shows_how_the_job_stands(
    recording: str, job_id: str, state: JobState, reason: str | None, restarts: int | None
) -> None:
    job = recorded.queue(recording).jobs[job_id]

    assert (job.id, job.state, job.reason, job.restarts) == (job_id, state, reason, restarts)
    assert (job.started_at is not None) == (state is JobState.RUNNING and restarts is not None)


# The list in this one is cut: squeue was not told to print it whole.
WHOLE = [name for name in recorded.every("squeue-O") if "11-array-sparse" not in name]


@pytest.mark.parametrize("recording", WHOLE)
def test_jobs_that_are_over_are_absent_though_squeue_still_shows_them(recording: str) -> None:
    queue = recorded.queue(recording)

    assert all(job.word not in {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"} for job in queue.jobs.values())


def test_every_element_of_an_array_is_a_job() -> None:
    queue = recorded.queue("22.05.8/11-array/2-after-cancel")

    assert sorted(queue.jobs) == [f"65_{index}" for index in range(7)]
    assert len(queue.jobs) == 7
    assert queue.look("65_7") == ABSENT


def test_a_heterogeneous_job_is_one_job() -> None:
    assert list(recorded.queue("22.05.8/12-het/2-running").jobs) == ["74"]


ROW = "{id}|{state}|{restarts}|10|{started}|n1|{reason}|\n"


def row(job_id: str, state: str = "PENDING", reason: str = "None", restarts: int = 0, started: str = "N/A") -> str:
    return ROW.format(id=job_id, state=state, reason=reason, restarts=restarts, started=started)


def _at(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def read(*rows: str, stderr: bytes = b"") -> Queue:
    return queued.queue(Answer(stdout="".join(("1\n", *rows)).encode(), stderr=stderr, exit_status=0))


@pytest.mark.parametrize(
    ("states", "seen"),
    [
        (("COMPLETED", "RUNNING"), JobState.RUNNING),
        (("PENDING", "RUNNING"), JobState.RUNNING),
        (("COMPLETED", "PENDING"), JobState.QUEUED),
        (("LEVITATING", "PENDING"), JobState.QUEUED),
        (("COMPLETED", "LEVITATING"), JobState.ODD),
        (("COMPLETED", "FAILED"), None),
    ],
)
def test_a_heterogeneous_job_is_alive_while_any_part_is(states: tuple[str, ...], seen: JobState | None) -> None:
    queue = read(*(row(f"74+{part}", state) for part, state in enumerate(states)))

    sighting = queue.look("74")

    assert (sighting.job.state if isinstance(sighting, Seen) else None) is seen


def test_a_heterogeneous_job_runs_where_its_first_part_does_in_whatever_order_they_come() -> None:
    second, first = row("74+1", "RUNNING"), row("74+0", "RUNNING").replace("|n1|", "|n2|")

    assert read(second, first).jobs["74"].node == "n2"


def test_elements_are_found_in_the_list_that_they_wait_in() -> None:
    queue = read(
        row("12_[3-9,15,20-30:5%2]", reason="JobHeldUser"),
        row("12_[40,41]", reason="Dependency"),
        row("12_2", "RUNNING", restarts=1, started="11"),
        row("120_5", "RUNNING"),
    )

    alive = [index for index in range(50) if queue.look(f"12_{index}") != ABSENT]

    assert alive == [2, 3, 4, 5, 6, 7, 8, 9, 15, 20, 25, 30, 40, 41]
    assert queue.jobs["12_15"].reason == "JobHeldUser"
    assert queue.jobs["12_41"].reason == "Dependency"
    assert (queue.jobs["12_2"].restarts, queue.jobs["12_2"].state) == (1, JobState.RUNNING)
    assert len(queue.jobs) == len(alive) + 1


def test_a_list_tells_nothing_of_one_elements_restarts_and_submission() -> None:
    """Slurm 22.05 puts an element that was requeued into the row of those that never ran."""
    job = read(row("28_[1,3-9]", restarts=1, reason="JobArrayTaskLimit,JobHeldAdmin")).jobs["28_1"]

    assert (job.restarts, job.submitted_at, job.reason) == (None, None, "JobArrayTaskLimit,JobHeldAdmin")


def test_a_job_that_completes_and_may_begin_again_tells_nothing_of_one_execution() -> None:
    """Its count is the next one's and its start the present time, or both are those of its last execution."""
    again = read(row("7", "COMPLETING", restarts=1, started="11")).jobs["7"]
    first = read(row("7", "COMPLETING", started="11")).jobs["7"]

    assert (again.state, again.node) == (JobState.RUNNING, "n1")
    assert (again.restarts, again.submitted_at, again.started_at) == (None, None, None)
    assert (first.restarts, first.submitted_at, first.started_at) == (0, _at(10), _at(11))


def test_a_whole_array_is_alive_while_anything_of_it_is_and_never_another_attempt() -> None:
    waiting = read(row("12_[3-9]", reason="JobHeldUser"))
    running = read(row("12_[4-9]"), row("12_3", "RUNNING", restarts=3, started="11"), row("13", "RUNNING"))

    assert (waiting.jobs["12"].state, waiting.jobs["12"].reason) == (JobState.QUEUED, "JobHeldUser")
    job = running.jobs["12"]
    assert (job.state, job.restarts, job.started_at, job.node) == (JobState.RUNNING, 0, None, None)
    assert read(row("13")).look("12") == ABSENT


def test_the_last_element_of_an_array_is_not_taken_for_the_array() -> None:
    """Its raw id is that of the array."""
    assert "12" not in list(read(row("12_6", "RUNNING")).jobs)


def test_a_state_that_nobody_knows_is_odd() -> None:
    for word in ("LEVITATING", "?"):
        job = read(row("7", word)).jobs["7"]

        assert (job.state, job.word) == (JobState.ODD, word)


@given(st.sets(st.integers(0, 300), min_size=1), st.integers(0, 1))
def test_whatever_the_list_its_elements_are_found_and_no_others(indexes: set[int], limit: int) -> None:
    pieces, left = [], sorted(indexes)
    while left:
        first = last = left.pop(0)
        while left and left[0] == last + 1:
            last = left.pop(0)
        pieces.append(f"{first}-{last}" if last > first else str(first))

    read_back = Indexes(",".join(pieces) + "%7" * limit)

    assert {index for index in range(310) if index in read_back} == set(read_back) == indexes


def test_ranges_that_overlap_are_searched_too() -> None:
    assert [index for index in range(12) if index in Indexes("0-10:5,1-3,2")] == [0, 1, 2, 3, 5, 10]


BROKEN = [
    "",
    "no clock\n",
    "1",
    "1\n7|RUNNING|0|1|2|n1|None",
    "1\n7|RUNNING|0|1|2|n1|None|",
    "1\n7|RUNNING|0|1|2|n1\n",
    "1\nseven|RUNNING|0|1|2|n1|None|\n",
    "1\n7|RUNNING|many|1|2|n1|None|\n",
    "1\n7|RUNNING|0|yesterday|2|n1|None|\n",
    "1\n7|RUNNING|0|999999999999|2|n1|None|\n",
    "1\n7|RUNNING|0|1|2|n1|None|\n\n",
    "1\n\n7|RUNNING|0|1|2|n1|None|\n",
    "1\nsqueue: error: Invalid job format specification\n",
    "1\nCLUSTER: other\n7|RUNNING|0|1|2|n1|None|\n",
    "1\n7|RUNNING||1|2|n1|None|\n",
    "1\n7||0|1|2|n1|None|\n",
    "1\n12_[1,2,...%3]|PENDING|0|1|2|n1|None|\n",
    "1\n12_[5-3]|PENDING|0|1|2|n1|None|\n",
    "1\n12_[,]|PENDING|0|1|2|n1|None|\n",
]


@pytest.mark.parametrize("text", BROKEN)
def test_rule_1_one_row_that_cannot_be_read_spoils_the_answer(text: str) -> None:
    with pytest.raises(BadOutput):
        queued.queue(Answer(stdout=text.encode(), stderr=b"", exit_status=0))


def test_rows_that_cannot_be_read_are_counted() -> None:
    with pytest.raises(UnreadRows, match="2 rows of squeue cannot be read, the first is 'Welcome!'") as raised:
        read(row("7"), "Welcome!\n", row("8"), "9|RUN")

    assert raised.value.rows == 2


@pytest.mark.parametrize(
    "stderr", [b"squeue: error: Invalid user: bob\n", b"squeue: error: Invalid job format specification: Reason\n"]
)
def test_what_squeue_left_out_proves_no_absence(stderr: bytes) -> None:
    """It goes on and ends with exit status 0."""
    with pytest.raises(BadOutput, match="left something out"):
        read(row("7"), stderr=stderr)


def test_other_complaints_of_squeue_are_no_fault() -> None:
    queue = read(row("7"), stderr=b"squeue: error: Parsing error at unrecognized key: NewThing\n")

    assert queue.look("7") != ABSENT


def test_a_command_that_failed_has_answered_nothing() -> None:
    failed = Answer(stdout=b"1\n", stderr=b"slurm_load_jobs error: Unable to contact slurm controller", exit_status=1)

    with pytest.raises(BadOutput, match="Unable to contact slurm controller"):
        queued.queue(failed)


def test_the_clock_is_the_clusters() -> None:
    assert read().at == datetime.fromtimestamp(1, UTC)


@pytest.mark.parametrize("user", ["", "-u", "a,b", "$(id)", "a b", "1000", "a" * 33])
def test_what_is_no_name_of_an_account_reaches_no_command_line(user: str) -> None:
    with pytest.raises(InvalidInput, match="not the name of an account"):
        Slurm().queue(["1"], ["alice", user])
