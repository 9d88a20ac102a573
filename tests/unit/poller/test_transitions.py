"""Every rule of verdicts that concerns one plain job, by its number in the contract; and what holds for all inputs."""

from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.events import Evidence, ItemState, Outcome, Type
from scripthut_poller.records import Claim, Trace
from scripthut_poller.schedulers.job import ABSENT, Absent, Accounted, JobState, Sighting, Unreachable
from scripthut_poller.transitions import (
    NO_RECORD,
    NO_VERDICT,
    RAN_AS_ANOTHER_JOB,
    Decision,
    Source,
    Standing,
    is_watched,
    wanted,
)
from tests.unit.poller.standings import AWAY, LIVE, NOW, after, ago, clock, record, row, seen, standing


@pytest.mark.parametrize("state", [*LIVE, ItemState.FINAL])
def test_rule_1_a_queue_that_did_not_answer_changes_and_ages_nothing(state: ItemState) -> None:
    before = standing(state)
    assert after(before, AWAY) == Decision(standing=before)
    assert wanted(before, AWAY, clock()) == frozenset()


def test_rule_3_a_young_absent_job_is_asked_only_for_its_record() -> None:
    young = standing(ItemState.SUBMITTED, submitted_at=ago(59))
    assert wanted(young, ABSENT, clock()) == {Source.RECORD}
    assert after(young, accounting=None) == Decision(standing=young)
    assert after(young, trace=record(), accounting=None).standing.outcome is Outcome.SUCCEEDED


def test_rule_4_an_older_absent_job_is_decided_by_a_final_row() -> None:
    old = standing(ItemState.SUBMITTED, submitted_at=ago(61))
    assert wanted(old, ABSENT, clock()) == {Source.RECORD, Source.ACCOUNTING}
    decision = after(old, accounting=row(Outcome.FAILED, exit_code=3))
    assert (decision.standing.outcome, decision.standing.exit_code) == (Outcome.FAILED, 3)
    assert decision.tells is Type.ITEM_COMPLETED


def test_rule_4_no_record_anywhere_is_unknown_only_after_300_good_seconds() -> None:
    waiting = standing(ItemState.SUBMITTED, submitted_at=ago(3000), waited_s=289.0)
    assert after(waiting).standing.state is ItemState.SUBMITTED
    ended = after(msgspec.structs.replace(waiting, waited_s=290.0)).standing
    assert (ended.outcome, ended.confirmed, ended.reason) == (Outcome.UNKNOWN, False, NO_RECORD)


@pytest.mark.parametrize("state", [ItemState.QUEUED, ItemState.RUNNING])
def test_rule_5_a_job_that_leaves_the_queue_settles_and_is_not_final(state: ItemState) -> None:
    decision = after(standing(state))
    assert decision.standing.state is ItemState.SETTLING
    assert decision.standing.waited_s == 0
    assert decision.tells is Type.ITEM_CHANGED


def test_rule_5_a_live_sighting_cancels_settling() -> None:
    decision = after(standing(ItemState.SETTLING, waited_s=500.0), seen(started_at=ago(500)))
    assert decision.standing.state is ItemState.RUNNING
    assert (decision.standing.attempt, decision.standing.waited_s) == (1, 0)


def test_rule_6_a_matching_record_decides_at_once_and_is_not_confirmed() -> None:
    ended = after(standing(ItemState.RUNNING), trace=record(7)).standing
    assert (ended.outcome, ended.exit_code, ended.evidence) == (Outcome.FAILED, 7, Evidence.EXIT_RECORD)
    assert not ended.confirmed
    assert is_watched(ended, clock())


@pytest.mark.parametrize("other", [record(attempt=1), record(attempt=2, job_id="43"), record(attempt=2, nonce="n2")])
def test_rule_6_and_12_a_record_of_an_earlier_attempt_or_of_another_job_or_submission_never_decides(
    other: Trace,
) -> None:
    assert after(standing(ItemState.SETTLING, attempt=2), trace=other).standing.state is ItemState.SETTLING


def test_rule_12_a_record_of_a_later_attempt_tells_of_a_requeue_that_was_missed() -> None:
    ended = after(standing(ItemState.SETTLING), trace=record(6, attempt=2)).standing

    assert (ended.attempt, ended.outcome, ended.exit_code) == (2, Outcome.FAILED, 6)


def test_rule_12_the_scheduler_confirms_the_later_attempt_by_its_own_row_and_not_by_that_of_an_earlier_one() -> None:
    later = record(0, attempt=2, started_at=ago(100), ended_at=ago(20))
    own = row(Outcome.SUCCEEDED, exit_code=0, started_at=ago(100), ended_at=ago(20))
    earlier = row(Outcome.NODE_FAILED, started_at=ago(500), ended_at=ago(300))

    confirmed = after(standing(ItemState.SETTLING), trace=later, accounting=own).standing
    recorded = after(standing(ItemState.SETTLING), trace=later, accounting=earlier).standing

    assert (confirmed.attempt, confirmed.outcome, confirmed.confirmed) == (2, Outcome.SUCCEEDED, True)
    assert (recorded.attempt, recorded.outcome, recorded.confirmed) == (2, Outcome.SUCCEEDED, False)


def test_rule_6_a_row_that_is_not_final_decides_nothing() -> None:
    assert after(standing(ItemState.SETTLING), accounting=row(None)).standing.state is ItemState.SETTLING


def test_rule_6_nothing_for_600_good_seconds_is_unknown() -> None:
    ended = after(standing(ItemState.SETTLING, waited_s=590.0)).standing
    assert (ended.outcome, ended.evidence, ended.reason) == (Outcome.UNKNOWN, Evidence.NONE, NO_VERDICT)


def test_rule_6_accounting_corrects_a_record_with_a_higher_revision_within_ten_minutes() -> None:
    early = after(standing(ItemState.RUNNING), trace=record(0)).standing
    assert wanted(early, ABSENT, clock()) == {Source.ACCOUNTING}
    corrected = after(early, trace=None, accounting=row(Outcome.OUT_OF_MEMORY, signal=9))
    assert corrected.standing.outcome is Outcome.OUT_OF_MEMORY
    assert (corrected.standing.revision, corrected.tells) == (early.revision + 1, Type.ITEM_COMPLETED)


def test_rule_6_the_time_for_corrections_does_not_run_while_accounting_is_down() -> None:
    decided = after(standing(ItemState.RUNNING), trace=record(0)).standing
    later = NOW + timedelta(hours=1)

    down = after(decided, trace=None, accounting=AWAY, now=later).standing

    assert down == decided
    assert wanted(down, ABSENT, clock(later)) == {Source.ACCOUNTING}
    assert after(down, trace=None, accounting=row(Outcome.OUT_OF_MEMORY), now=later).standing.revision == 1


@pytest.mark.parametrize("silent", [ABSENT, None, row(None)])
def test_rule_6_the_time_for_corrections_is_over_after_ten_minutes_of_answers(
    silent: tuple[Accounted, ...] | Absent | None,
) -> None:
    decided = after(standing(ItemState.RUNNING), trace=record(0)).standing
    for number in range(1, 61):
        now = NOW + timedelta(seconds=10 * number)
        assert wanted(decided, ABSENT, clock(now)) == {Source.ACCOUNTING}
        decided = after(decided, trace=None, accounting=silent, now=now).standing

    assert wanted(decided, ABSENT, clock(NOW + timedelta(seconds=610))) == frozenset()
    assert decided.outcome is Outcome.SUCCEEDED
    assert is_watched(decided, clock(NOW + timedelta(seconds=610)))


def test_rule_6_accounting_that_agrees_confirms_without_a_second_verdict() -> None:
    early = after(standing(ItemState.RUNNING), trace=record(0)).standing
    agreed = after(early, trace=None, accounting=row(Outcome.SUCCEEDED, exit_code=0))
    assert (agreed.standing.confirmed, agreed.standing.revision) == (True, early.revision)
    assert agreed.tells is Type.ITEM_CHANGED
    assert not is_watched(agreed.standing, clock())


@pytest.mark.parametrize("outcome", [Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY, Outcome.CANCELLED, Outcome.NODE_FAILED])
def test_rule_7_the_scheduler_has_the_word_and_the_record_the_exit_code(outcome: Outcome) -> None:
    ended = after(standing(ItemState.SETTLING), trace=record(143), accounting=row(outcome, exit_code=0)).standing
    assert (ended.outcome, ended.exit_code, ended.confirmed) == (outcome, 143, True)


def test_rule_7_a_record_that_decided_keeps_its_exit_code_when_accounting_confirms_it_folded() -> None:
    decided = after(standing(ItemState.RUNNING), trace=record(exit_code=137)).standing

    confirmed = after(decided, trace=None, accounting=row(Outcome.FAILED, exit_code=9))

    assert (confirmed.standing.exit_code, confirmed.standing.confirmed) == (137, True)
    assert (confirmed.standing.revision, confirmed.tells) == (0, Type.ITEM_CHANGED)


def test_rule_7_a_record_of_sigterm_alone_is_failed_with_signal_15() -> None:
    ended = after(standing(ItemState.SETTLING), trace=record(143)).standing
    assert (ended.outcome, ended.signal, ended.exit_code) == (Outcome.FAILED, 15, 143)


def test_rule_7_a_success_is_never_told_with_a_failing_exit_code() -> None:
    ended = after(
        standing(ItemState.SETTLING), trace=record(1), accounting=row(Outcome.SUCCEEDED, exit_code=0)
    ).standing
    assert (ended.outcome, ended.exit_code) == (Outcome.SUCCEEDED, 0)


@pytest.mark.parametrize(("idle_s", "grown_s"), [(5, 5), (20, 20), (3600, 20)])
def test_rule_8_waiting_grows_by_two_intervals_at_most(idle_s: int, grown_s: int) -> None:
    before = standing(ItemState.SETTLING, observed_at=ago(idle_s), waited_s=100.0)
    assert after(before).standing.waited_s == 100 + grown_s


@pytest.mark.parametrize(("trace", "accounting"), [(AWAY, ABSENT), (Trace(), AWAY)])
def test_rule_8_waiting_does_not_grow_while_a_source_does_not_answer(
    trace: Trace | Unreachable, accounting: Absent | Unreachable
) -> None:
    before = standing(ItemState.SETTLING, waited_s=599.0)
    assert after(before, trace=trace, accounting=accounting) == Decision(standing=before)


def test_rule_8_waiting_ends_hard_after_a_day() -> None:
    before = standing(ItemState.SETTLING, entered_at=ago(86_400))
    assert after(before, accounting=AWAY).standing.outcome is Outcome.UNKNOWN


def test_rule_9_an_old_final_row_does_not_end_a_requeued_job() -> None:
    requeued = standing(ItemState.QUEUED, job_submitted_at=ago(30), attempt=2)
    old = row(Outcome.NODE_FAILED, submitted_at=ago(1000))
    assert after(requeued, accounting=old).standing.state is ItemState.SETTLING


@pytest.mark.parametrize("hours", [-5, 0, 5])
@pytest.mark.parametrize("whose", ["handed_in_at", "submitted_at"])
def test_rule_8_one_clock_may_be_hours_off_until_the_scheduler_has_told_its_own(whose: str, hours: int) -> None:
    told = {"handed_in_at": ago(1000), "submitted_at": ago(1000), whose: ago(1000 + 3600 * hours)}
    submitted = standing(ItemState.SUBMITTED, job_submitted_at=None, **told)
    ours, older = row(Outcome.SUCCEEDED), row(Outcome.FAILED, submitted_at=ago(90_000), ended_at=ago(89_000))

    ended = after(submitted, accounting=older + ours, now=ago(0) + timedelta(hours=5)).standing
    without = after(submitted, accounting=older, now=ago(0) + timedelta(hours=5)).standing

    assert (ended.outcome, ended.attempt) == (Outcome.SUCCEEDED, 1)
    assert without.outcome is None


def test_rule_12_a_younger_job_of_the_same_id_decides_nothing_though_ours_was_never_seen() -> None:
    submitted = standing(ItemState.SUBMITTED, job_submitted_at=None, handed_in_at=ago(1000))
    younger = row(Outcome.SUCCEEDED, submitted_at=ago(100))

    assert after(submitted, accounting=younger).standing.outcome is None


@pytest.mark.parametrize("exit_code", [0, 3])
def test_rule_5_a_task_that_was_told_to_end_has_not_succeeded_unless_the_scheduler_says_so(exit_code: int) -> None:
    told = record(exit_code, flags=frozenset({"terminated"}))
    left = after(standing(ItemState.RUNNING), trace=told, accounting=AWAY).standing
    ended = after(left, trace=told, accounting=AWAY, now=NOW + timedelta(seconds=20)).standing
    row_ = row(Outcome.SUCCEEDED, exit_code=0)
    corrected = after(ended, trace=None, accounting=row_, now=NOW + timedelta(seconds=30)).standing

    assert left.state is ItemState.SETTLING
    assert (ended.outcome, ended.exit_code, ended.signal) == (Outcome.FAILED, exit_code, 15)
    assert ended.reason == f"was told to end (SIGTERM) and ended with exit code {exit_code}"
    assert (corrected.outcome, corrected.signal, corrected.revision) == (Outcome.SUCCEEDED, None, 1)


def test_rule_12_a_row_of_an_earlier_job_of_the_same_id_decides_nothing() -> None:
    other = row(Outcome.FAILED, submitted_at=ago(5000))
    assert after(standing(ItemState.RUNNING), accounting=other).standing.state is ItemState.SETTLING


def test_rule_12_a_requeue_that_no_round_saw_is_counted_by_its_rows() -> None:
    rows = row(None, word="REQUEUED", is_requeued=True, ended_at=ago(300)) + row(
        Outcome.FAILED, submitted_at=ago(300), exit_code=9
    )

    ended = after(standing(ItemState.RUNNING), trace=record(137, attempt=2), accounting=rows).standing

    assert (ended.attempt, ended.outcome, ended.exit_code) == (2, Outcome.FAILED, 137)


@pytest.mark.parametrize("trace", [Trace(claim=Claim(job_id="41", attempt=1)), record(job_id="41")])
def test_the_end_of_a_job_that_found_the_task_claimed_says_nothing_of_the_task(trace: Trace) -> None:
    settling = standing(ItemState.SETTLING, waited_s=590.0)

    assert after(settling, trace=trace, accounting=row(Outcome.FAILED)).standing.reason == RAN_AS_ANOTHER_JOB
    assert after(settling, trace=trace, accounting=row(Outcome.FAILED)).standing.outcome is Outcome.UNKNOWN


def test_rule_11_a_state_that_nobody_documents_is_surfaced_and_bounded() -> None:
    odd = seen(JobState.ODD, word="LEVITATING")
    first = after(standing(ItemState.RUNNING), odd)
    assert first.tells is Type.ITEM_CHANGED
    assert "LEVITATING" in (first.standing.reason or "")
    assert after(first.standing, odd, now=NOW + timedelta(seconds=10)).tells is None
    late = msgspec.structs.replace(first.standing, waited_s=86_400.0)
    assert after(late, odd).standing.outcome is Outcome.UNKNOWN


def test_rule_12_queued_again_after_running_is_the_next_attempt() -> None:
    decision = after(standing(ItemState.RUNNING, node="n1"), seen(JobState.QUEUED, reason="BeginTime"))
    assert (decision.standing.attempt, decision.standing.state) == (2, ItemState.QUEUED)
    assert (decision.standing.started_at, decision.standing.node) == (None, None)
    assert decision.tells is Type.ITEM_CHANGED


def test_rule_12_a_higher_restart_count_is_the_next_attempt_even_if_it_runs_again_already() -> None:
    decision = after(standing(ItemState.RUNNING), seen(restarts=2, started_at=ago(5)))
    assert (decision.standing.attempt, decision.tells) == (3, Type.ITEM_STARTED)


def test_rule_12_without_a_restart_count_a_later_start_tells() -> None:
    assert after(standing(ItemState.RUNNING), seen(started_at=ago(5))).standing.attempt == 2
    assert after(standing(ItemState.RUNNING), seen(started_at=ago(500))).standing.attempt == 1


def test_rule_13_a_live_sighting_reopens_an_unconfirmed_end() -> None:
    ended = after(standing(ItemState.SETTLING, waited_s=600.0)).standing
    reopened = after(ended, seen(started_at=ago(500)))
    assert (reopened.standing.state, reopened.standing.outcome) == (ItemState.RUNNING, None)
    assert (reopened.standing.revision, reopened.tells) == (ended.revision + 1, Type.ITEM_STARTED)


def test_rule_13_a_record_that_comes_late_decides_what_was_unknown() -> None:
    ended = after(standing(ItemState.SETTLING, waited_s=600.0)).standing
    late = after(ended, trace=record(0))
    assert (late.standing.outcome, late.standing.revision) == (Outcome.SUCCEEDED, ended.revision + 1)


def test_rule_13_an_unknown_end_is_asked_about_once_a_minute_for_a_day() -> None:
    ended = after(standing(ItemState.SETTLING, waited_s=600.0)).standing
    rounds = [NOW + timedelta(seconds=10 * number) for number in range(1, 61)]
    asked = [now for now in rounds if wanted(_last_seen(ended, now, 10), ABSENT, clock(now))]
    assert len(asked) == 10
    assert is_watched(ended, clock(NOW + timedelta(seconds=86_399)))
    assert not is_watched(ended, clock(NOW + timedelta(seconds=86_401)))


def _last_seen(before: Standing, now: datetime, seconds: int) -> Standing:
    return msgspec.structs.replace(before, observed_at=now - timedelta(seconds=seconds))


def test_rule_13_an_unknown_end_is_asked_about_once_a_minute_also_when_rounds_are_rare() -> None:
    ended = after(standing(ItemState.SETTLING, waited_s=600.0)).standing
    rounds = [NOW + timedelta(seconds=15 + 30 * number) for number in range(20)]

    asked = [now for now in rounds if wanted(_last_seen(ended, now, 30), ABSENT, clock(now))]

    assert len(asked) == 10


def test_a_first_start_is_told_with_node_and_time() -> None:
    decision = after(standing(ItemState.QUEUED, reason="Priority"), seen(started_at=ago(3), node="n7"))
    assert decision.tells is Type.ITEM_STARTED
    assert (decision.standing.node, decision.standing.started_at, decision.standing.reason) == ("n7", ago(3), None)


def test_a_changed_queue_reason_is_told_and_an_unchanged_one_is_not() -> None:
    waiting = after(standing(ItemState.SUBMITTED), seen(JobState.QUEUED, reason="Priority"))
    assert waiting.tells is Type.ITEM_CHANGED
    assert after(waiting.standing, seen(JobState.QUEUED, reason="Priority")).tells is None
    assert after(waiting.standing, seen(JobState.QUEUED, reason="Resources")).tells is Type.ITEM_CHANGED


def test_a_job_that_slurm_cancelled_for_its_parent_is_dependency_failed() -> None:
    waiting = standing(ItemState.QUEUED, reason="Dependency", has_dependencies=True)
    killed = row(Outcome.CANCELLED, word="CANCELLED", started_at=ago(5), ended_at=ago(5))
    assert after(waiting, accounting=killed).standing.outcome is Outcome.DEPENDENCY_FAILED
    settling = after(waiting).standing
    assert after(settling, accounting=killed).standing.outcome is Outcome.DEPENDENCY_FAILED
    by_hand = row(Outcome.CANCELLED, word="CANCELLED by 1002", ended_at=ago(5))
    assert after(waiting, accounting=by_hand).standing.outcome is Outcome.CANCELLED


@pytest.mark.parametrize("began_at", [None, ago(5)])
def test_a_job_that_slurm_has_lost_while_it_waited_did_not_fail_for_another(began_at: datetime | None) -> None:
    """A slurmctld that begins without its state has all that it knew before written down as cancelled, by nobody."""
    waiting = standing(ItemState.QUEUED, reason="Priority")
    lost = row(Outcome.CANCELLED, word="CANCELLED", started_at=began_at, ended_at=ago(5))

    ended = after(waiting, accounting=lost).standing

    assert (ended.outcome, ended.reason) == (Outcome.CANCELLED, "was cancelled")


_seconds = st.integers(0, 200_000).map(float)
_standings = st.builds(
    standing,
    st.sampled_from(list(LIVE)),
    submitted_at=_seconds.map(ago),
    entered_at=_seconds.map(ago),
    observed_at=st.none() | _seconds.map(ago),
    waited_s=_seconds,
    attempt=st.integers(1, 3),
)
_records = st.builds(record, st.integers(0, 255), attempt=st.integers(1, 3), nonce=st.sampled_from(["n1", "n2"]))
_rows = st.builds(row, st.none() | st.sampled_from(list(Outcome)), submitted_at=st.none() | _seconds.map(ago))
_sightings: st.SearchStrategy[Sighting] = (
    st.just(ABSENT)
    | st.just(AWAY)
    | st.builds(seen, st.sampled_from(list(JobState)), restarts=st.none() | st.integers(0, 3))
)


@given(_standings, _sightings, _records | st.just(Trace()), _rows | st.just(ABSENT))
def test_a_success_always_rests_on_a_record_or_a_row(
    before: Standing, sighting: Sighting, trace: Trace, accounting: tuple[Accounted, ...] | Absent
) -> None:
    decision = after(before, sighting, trace, accounting)
    if decision.standing.outcome is Outcome.SUCCEEDED:
        says_record = trace.record is not None and trace.record.exit_code == 0
        says_row = isinstance(accounting, tuple) and accounting[-1].outcome is Outcome.SUCCEEDED
        assert isinstance(sighting, Absent)
        assert says_record or says_row
    assert decision.standing.confirmed <= (decision.standing.evidence is Evidence.SCHEDULER)


@given(_standings, _sightings, _records | st.just(Trace()), _rows | st.just(ABSENT))
def test_attempt_and_revision_never_fall_and_final_is_always_told(
    before: Standing, sighting: Sighting, trace: Trace, accounting: tuple[Accounted, ...] | Absent
) -> None:
    decision = after(before, sighting, trace, accounting)
    assert (decision.standing.attempt, decision.standing.revision) >= (before.attempt, before.revision)
    assert (decision.standing.state is ItemState.FINAL) == (decision.tells is Type.ITEM_COMPLETED)
    assert (decision.standing.state is ItemState.FINAL) == (decision.standing.outcome is not None)


def test_rule_9_an_exit_code_that_may_be_one_of_two_is_said_so_and_not_claimed() -> None:
    ended = after(standing(ItemState.SETTLING), accounting=row(Outcome.FAILED, possible_codes=(9, 137))).standing

    assert ended.exit_code is None
    assert ended.reason == "ended with exit code 9 or 137; the scheduler does not tell them apart"


def test_rule_9_the_record_tells_which_of_two_exit_codes_it_was() -> None:
    folded = row(Outcome.FAILED, possible_codes=(9, 137))
    ended = after(standing(ItemState.RUNNING), trace=record(137), accounting=folded).standing

    assert (ended.exit_code, ended.reason) == (137, "ended with exit code 137")
