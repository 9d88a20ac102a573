"""How often Slurm ran a job, from what squeue and sacct print to the attempt that is told: never one too many."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_common.events import ItemState, Outcome
from scripthut_common.shell import Answer
from scripthut_poller.records import Trace
from scripthut_poller.schedulers.job import ABSENT, Accounted, JobState, Queue, Sighting
from scripthut_poller.schedulers.slurm import queued
from scripthut_poller.transitions import Clock, Observation, Standing, decide
from tests.unit.poller import recorded
from tests.unit.poller.standings import AWAY, after, record, row, seen, standing

DEAF = "22.05.8/08-requeue-deaf"
SUBMITTED_AT = datetime(2026, 11, 26, 7, 52, 59, tzinfo=UTC)
SECOND = timedelta(seconds=1)
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_job_that_takes_long_to_end_before_it_is_requeued_is_not_counted_once_more_in_every_round() -> None:
    """Slurm counts the restart at once, and tells the present time for the start until the node is cleared."""
    item = standing(ItemState.SUBMITTED, job_submitted_at=SUBMITTED_AT)
    moments = ["1-running", "2-completing", "3-still-completing", "4-requeued"]

    told = [item := after(item, recorded.queue(f"{DEAF}/{moment}").look("1")).standing for moment in moments]

    assert [one.attempt for one in told] == [1, 1, 1, 2]
    assert [one.started_at for one in told] == [SUBMITTED_AT] * 3 + [None]
    assert [one.job_submitted_at for one in told] == [SUBMITTED_AT] * 3 + [SUBMITTED_AT + 7 * SECOND]


@pytest.mark.parametrize("lasted_s", [0, 1, 2])
def test_a_requeue_a_second_after_the_submission_is_counted_once(lasted_s: int) -> None:
    """No two executions of a job are submitted in the same second: Slurm adds one then."""
    requeued_at = SUBMITTED_AT + max(1, lasted_s) * SECOND
    first = row(None, is_requeued=True, submitted_at=SUBMITTED_AT, ended_at=SUBMITTED_AT + lasted_s * SECOND)
    second = row(Outcome.FAILED, submitted_at=requeued_at, ended_at=requeued_at + 9 * SECOND)
    running = standing(ItemState.RUNNING, job_submitted_at=SUBMITTED_AT)

    waiting = after(running, seen(JobState.QUEUED, submitted_at=requeued_at, restarts=1)).standing
    ended = after(waiting, accounting=first + second).standing
    unseen = after(running, accounting=first + second).standing

    assert (waiting.attempt, ended.attempt, ended.outcome) == (2, 2, Outcome.FAILED)
    assert (unseen.attempt, unseen.outcome) == (2, Outcome.FAILED)


def test_the_rows_of_a_requeue_within_a_second_as_slurm_24_11_recorded_them_are_counted_once() -> None:
    rows = recorded.accounts("24.11.5/08-requeue/3-cancelled", "15").rows["15"]
    first, second = (one.submitted_at for one in rows)
    waiting = standing(ItemState.QUEUED, job_id="15", job_submitted_at=second, attempt=2)

    ended = after(waiting, accounting=rows).standing

    assert first is not None
    assert second == first + SECOND
    assert (ended.attempt, ended.outcome) == (2, Outcome.CANCELLED)


def test_an_element_that_waits_again_in_its_arrays_list_is_counted_once() -> None:
    """A list does not tell when one of its elements was submitted anew."""
    running = standing(ItemState.RUNNING, job_submitted_at=SUBMITTED_AT)
    first = row(None, is_requeued=True, submitted_at=SUBMITTED_AT, ended_at=SUBMITTED_AT + 5 * SECOND)
    second = row(Outcome.FAILED, submitted_at=SUBMITTED_AT + 6 * SECOND)

    waiting = after(running, seen(JobState.QUEUED)).standing
    ended = after(waiting, accounting=first + second).standing

    assert (waiting.attempt, ended.attempt, ended.outcome) == (2, 2, Outcome.FAILED)


def test_a_requeue_that_the_record_told_first_is_counted_once() -> None:
    running = standing(ItemState.RUNNING, job_submitted_at=SUBMITTED_AT)
    first = row(None, is_requeued=True, submitted_at=SUBMITTED_AT, ended_at=SUBMITTED_AT + 5 * SECOND)
    second = row(Outcome.FAILED, submitted_at=SUBMITTED_AT + 6 * SECOND, exit_code=3)

    by_record = after(running, trace=record(3, attempt=2), accounting=AWAY).standing
    confirmed = after(by_record, trace=None, accounting=first + second).standing

    assert (by_record.attempt, by_record.confirmed) == (2, False)
    assert (confirmed.attempt, confirmed.confirmed, confirmed.revision) == (2, True, 0)


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """How long an execution waits, runs and is cleared away, in seconds."""

    waits: int
    runs: int
    clears: int


class History:
    """What Slurm 22.05 tells of a job that is requeued at the end of every execution but the last, which fails.

    Args:
        is_listed: it is an element of an array, and waits in the row of the others.
    """

    def __init__(self, executions: Sequence[Execution], *, is_listed: bool) -> None:
        self._executions = executions
        self._is_listed = is_listed
        self.submissions = list(self._submissions())

    @property
    def job_id(self) -> str:
        return "42_7" if self._is_listed else "42"

    def _submissions(self) -> Iterator[int]:
        at = 0
        for one in self._executions:
            yield at
            at += max(1, one.waits + one.runs + one.clears)

    @property
    def over_at(self) -> int:
        last = self._executions[-1]
        return self.submissions[-1] + last.waits + last.runs + last.clears

    def count(self, at: int) -> int:
        """Count the executions that have been submitted."""
        return sum(1 for submitted_at in self.submissions if submitted_at <= at)

    def look(self, at: int) -> Sighting:
        """Give what squeue prints, as it is read."""
        if at >= self.over_at:
            return ABSENT
        number = self.count(at) - 1
        one, submitted_at = self._executions[number], self.submissions[number]
        began_at = submitted_at + one.waits
        if at < began_at:
            return self._row("PENDING", number, submitted_at, began_at)
        if at < began_at + one.runs:
            return self._row("RUNNING", number, submitted_at, began_at)
        if one is self._executions[-1]:
            return self._row("COMPLETING", number, submitted_at, began_at)
        return self._row("COMPLETING", number + 1, submitted_at, at)

    def _row(self, word: str, restarts: int, submitted_at: int, started_at: int) -> Sighting:
        is_in_list = self._is_listed and word == "PENDING"
        id_ = "42_[3,7-9]" if is_in_list else self.job_id
        epoch = int(BEGAN.timestamp())
        line = f"{id_}|{word}|{restarts}|{epoch + submitted_at}|{epoch + started_at}|n1|None|\n"
        answer = Answer(stdout=f"{epoch}\n{line}".encode(), stderr=b"", exit_status=0)
        queue: Queue = queued.queue(answer)
        return queue.look(self.job_id)

    def rows(self) -> tuple[Accounted, ...]:
        """Give what accounting has in the end."""
        return tuple(map(self._accounted, range(len(self._executions))))

    def _accounted(self, number: int) -> Accounted:
        one, submitted_at = self._executions[number], self.submissions[number]
        is_last = number == len(self._executions) - 1
        return Accounted(
            id=self.job_id,
            outcome=Outcome.FAILED if is_last else None,
            word="FAILED" if is_last else "REQUEUED",
            is_requeued=not is_last,
            submitted_at=BEGAN + submitted_at * SECOND,
            started_at=BEGAN + (submitted_at + one.waits) * SECOND,
            ended_at=BEGAN + (submitted_at + one.waits + one.runs) * SECOND,
        )


_durations = st.integers(0, 4) | st.integers(0, 90)
_executions = st.lists(
    st.builds(Execution, waits=_durations, runs=_durations, clears=_durations), min_size=1, max_size=4
)
_histories = st.builds(History, _executions, is_listed=st.booleans())


@settings(deadline=None)
@given(_histories, st.integers(1, 40), st.sampled_from([BEGAN, None]))
def test_whatever_rounds_see_of_a_job_its_executions_are_counted_exactly(
    history: History, every_s: int, told_at: datetime | None
) -> None:
    item = Standing(
        state=ItemState.SUBMITTED,
        job_id=history.job_id,
        nonce="n1",
        submitted_at=BEGAN,
        entered_at=BEGAN,
        handed_in_at=BEGAN,
        job_submitted_at=told_at,
    )

    for at in range(0, history.over_at, every_s):
        item = _round(item, at, history.look(at), None)
        assert item.attempt <= history.count(at)
    for at in (history.over_at, history.over_at + 1):
        item = _round(item, at, ABSENT, history.rows())

    assert (item.attempt, item.outcome) == (len(history.submissions), Outcome.FAILED)


def _round(item: Standing, at: int, queue: Sighting, accounting: tuple[Accounted, ...] | None) -> Standing:
    ticking = Clock(now=BEGAN + at * SECOND, interval_s=1.0)
    return decide(item, Observation(queue=queue, trace=Trace(), accounting=accounting), ticking).standing
