"""One job may run several times, and several jobs may bear one id: whose end is it that was observed?"""

from datetime import datetime, timedelta

import pytest

from scripthut_common.events import Evidence, ItemState, Outcome, Type
from scripthut_poller.records import Trace
from scripthut_poller.schedulers.job import ABSENT, JobState
from scripthut_poller.transitions import (
    NO_START,
    NO_VERDICT,
    Clock,
    Observation,
    Source,
    decide,
    wanted,
)
from tests.unit.poller.standings import AWAY, NOW, after, ago, clock, record, row, seen, standing


@pytest.mark.parametrize("outcome", [Outcome.NODE_FAILED, Outcome.PREEMPTED])
@pytest.mark.parametrize("state", [ItemState.RUNNING, ItemState.SUBMITTED])
def test_rule_9_the_end_of_an_execution_is_not_the_jobs_while_it_may_be_requeued(
    outcome: Outcome, state: ItemState
) -> None:
    first_run = row(outcome, ended_at=ago(1))

    absent = after(standing(state), trace=record(143), accounting=first_run).standing
    back = after(absent, seen(JobState.QUEUED, restarts=1, submitted_at=ago(1)), now=NOW + timedelta(seconds=10))

    assert (absent.state, absent.attempt) == (ItemState.SETTLING, 1)
    assert (back.standing.state, back.standing.attempt, back.standing.revision) == (ItemState.QUEUED, 2, 0)


@pytest.mark.parametrize("outcome", [Outcome.NODE_FAILED, Outcome.PREEMPTED])
def test_rule_9_a_job_that_stays_away_after_its_node_failed_has_ended_so(outcome: Outcome) -> None:
    left = after(standing(ItemState.RUNNING), accounting=row(outcome)).standing
    early = after(left, accounting=row(outcome), now=NOW + timedelta(seconds=10)).standing
    ended = after(early, accounting=row(outcome), now=NOW + timedelta(seconds=20)).standing

    assert early.state is ItemState.SETTLING
    assert (ended.outcome, ended.confirmed) == (outcome, True)


def test_rule_9_a_record_of_sigterm_alone_may_be_of_a_job_that_is_requeued() -> None:
    left = after(standing(ItemState.RUNNING), trace=record(143), accounting=AWAY).standing
    ended = after(left, trace=record(143), accounting=AWAY, now=NOW + timedelta(seconds=20)).standing

    assert left.state is ItemState.SETTLING
    assert (ended.outcome, ended.signal, ended.evidence) == (Outcome.FAILED, 15, Evidence.EXIT_RECORD)


@pytest.mark.parametrize("exit_code", [0, 143])
def test_rule_9_a_row_that_tells_of_a_requeue_keeps_the_record_of_that_execution_from_deciding(exit_code: int) -> None:
    first_run = row(None, word="REQUEUED", is_requeued=True, ended_at=ago(1))
    settling = standing(ItemState.SETTLING)

    assert after(settling, trace=record(exit_code), accounting=first_run).standing.state is ItemState.SETTLING


def test_rule_10_an_end_of_which_the_scheduler_knows_nothing_leaves_it_to_the_record() -> None:
    lost = row(Outcome.UNKNOWN)

    assert after(standing(ItemState.SETTLING), accounting=lost).standing.state is ItemState.SETTLING
    ended = after(standing(ItemState.SETTLING), trace=record(3), accounting=lost).standing
    assert (ended.outcome, ended.exit_code, ended.evidence) == (Outcome.FAILED, 3, Evidence.EXIT_RECORD)


@pytest.mark.parametrize("restarts", [0, None])
@pytest.mark.parametrize("state", [ItemState.QUEUED, ItemState.RUNNING, ItemState.SETTLING])
@pytest.mark.parametrize("submitted_at", [ago(998), ago(10)])
def test_rule_12_another_job_of_the_same_id_is_not_ours(
    submitted_at: datetime, state: ItemState, restarts: int | None
) -> None:
    other = seen(submitted_at=submitted_at, restarts=restarts)

    assert wanted(standing(state), other, clock()) == {Source.RECORD, Source.ACCOUNTING}
    assert after(standing(state), other).standing.state is ItemState.SETTLING
    ended = after(standing(state), other, accounting=row(Outcome.FAILED, exit_code=2)).standing
    assert (ended.outcome, ended.attempt) == (Outcome.FAILED, 1)


def test_rule_12_another_job_of_the_same_id_does_not_reopen_an_unknown() -> None:
    ended = after(standing(ItemState.SETTLING, waited_s=600.0)).standing

    assert after(ended, seen(submitted_at=ago(1), restarts=0), trace=None, accounting=None).standing == ended


def test_rule_12_a_requeue_submits_anew_and_is_counted() -> None:
    again = after(standing(ItemState.RUNNING), seen(JobState.QUEUED, submitted_at=ago(5), restarts=1)).standing

    assert (again.attempt, again.state, again.job_submitted_at) == (2, ItemState.QUEUED, ago(5))


def test_rule_12_the_rows_of_a_later_job_of_the_same_id_do_not_speak_of_ours() -> None:
    ended = row(Outcome.SUCCEEDED, exit_code=0, submitted_at=ago(100_000), ended_at=ago(90_000))
    other = row(Outcome.FAILED, exit_code=1, submitted_at=ago(1000), ended_at=ago(900))
    before = standing(ItemState.SETTLING, job_submitted_at=ago(100_000))

    decided = after(before, accounting=ended + other).standing
    purged = after(before, accounting=other).standing

    assert (decided.outcome, decided.attempt) == (Outcome.SUCCEEDED, 1)
    assert purged.state is ItemState.SETTLING


@pytest.mark.parametrize("lost", [Outcome.CANCELLED, Outcome.FAILED, None])
def test_rule_12_the_job_that_gets_our_id_a_moment_after_ours_was_lost_is_not_its_next_execution(
    lost: Outcome | None,
) -> None:
    mine, theirs = row(lost, ended_at=ago(500)), row(Outcome.SUCCEEDED, exit_code=0, submitted_at=ago(500))

    both = after(standing(ItemState.SETTLING), accounting=mine + theirs).standing
    purged = after(standing(ItemState.SETTLING), accounting=theirs).standing

    assert (both.outcome, both.attempt) == (lost, 1)
    assert purged.outcome is None


@pytest.mark.parametrize("clearing_s", [0, 120])
def test_rule_12_an_execution_may_follow_once_the_one_before_is_cleared_away(clearing_s: int) -> None:
    first = row(None, word="REQUEUED", is_requeued=True, ended_at=ago(500))
    second = row(Outcome.SUCCEEDED, exit_code=0, submitted_at=ago(500 - clearing_s))

    ended = after(standing(ItemState.SETTLING), accounting=first + second).standing

    assert (ended.outcome, ended.attempt) == (Outcome.SUCCEEDED, 2)


def test_an_unknown_end_of_a_job_that_never_started_says_that_no_record_was_kept() -> None:
    waiting = standing(ItemState.SETTLING, started_at=None, waited_s=600.0)

    assert after(waiting).standing.reason == NO_START
    assert after(waiting, accounting=None).standing.reason == NO_VERDICT


def test_rule_8_an_outage_does_not_count_towards_the_hard_end() -> None:
    before = standing(ItemState.SETTLING, entered_at=ago(200_000))
    ticking = Clock(now=NOW, interval_s=10.0, answering_since=ago(600))

    decision = decide(before, Observation(queue=ABSENT, trace=Trace(), accounting=AWAY), ticking)

    assert decision.standing.state is ItemState.SETTLING


def test_rule_7_the_exit_code_of_an_earlier_execution_is_not_the_last_ones() -> None:
    decided = after(standing(ItemState.RUNNING), trace=record(7)).standing
    rows = row(None, is_requeued=True, ended_at=ago(300)) + row(Outcome.FAILED, exit_code=2, submitted_at=ago(300))

    corrected = after(decided, trace=None, accounting=rows)

    assert (corrected.standing.attempt, corrected.standing.exit_code) == (2, 2)
    assert (corrected.standing.revision, corrected.tells) == (1, Type.ITEM_COMPLETED)


def test_rule_7_a_failure_after_the_task_itself_succeeded_says_so() -> None:
    ended = after(standing(ItemState.SETTLING), trace=record(0), accounting=row(Outcome.FAILED)).standing

    assert (ended.outcome, ended.exit_code) == (Outcome.FAILED, 0)
    assert ended.reason == "failed, though the task itself ended with exit code 0"


def test_rule_11_an_odd_sighting_is_of_a_job_that_is_there() -> None:
    odd = seen(JobState.ODD, word="LEVITATING")

    settled = after(standing(ItemState.SETTLING, waited_s=599.0), odd).standing
    early = after(standing(ItemState.SUBMITTED, started_at=None), odd).standing

    assert (settled.state, early.state) == (ItemState.RUNNING, ItemState.QUEUED)
    assert after(settled, now=NOW + timedelta(seconds=10)).standing.state is ItemState.SETTLING


def test_a_start_that_the_scheduler_gives_no_time_for_is_told_once() -> None:
    running = after(standing(ItemState.QUEUED), seen())
    again = after(running.standing, seen(), now=NOW + timedelta(seconds=10))
    dated = after(again.standing, seen(started_at=ago(3)), now=NOW + timedelta(seconds=20))

    assert (running.tells, again.tells, dated.tells) == (Type.ITEM_STARTED, None, Type.ITEM_CHANGED)


def test_a_reopened_job_is_not_taken_for_a_later_run_because_a_nodes_clock_differs() -> None:
    decided = after(standing(ItemState.RUNNING), trace=record(0, started_at=ago(700))).standing

    reopened = after(decided, seen(started_at=ago(500))).standing

    assert (reopened.attempt, reopened.revision, reopened.started_at) == (1, 1, ago(500))
