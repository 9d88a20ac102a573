"""Decide what one round's observation means for an item. Pure.

The rules are numbered in the contract and in `tests/unit/poller/test_transitions.py`.
"""

from datetime import datetime

import msgspec

from scripthut_common.clusters import Patience
from scripthut_common.events import Evidence, ItemState, Outcome, Type
from scripthut_poller.records import Trace
from scripthut_poller.schedulers.job import Absent, Job, JobState, Seen, Sighting, Unreachable

from .identity import attempt_of, executions, ours
from .standing import Clock, Decision, Observation, Source, Standing
from .verdicts import Verdict, ran_as_another_job, weigh

NO_RECORD = "the scheduler has no record of this job"
NO_VERDICT = "the job left the queue, and neither the scheduler nor the task said how it ended"
NO_START = (
    "the job left the queue before it was seen to start, and the scheduler kept no record of it, "
    "as of an array's element that is cancelled while it waits"
)
RAN_AS_ANOTHER_JOB = "another job of the same submission ran this task, and the scheduler was not asked how that ended"
_VERDICT = ("attempt", "outcome", "exit_code", "signal")
_TOLD = ("state", "reason", "started_at", "node")
ODD_FOR_TOO_LONG = "the scheduler has shown a state that we do not know for a day"


def wanted(standing: Standing, sighting: Sighting, clock: Clock) -> frozenset[Source]:
    """Say what else must be asked before `decide` can judge, once the queue has answered."""
    if not isinstance(ours(standing, sighting), Absent):
        return frozenset()
    both = frozenset({Source.RECORD, Source.ACCOUNTING})
    match standing.state:
        case ItemState.SUBMITTED if _is_young(standing, clock):
            return frozenset({Source.RECORD})
        case ItemState.FINAL if standing.evidence is Evidence.EXIT_RECORD:
            return frozenset({Source.ACCOUNTING}) if _is_correctable(standing, clock) else frozenset()
        case ItemState.FINAL:
            return both if _is_time_to_ask_again(standing, clock) else frozenset()
        case _:
            return both


def decide(standing: Standing, observation: Observation, clock: Clock) -> Decision:
    """Say what this round's observation means for the item; unchanged where it means nothing."""
    match ours(standing, observation.queue):
        case Unreachable():
            return Decision(standing=standing)
        case Seen(job=job) if job.state is JobState.ODD:
            return _odd(standing, job, clock)
        case Seen(job=job):
            return _alive(standing, job, clock)
        case _ if standing.state is ItemState.FINAL:
            return _reconsidered(standing, observation, clock)
        case _:
            return _absent(standing, observation, clock)


def is_watched(standing: Standing, clock: Clock) -> bool:
    """Say whether rounds still have to look at it: alive, or ended without the scheduler's own word."""
    if standing.state is not ItemState.FINAL:
        return True
    return not standing.confirmed and _age_s(standing.entered_at, clock) < clock.patience.hard_end_s


def _alive(standing: Standing, job: Job, clock: Clock) -> Decision:
    """Take a live sighting: it cancels settling, reopens what was final, and may be another attempt."""
    state = ItemState.RUNNING if job.state is JobState.RUNNING else ItemState.QUEUED
    attempt = attempt_of(standing, job)
    is_new = attempt > standing.attempt or standing.state is ItemState.FINAL
    before = _forgotten(standing, attempt) if is_new else standing
    after = msgspec.structs.replace(
        before,
        state=state,
        entered_at=standing.entered_at if state is standing.state and not is_new else clock.now,
        waited_s=0.0,
        observed_at=clock.now,
        job_submitted_at=job.submitted_at or before.job_submitted_at,
        started_at=(job.started_at or before.started_at) if state is ItemState.RUNNING else before.started_at,
        node=job.node if state is ItemState.RUNNING else before.node,
        reason=job.reason if state is ItemState.QUEUED else None,
        scheduler_word=job.word,
    )
    return Decision(standing=after, tells=_told(standing, after, is_new=is_new))


def _told(before: Standing, after: Standing, *, is_new: bool) -> Type | None:
    has_begun = after.state is ItemState.RUNNING and before.state is not ItemState.RUNNING
    if after.state is ItemState.RUNNING and (is_new or (has_begun and before.started_at is None)):
        return Type.ITEM_STARTED
    is_changed = is_new or any(getattr(after, name) != getattr(before, name) for name in _TOLD)
    return Type.ITEM_CHANGED if is_changed else None


def _forgotten(standing: Standing, attempt: int) -> Standing:
    """Drop what was true of an earlier attempt or of a verdict that is taken back."""
    is_next = attempt > standing.attempt
    return msgspec.structs.replace(
        standing,
        attempt=attempt,
        revision=standing.revision + (standing.state is ItemState.FINAL),
        job_submitted_at=None if is_next else standing.job_submitted_at,
        started_at=None if is_next else standing.started_at,
        ended_at=None,
        node=None,
        outcome=None,
        confirmed=False,
        evidence=Evidence.NONE,
        exit_code=None,
        signal=None,
    )


def _odd(standing: Standing, job: Job, clock: Clock) -> Decision:
    """Surface a state that we do not know, of a job that is there; after a day of nothing else it ends as unknown."""
    if standing.state is ItemState.FINAL:
        return Decision(standing=standing)
    reason = f"the scheduler says {job.word!r}, which we do not know"
    before = standing
    if standing.state not in {ItemState.QUEUED, ItemState.RUNNING}:
        state = ItemState.QUEUED if standing.started_at is None else ItemState.RUNNING
        before = msgspec.structs.replace(standing, state=state, entered_at=clock.now, waited_s=0.0)
    aged = msgspec.structs.replace(_waited(before, clock), reason=reason, scheduler_word=job.word)
    if aged.waited_s >= clock.patience.hard_end_s:
        return _unknown(aged, ODD_FOR_TOO_LONG, clock)
    is_told = (aged.state, reason) == (standing.state, standing.reason)
    return Decision(standing=aged, tells=None if is_told else Type.ITEM_CHANGED)


def _absent(standing: Standing, observation: Observation, clock: Clock) -> Decision:
    """Judge a job that a complete queue answer does not hold."""
    verdict = weigh(standing, observation)
    if verdict is not None and _is_believed(verdict, standing, clock):
        return _ended(standing, verdict, clock)
    if standing.state in {ItemState.QUEUED, ItemState.RUNNING} or (verdict and standing.state is ItemState.SUBMITTED):
        left = msgspec.structs.replace(
            standing, state=ItemState.SETTLING, entered_at=clock.now, waited_s=0.0, observed_at=clock.now, reason=None
        )
        return Decision(standing=left, tells=Type.ITEM_CHANGED)
    if verdict is not None or (standing.state is ItemState.SUBMITTED and _is_young(standing, clock)):
        return Decision(standing=standing)
    return _waiting(standing, observation, clock)


def _waiting(standing: Standing, observation: Observation, clock: Clock) -> Decision:
    """Go on waiting for evidence, but not for ever."""
    aged = _waited(standing, clock) if _all_answered(observation) else standing
    limit_s, reason = _limit(aged, observation, clock.patience)
    # A job may have been adopted days after its submission.
    since = max(standing.entered_at, clock.answering_since or standing.entered_at)
    if aged.waited_s >= limit_s or _age_s(since, clock) >= clock.patience.hard_end_s:
        return _unknown(aged, reason, clock)
    return Decision(standing=aged)


def _is_believed(verdict: Verdict, standing: Standing, clock: Clock) -> bool:
    """Say whether a job is over: one that may have been requeued must have stayed away for a while."""
    is_away = standing.state in {ItemState.SETTLING, ItemState.FINAL}
    has_stayed = is_away and _age_s(standing.entered_at, clock) >= clock.patience.returning_s
    return has_stayed or not verdict.may_return


def _reconsidered(standing: Standing, observation: Observation, clock: Clock) -> Decision:
    """Look again at a verdict that the scheduler has not confirmed: it agrees, corrects, or says nothing still."""
    verdict = weigh(standing, observation)
    if verdict is None or verdict.evidence is standing.evidence or not _is_believed(verdict, standing, clock):
        is_ageing = _is_correctable(standing, clock) and _all_answered(observation)
        return Decision(standing=_waited(standing, clock) if is_ageing else standing)
    after = _ended(standing, verdict, clock).standing
    after = msgspec.structs.replace(after, entered_at=standing.entered_at)
    if all(getattr(after, name) == getattr(standing, name) for name in _VERDICT):
        return Decision(standing=after, tells=Type.ITEM_CHANGED)
    corrected = msgspec.structs.replace(after, revision=standing.revision + 1)
    return Decision(standing=corrected, tells=Type.ITEM_COMPLETED)


def _is_correctable(standing: Standing, clock: Clock) -> bool:
    """Say whether accounting may still correct an exit record: while it does not answer, the time does not run."""
    return standing.evidence is Evidence.EXIT_RECORD and standing.waited_s < clock.patience.correcting_s


def _ended(standing: Standing, verdict: Verdict, clock: Clock) -> Decision:
    after = msgspec.structs.replace(
        standing,
        state=ItemState.FINAL,
        attempt=verdict.attempt or standing.attempt,
        entered_at=clock.now,
        waited_s=0.0,
        observed_at=clock.now,
        outcome=verdict.outcome,
        confirmed=verdict.evidence is Evidence.SCHEDULER,
        evidence=verdict.evidence,
        exit_code=verdict.exit_code,
        signal=verdict.signal,
        reason=verdict.reason,
        scheduler_word=verdict.word or standing.scheduler_word,
        job_submitted_at=_submission(standing, verdict),
        started_at=_start(standing, verdict),
        ended_at=verdict.ended_at or standing.ended_at,
        node=verdict.node or standing.node,
    )
    return Decision(standing=after, tells=Type.ITEM_COMPLETED)


def _submission(standing: Standing, verdict: Verdict) -> datetime | None:
    """Keep what is known for the same execution: a record of a later one does not tell when that was submitted."""
    is_same = verdict.attempt in {None, standing.attempt}
    return verdict.submitted_at or (standing.job_submitted_at if is_same else None)


def _start(standing: Standing, verdict: Verdict) -> datetime | None:
    """Prefer the scheduler's clock to a node's, by which a record tells: it is compared with later sightings."""
    if verdict.evidence is Evidence.SCHEDULER or verdict.attempt != standing.attempt:
        return verdict.started_at or standing.started_at
    return standing.started_at or verdict.started_at


def _unknown(standing: Standing, reason: str, clock: Clock) -> Decision:
    verdict = Verdict(outcome=Outcome.UNKNOWN, evidence=Evidence.NONE, reason=reason)
    return _ended(standing, verdict, clock)


def _limit(standing: Standing, observation: Observation, patience: Patience) -> tuple[float, str]:
    """Say how much good-round time may pass without a verdict, and what is said when it has."""
    if ran_as_another_job(standing, observation):
        return patience.settling_s, RAN_AS_ANOTHER_JOB
    is_recorded = bool(executions(standing, observation.accounting))
    if standing.state is ItemState.SUBMITTED and not is_recorded:
        return patience.unregistered_s, NO_RECORD
    has_vanished = standing.started_at is None and isinstance(observation.accounting, Absent)
    return patience.settling_s, NO_START if has_vanished and observation.trace == Trace() else NO_VERDICT


def _all_answered(observation: Observation) -> bool:
    return not isinstance(observation.trace, Unreachable) and not isinstance(observation.accounting, Unreachable)


def _waited(standing: Standing, clock: Clock) -> Standing:
    """Add the time since the last good round, at most two intervals: outages do not age anything."""
    since_s = _age_s(standing.observed_at or standing.entered_at, clock)
    grown_s = standing.waited_s + max(0.0, min(since_s, 2 * clock.interval_s))
    return msgspec.structs.replace(standing, waited_s=grown_s, observed_at=clock.now)


def _is_young(standing: Standing, clock: Clock) -> bool:
    return _age_s(standing.submitted_at, clock) < clock.patience.young_s


def _is_time_to_ask_again(standing: Standing, clock: Clock) -> bool:
    """Ask about an item that ended as unknown about once a minute, however far apart the rounds are."""
    age_s, every_s = _age_s(standing.entered_at, clock), clock.patience.asking_again_s
    since_s = max(clock.interval_s, _age_s(standing.observed_at or standing.entered_at, clock))
    return age_s // every_s != (age_s - since_s) // every_s


def _age_s(since: datetime, clock: Clock) -> float:
    return (clock.now - since).total_seconds()
