"""Weigh the evidence of how an item ended: the scheduler has the word, the exit record the exit code. Pure."""

from datetime import datetime, timedelta

import msgspec

from scripthut_common.events import Evidence, Outcome
from scripthut_common.manifest import ExitRecord
from scripthut_poller.records import Trace
from scripthut_poller.schedulers.job import Accounted

from .standing import Answers, Observation, Standing

_SAME_SUBMISSION = timedelta(seconds=1)
_CLOCKS_DIFFER = timedelta(minutes=10)
_SIGTERM = 15
_WORDS = {
    Outcome.CANCELLED: "was cancelled",
    Outcome.TIMED_OUT: "ran into its time limit",
    Outcome.OUT_OF_MEMORY: "used more memory than it asked for",
    Outcome.NODE_FAILED: "its node failed",
    Outcome.PREEMPTED: "was preempted by a job of higher priority",
    Outcome.DEPENDENCY_FAILED: "a task that it depends on did not succeed",
}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How an item ended, and who says so; `attempt` where that is another than was known."""

    outcome: Outcome
    evidence: Evidence
    attempt: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    word: str | None = None
    reason: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    node: str | None = None


def weigh(standing: Standing, observation: Observation) -> Verdict | None:
    """Weigh the evidence: the scheduler has the word, the exit record the exit code; `None` while nobody speaks."""
    if ran_as_another_job(standing, observation):
        return None
    executions = _executions(standing, observation.accounting)
    attempt = standing.attempt + max(0, len(executions) - 1)
    record = _matching_record(standing, attempt, observation)
    verdict = None if record is None else _by_record(record)
    if executions and executions[-1].outcome is not None:
        verdict = _by_scheduler(standing, executions[-1], executions[-1].outcome, record)
    return None if verdict is None else msgspec.structs.replace(verdict, attempt=attempt)


def ran_as_another_job(standing: Standing, observation: Observation) -> bool:
    """Say whether another job of the same submission began the task before the one that is watched.

    The watched job then ended without running it, and its end says nothing of the task's.
    """
    if not isinstance(observation.trace, Trace):
        return False
    claim, record = observation.trace.claim, observation.trace.record
    began = {record.job_id} if record is not None and record.nonce == standing.nonce else set()
    began |= {claim.job_id} if claim is not None else set()
    return bool(began) and standing.job_id not in began


def _by_scheduler(standing: Standing, row: Accounted, outcome: Outcome, record: ExitRecord | None) -> Verdict:
    if record is None and standing.started_at is None:
        outcome = _cancelled_for_a_dependency(row, outcome)
    exit_code, recorded = row.exit_code, _recorded_exit_code(standing, record)
    if recorded is not None and (outcome is not Outcome.SUCCEEDED or recorded == 0):
        exit_code = recorded
    return Verdict(
        outcome=outcome,
        evidence=Evidence.SCHEDULER,
        exit_code=exit_code,
        signal=row.signal,
        word=row.word,
        reason=_reason(outcome, exit_code, row.signal),
        started_at=row.started_at,
        ended_at=row.ended_at,
        node=row.node,
    )


def _by_record(record: ExitRecord) -> Verdict:
    outcome = Outcome.SUCCEEDED if record.exit_code == 0 else Outcome.FAILED
    signal = _SIGTERM if record.exit_code == 128 + _SIGTERM else None
    return Verdict(
        outcome=outcome,
        evidence=Evidence.EXIT_RECORD,
        exit_code=record.exit_code,
        signal=signal,
        reason=_reason(outcome, record.exit_code, signal),
        started_at=record.started_at,
        ended_at=record.ended_at,
        node=record.host,
    )


def _recorded_exit_code(standing: Standing, record: ExitRecord | None) -> int | None:
    """Return what the task itself said, now or when its record decided: that is not read again for a confirmation."""
    if record is not None:
        return record.exit_code
    return standing.exit_code if standing.evidence is Evidence.EXIT_RECORD else None


def _matching_record(standing: Standing, attempt: int, observation: Observation) -> ExitRecord | None:
    """Return the exit record if it is of this very submission, job and attempt."""
    if not isinstance(observation.trace, Trace) or observation.trace.record is None:
        return None
    record = observation.trace.record
    is_ours = (record.job_id, record.nonce, record.attempt) == (standing.job_id, standing.nonce, attempt)
    return record if is_ours else None


def _executions(standing: Standing, accounting: Answers) -> tuple[Accounted, ...]:
    """Return the executions since the last submission that is known of, oldest first: a requeue submits anew.

    Ids are reused, so older ones may be of another job; and after a requeue that was seen, the scheduler's own time
    tells its row from the one before. Until then the time may be of another machine's clock.
    """
    if not isinstance(accounting, tuple):
        return ()
    if standing.job_submitted_at is None:
        return accounting[-1:]
    earliest = standing.job_submitted_at - (_CLOCKS_DIFFER if standing.attempt == 1 else _SAME_SUBMISSION)
    return tuple(row for row in accounting if row.submitted_at is None or row.submitted_at >= earliest)


def _cancelled_for_a_dependency(row: Accounted, outcome: Outcome) -> Outcome:
    """Slurm cancels the dependents of a failed job itself: `CANCELLED`, never begun, nobody named as by `scancel`."""
    is_by_slurm = row.word == "CANCELLED" and (row.started_at is None or row.started_at == row.ended_at)
    return Outcome.DEPENDENCY_FAILED if outcome is Outcome.CANCELLED and is_by_slurm else outcome


def _reason(outcome: Outcome, exit_code: int | None, signal: int | None) -> str | None:
    if outcome is not Outcome.FAILED:
        return _WORDS.get(outcome)
    if signal is not None:
        return f"ended by signal {signal}"
    return "failed" if exit_code is None else f"ended with exit code {exit_code}"
