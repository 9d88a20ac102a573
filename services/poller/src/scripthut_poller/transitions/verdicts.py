"""Weigh the evidence of how an item ended: the scheduler has the word, the exit record the exit code. Pure."""

from datetime import datetime, timedelta

import msgspec

from scripthut_common.events import Evidence, Outcome
from scripthut_common.manifest import ExitRecord
from scripthut_poller.records import Trace
from scripthut_poller.schedulers.job import Accounted

from .standing import Answers, Observation, Standing

_SAME_SUBMISSION = timedelta(seconds=1)
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
    """How an item ended, and who says so."""

    outcome: Outcome
    evidence: Evidence
    exit_code: int | None = None
    signal: int | None = None
    word: str | None = None
    reason: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    node: str | None = None


def weigh(standing: Standing, observation: Observation) -> Verdict | None:
    """Weigh the evidence: the scheduler has the word, the exit record the exit code; `None` while nobody speaks."""
    record = _matching_record(standing, observation)
    row = _last_execution(standing, observation.accounting)
    if row is not None and row.outcome is not None:
        return _by_scheduler(standing, row, row.outcome, record)
    return None if record is None else _by_record(record)


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


def _matching_record(standing: Standing, observation: Observation) -> ExitRecord | None:
    """Return the exit record if it is of this very submission, job and attempt."""
    if not isinstance(observation.trace, Trace) or observation.trace.record is None:
        return None
    record = observation.trace.record
    is_ours = (record.job_id, record.nonce, record.attempt) == (standing.job_id, standing.nonce, standing.attempt)
    return record if is_ours else None


def _last_execution(standing: Standing, accounting: Answers) -> Accounted | None:
    """Return the newest execution, unless it is of an earlier submission: ids are reused, requeues submit anew."""
    if not isinstance(accounting, tuple) or not accounting:
        return None
    row = accounting[-1]
    if row.submitted_at is None or standing.job_submitted_at is None:
        return row
    return row if row.submitted_at >= standing.job_submitted_at - _SAME_SUBMISSION else None


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
