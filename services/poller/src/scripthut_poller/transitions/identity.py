"""Tell our job from another that bears its id, and one of its executions from the next. Pure.

A job is (cluster, id, time of submission): ids begin anew when a scheduler loses its counter. A requeue keeps the id.
Slurm then submits anew, at the moment at which the execution before it ended, and counts restarts; PBS keeps the time.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from scripthut_common.events import ItemState
from scripthut_poller.schedulers.job import ABSENT, Accounted, Job, JobState, Seen, Sighting

from .standing import Answers, Standing

_SAME_MOMENT = timedelta(seconds=1)
_CLOCKS_DIFFER = timedelta(minutes=10)


def ours(standing: Standing, sighting: Sighting) -> Sighting:
    """Call our job absent where the queue holds another of the same id: submitted much later, and not by a requeue.

    It cannot be told where that other job was itself requeued as often as ours, nor while ours was never seen: until
    then only the login node's clock is known, and not the scheduler's.
    """
    return ABSENT if isinstance(sighting, Seen) and _is_another(standing, sighting.job) else sighting


def _is_another(standing: Standing, job: Job) -> bool:
    if standing.state is ItemState.SUBMITTED or standing.job_submitted_at is None or job.submitted_at is None:
        return False
    is_requeued = job.restarts is not None and job.restarts >= max(1, standing.attempt - 1)
    return not is_requeued and job.submitted_at - standing.job_submitted_at > _CLOCKS_DIFFER


def attempt_of(standing: Standing, job: Job) -> int:
    """Count executions: by the scheduler's restarts, else by what a requeue leaves: queued again, or begun later."""
    if job.restarts is not None:
        return max(standing.attempt, job.restarts + 1)
    if standing.started_at is None:
        return standing.attempt
    is_later = job.started_at is not None and job.started_at - standing.started_at > _SAME_MOMENT
    return standing.attempt + (job.state is JobState.QUEUED or is_later)


def executions(standing: Standing, accounting: Answers) -> tuple[Accounted, ...]:
    """Return the executions since the last submission that is known of, oldest first.

    After a requeue that was seen, the scheduler's own time tells its row from the one before. Until then the time may
    be of another machine's clock.
    """
    if not isinstance(accounting, tuple):
        return ()
    if standing.job_submitted_at is None:
        return accounting[-1:]
    earliest = standing.job_submitted_at - (_CLOCKS_DIFFER if standing.attempt == 1 else _SAME_MOMENT)
    rows = [row for row in accounting if row.submitted_at is None or row.submitted_at >= earliest]
    return tuple(_unbroken(standing, rows))


def _unbroken(standing: Standing, rows: Sequence[Accounted]) -> Iterator[Accounted]:
    """Follow executions from requeue to requeue; what was submitted long after one ended is another job."""
    is_known = standing.state is not ItemState.SUBMITTED and standing.job_submitted_at is not None
    latest = standing.job_submitted_at if is_known else None
    for row in rows:
        if latest is not None and row.submitted_at is not None and row.submitted_at - latest > _CLOCKS_DIFFER:
            return
        yield row
        latest = row.ended_at or row.started_at or row.submitted_at
