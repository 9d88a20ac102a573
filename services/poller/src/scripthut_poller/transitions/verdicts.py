"""Weigh the evidence of how an item ended: the scheduler has the word, the exit record the exit code. Pure."""

from datetime import datetime

import msgspec

from scripthut_common.events import Evidence, Outcome
from scripthut_common.manifest import TERMINATED, ExitRecord
from scripthut_poller.records import Trace
from scripthut_poller.schedulers.job import Accounted

from .identity import OFTEN_REQUEUED, attempt_by, executions
from .standing import Observation, Standing

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
    """How an item ended, and who says so; `attempt` where that is another than was known.

    `may_return`: jobs that end so are often requeued, and what is seen may be the end of one execution only.
    """

    outcome: Outcome
    evidence: Evidence
    may_return: bool = False
    attempt: int | None = None
    submitted_at: datetime | None = None
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
    known = executions(standing, observation.accounting)
    attempt = attempt_by(standing, known)
    if known and known[-1].is_requeued:
        return None
    record = _matching_record(standing, attempt, observation)
    if record is not None and record.attempt > attempt:
        # The requeue was missed. What accounting has may still be of the execution before.
        attempt = record.attempt
        known = known if known and _is_of_record(known[-1], record) else ()
    verdict = None if record is None else _by_record(record)
    if known and known[-1].outcome not in {None, Outcome.UNKNOWN}:
        verdict = _by_scheduler(standing, known[-1], attempt, record)
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


def _by_scheduler(standing: Standing, row: Accounted, attempt: int, record: ExitRecord | None) -> Verdict:
    outcome = row.outcome or Outcome.UNKNOWN
    if record is None and standing.started_at is None and standing.has_dependencies:
        outcome = _cancelled_for_a_dependency(row, outcome)
    exit_code, recorded = row.exit_code, _recorded_exit_code(standing, attempt, record)
    if recorded is not None and (outcome is not Outcome.SUCCEEDED or recorded == 0):
        exit_code = recorded
    return Verdict(
        outcome=outcome,
        evidence=Evidence.SCHEDULER,
        may_return=outcome in OFTEN_REQUEUED,
        submitted_at=row.submitted_at,
        exit_code=exit_code,
        signal=row.signal,
        word=row.word,
        reason=_reason(outcome, exit_code, row.signal, row.possible_codes),
        started_at=row.started_at,
        ended_at=row.ended_at,
        node=row.node,
    )


def _by_record(record: ExitRecord) -> Verdict:
    """Take the task's own word; one that was told to end did not succeed, unless the scheduler says so."""
    is_ended = record.exit_code == 128 + _SIGTERM
    signal = _SIGTERM if is_ended or TERMINATED in record.flags else None
    outcome = Outcome.SUCCEEDED if record.exit_code == 0 and signal is None else Outcome.FAILED
    reason = _reason(outcome, record.exit_code, signal)
    if signal is not None and not is_ended:
        reason = f"was told to end (SIGTERM) and ended with exit code {record.exit_code}"
    return Verdict(
        outcome=outcome,
        evidence=Evidence.EXIT_RECORD,
        # So does a job end that gives way to another, or whose owner requeues it.
        may_return=signal == _SIGTERM,
        exit_code=record.exit_code,
        signal=signal,
        reason=reason,
        started_at=record.started_at,
        ended_at=record.ended_at,
        node=record.host,
    )


def _recorded_exit_code(standing: Standing, attempt: int, record: ExitRecord | None) -> int | None:
    """Return what the task itself said, now or when its record decided: that is not read again for a confirmation."""
    if record is not None:
        return record.exit_code
    has_decided = standing.evidence is Evidence.EXIT_RECORD and standing.attempt == attempt
    return standing.exit_code if has_decided else None


def _matching_record(standing: Standing, attempt: int, observation: Observation) -> ExitRecord | None:
    """Return the exit record if it is of this very submission and job, and of this attempt or a later one."""
    if not isinstance(observation.trace, Trace) or observation.trace.record is None:
        return None
    record = observation.trace.record
    is_ours = (record.job_id, record.nonce) == (standing.job_id, standing.nonce) and record.attempt >= attempt
    return record if is_ours else None


def _is_of_record(row: Accounted, record: ExitRecord) -> bool:
    """Say whether a row is of the execution that left the record, not of one that was over when that began."""
    return row.ended_at is None or row.ended_at >= record.started_at


def _cancelled_for_a_dependency(row: Accounted, outcome: Outcome) -> Outcome:
    """Slurm cancels the dependents of a failed job itself: `CANCELLED`, never begun, nobody named as by `scancel`.

    It writes the same of every job that it has lost, when slurmctld begins anew without its state.
    """
    is_by_slurm = row.word == "CANCELLED" and (row.started_at is None or row.started_at == row.ended_at)
    return Outcome.DEPENDENCY_FAILED if outcome is Outcome.CANCELLED and is_by_slurm else outcome


def _reason(
    outcome: Outcome, exit_code: int | None, signal: int | None, possible_codes: tuple[int, ...] = ()
) -> str | None:
    if outcome is not Outcome.FAILED:
        return _WORDS.get(outcome)
    if signal is not None:
        return f"ended by signal {signal}"
    if exit_code == 0:
        return "failed, though the task itself ended with exit code 0"
    if exit_code is None and possible_codes:
        return f"ended with exit code {' or '.join(map(str, possible_codes))}; the scheduler does not tell them apart"
    return "failed" if exit_code is None else f"ended with exit code {exit_code}"
