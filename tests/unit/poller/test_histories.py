"""Verdicts over random histories: what a job, its cluster and our connection may do in any order, outages included."""

from datetime import timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_common.clusters import Patience
from scripthut_common.events import Evidence, ItemState, Outcome, Type
from scripthut_poller.records import Claim, Trace
from scripthut_poller.schedulers.job import (
    ABSENT,
    Absent,
    Accounted,
    Job,
    JobState,
    Seen,
    Sighting,
    Unreachable,
)
from scripthut_poller.transitions import Decision, Observation, Source, Standing, decide, is_watched, wanted
from scripthut_poller.transitions.deciding import ODD_FOR_TOO_LONG
from tests.unit.poller.standings import AWAY, NOW, ago, clock, record, row, standing

INTERVAL_S = 10.0
HOUR_S = 3600.0
PATIENCE = Patience()


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One round: how long after the one before, and what the cluster would answer to whatever is asked."""

    after_s: float
    queue: Sighting
    trace: Trace | Unreachable
    accounting: tuple[Accounted, ...] | Absent | Unreachable | None


class Watcher:
    """Watches one item round by round as the service does, and holds every step to the rules."""

    def __init__(self, first: Standing) -> None:
        self.standing = first
        self.now = NOW
        self.silent_s = 0.0
        self.sequence = 0
        self.last_good_at = first.entered_at
        self.orders: list[tuple[int, int, int]] = []
        self.completed: list[int] = []

    def take(self, step: Step) -> None:
        self.now += timedelta(seconds=step.after_s)
        before = self._looked_at()
        ticking = clock(self.now)
        if not is_watched(before, ticking):
            return
        wants = wanted(before, step.queue, ticking)
        seen = Observation(
            queue=step.queue,
            trace=step.trace if Source.RECORD in wants else None,
            accounting=step.accounting if Source.ACCOUNTING in wants else None,
        )
        decision = decide(before, seen, ticking)
        has_answered = not any(isinstance(one, Unreachable) for one in (seen.queue, seen.trace, seen.accounting))
        if has_answered:
            self.silent_s += min((self.now - self.last_good_at).total_seconds(), 2 * INTERVAL_S)
            self.last_good_at = self.now
        self._hold(before, seen, decision)
        self.standing = decision.standing
        if self.standing.state in {ItemState.QUEUED, ItemState.RUNNING}:
            self.silent_s = 0.0

    def _looked_at(self) -> Standing:
        if self.last_good_at < self.standing.entered_at:
            return self.standing
        observed_at = max(self.last_good_at, self.standing.observed_at or self.last_good_at)
        return msgspec.structs.replace(self.standing, observed_at=observed_at)

    def _hold(self, before: Standing, seen: Observation, decision: Decision) -> None:
        after = decision.standing
        if isinstance(seen.queue, Unreachable):
            assert decision == Decision(standing=before)
        assert after.attempt >= before.attempt
        assert after.revision >= before.revision
        assert (after.state is ItemState.FINAL) == (after.outcome is not None)
        assert after.confirmed == (after.evidence is Evidence.SCHEDULER)
        if after.outcome is Outcome.UNKNOWN:
            assert after.evidence is Evidence.NONE
        elif after.outcome is not None:
            assert after.evidence is not Evidence.NONE
        if after.outcome is not before.outcome:
            assert decision.tells is not None
            self._hold_evidence(seen, after)
        if after.outcome is Outcome.UNKNOWN and before.outcome is None:
            self._hold_unknown(before, after)
        if before.outcome not in {None, Outcome.UNKNOWN}:
            assert after.outcome is not Outcome.UNKNOWN
        if decision.tells is not None:
            self.sequence += 1
            self.orders.append((after.attempt, after.revision, self.sequence))
            assert self.orders == sorted(set(self.orders))
        if decision.tells is Type.ITEM_COMPLETED:
            assert after.revision not in self.completed
            self.completed.append(after.revision)

    @staticmethod
    def _hold_evidence(seen: Observation, after: Standing) -> None:
        """A verdict is one that somebody gave in this very round."""
        if after.evidence is Evidence.SCHEDULER:
            assert isinstance(seen.accounting, tuple)
            told = {one.outcome for one in seen.accounting}
            is_for_another = after.outcome is Outcome.DEPENDENCY_FAILED and Outcome.CANCELLED in told
            assert after.outcome in told or is_for_another
        elif after.evidence is Evidence.EXIT_RECORD:
            assert isinstance(seen.trace, Trace)
            assert seen.trace.record is not None
            left = seen.trace.record
            assert (left.job_id, left.nonce) == (after.job_id, after.nonce)
            assert after.outcome is (Outcome.SUCCEEDED if left.exit_code == 0 else Outcome.FAILED)

    def _hold_unknown(self, before: Standing, after: Standing) -> None:
        """Nobody is given up before its time."""
        if after.reason == ODD_FOR_TOO_LONG:
            assert after.waited_s == 0
            return
        since = before.submitted_at if before.state is ItemState.SUBMITTED else before.entered_at
        limit_s = PATIENCE.unregistered_s if before.state is ItemState.SUBMITTED else PATIENCE.settling_s
        is_hard = (self.now - since).total_seconds() >= PATIENCE.hard_end_s
        assert is_hard or self.silent_s >= limit_s


_ages = st.sampled_from([1000.0, 995.0, 300.0, 20.0, 5.0, -50.0, -5000.0])
_moments = _ages.map(ago)
_outcomes = st.sampled_from(list(Outcome))
_jobs = st.builds(
    Job,
    id=st.just("42"),
    state=st.sampled_from(list(JobState)),
    word=st.sampled_from(["PENDING", "RUNNING", "LEVITATING"]),
    reason=st.sampled_from([None, "Priority"]),
    submitted_at=st.none() | _moments,
    started_at=st.none() | _moments,
    node=st.sampled_from([None, "n1"]),
    restarts=st.none() | st.integers(0, 3),
)
_rows = st.builds(
    Accounted,
    id=st.just("42"),
    outcome=st.none() | _outcomes,
    word=st.sampled_from(["RUNNING", "REQUEUED", "CANCELLED", "FAILED"]),
    is_requeued=st.booleans(),
    exit_code=st.none() | st.integers(0, 255),
    signal=st.none() | st.sampled_from([9, 15]),
    submitted_at=st.none() | _moments,
    started_at=st.none() | _moments,
    ended_at=st.none() | _moments,
)
_traces = (
    st.just(Trace())
    | st.builds(
        record,
        st.sampled_from([0, 1, 137, 143]),
        attempt=st.integers(1, 3),
        job_id=st.sampled_from(["42", "43"]),
        nonce=st.sampled_from(["n1", "n2"]),
    )
    | st.builds(Trace, claim=st.builds(Claim, job_id=st.sampled_from(["42", "43"]), attempt=st.just(1)))
)
_steps = st.builds(
    Step,
    after_s=st.sampled_from([1.0, 10.0, 10.0, 10.0, 30.0, 300.0, HOUR_S]),
    queue=st.just(ABSENT) | st.just(ABSENT) | st.just(AWAY) | st.builds(Seen, job=_jobs),
    trace=_traces | st.just(AWAY),
    accounting=st.just(ABSENT) | st.none() | st.just(AWAY) | st.lists(_rows, min_size=1, max_size=3).map(tuple),
)
_silence = Step(after_s=INTERVAL_S, queue=ABSENT, trace=Trace(), accounting=ABSENT)
# Silence is what ages an item: histories hold stretches of it.
_stretches = st.lists(_steps, max_size=4) | st.integers(1, 70).map(lambda rounds: [_silence] * rounds)
_histories = st.lists(_stretches, max_size=8).map(lambda stretches: [step for some in stretches for step in some])
_firsts = st.sampled_from([0.0, 1000.0]).map(
    lambda age_s: standing(ItemState.SUBMITTED, submitted_at=ago(age_s), entered_at=ago(age_s), observed_at=None)
)


def _watched(first: Standing, history: list[Step]) -> Watcher:
    watcher = Watcher(first)
    for step in history:
        watcher.take(step)
    return watcher


@settings(deadline=None)
@given(_firsts, _histories)
def test_every_item_ends_once_everybody_is_silent(first: Standing, history: list[Step]) -> None:
    watcher = _watched(first, history)

    for _ in range(75):
        watcher.take(_silence)

    assert watcher.standing.state is ItemState.FINAL


@settings(deadline=None)
@given(_firsts, _histories)
def test_an_item_stays_visibly_alive_while_its_job_is_seen(first: Standing, history: list[Step]) -> None:
    watcher = _watched(first, history)
    if not is_watched(watcher.standing, clock(watcher.now + timedelta(minutes=2))):
        return

    living = Job(
        id="42",
        state=JobState.RUNNING,
        word="RUNNING",
        submitted_at=watcher.standing.job_submitted_at,
        started_at=watcher.now,
    )
    for _ in range(3):
        watcher.take(Step(after_s=INTERVAL_S, queue=Seen(job=living), trace=Trace(), accounting=ABSENT))

    assert watcher.standing.state is ItemState.RUNNING


@settings(deadline=None)
@given(_firsts, _histories, st.sampled_from([Outcome.SUCCEEDED, Outcome.NODE_FAILED, Outcome.CANCELLED]))
def test_a_late_truth_always_wins_over_an_unknown(first: Standing, history: list[Step], truth: Outcome) -> None:
    watcher = _watched(first, history)
    for _ in range(75):
        watcher.take(_silence)
    is_watched_on = is_watched(watcher.standing, clock(watcher.now + timedelta(minutes=2)))
    if watcher.standing.outcome is not Outcome.UNKNOWN or not is_watched_on:
        return
    revision = watcher.standing.revision
    told = row(truth, submitted_at=watcher.standing.job_submitted_at, started_at=NOW, ended_at=watcher.now)

    for _ in range(7):
        watcher.take(Step(after_s=INTERVAL_S, queue=ABSENT, trace=Trace(), accounting=told))

    assert (watcher.standing.outcome, watcher.standing.confirmed) == (truth, True)
    assert watcher.standing.revision == revision + 1
