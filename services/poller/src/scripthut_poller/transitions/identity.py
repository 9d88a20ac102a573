"""Tell our job from another that bears its id, and one of its executions from the next. Pure.

A job is (cluster, id, time of submission): ids begin anew when a scheduler loses its counter. A requeue keeps the id.
Slurm then submits anew, once the execution before it is cleared away and at least a second after the last time, and
counts restarts; PBS keeps the time.

`job_submitted_at` is the scheduler's own time, which it tells again to the second: after the submission (Slurm), in the
queue, in a look-up, in accounting. Until then there is only what other clocks say: the login node's when the job was
handed in, and the database's when we heard of it. Either may be hours off, but hardly both to the same side: a job is
too old or too young for ours only if both say so. Of several jobs between these bounds the newest is taken: rows of an
older job with our id outlive that. PBS has one record for each id, and gives none twice while it remembers it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from scripthut_common.events import Outcome
from scripthut_poller.schedulers.job import ABSENT, Accounted, Job, JobState, Seen, Sighting

from .standing import Answers, Standing

OFTEN_REQUEUED = frozenset({Outcome.NODE_FAILED, Outcome.PREEMPTED})
_SAME_MOMENT = timedelta(seconds=1)
_CLOCKS_DIFFER = timedelta(minutes=10)
_CLEARING_LASTS = timedelta(minutes=10)


def ours(standing: Standing, sighting: Sighting) -> Sighting:
    """Call our job absent where the queue holds another of the same id: submitted later, and not by a requeue.

    It cannot be told where that other job was itself requeued as often as ours: restarts are counted before the time of
    submission changes.
    """
    return ABSENT if isinstance(sighting, Seen) and _is_another(standing, sighting.job) else sighting


def _is_another(standing: Standing, job: Job) -> bool:
    if standing.job_submitted_at is None or job.submitted_at is None:
        return False
    is_requeued = job.restarts is not None and job.restarts >= max(1, standing.attempt - 1)
    return not is_requeued and job.submitted_at - standing.job_submitted_at > _SAME_MOMENT


def attempt_of(standing: Standing, job: Job) -> int:
    """Count executions: by the scheduler's restarts, else by what a requeue leaves: queued again, or begun later."""
    if job.restarts is not None:
        return max(standing.attempt, job.restarts + 1)
    if standing.started_at is None:
        return standing.attempt
    is_later = job.started_at is not None and job.started_at - standing.started_at > _SAME_MOMENT
    return standing.attempt + (job.state is JobState.QUEUED or is_later)


def executions(standing: Standing, accounting: Answers) -> tuple[Accounted, ...]:
    """Return the executions of our job since the last submission that is known of, oldest first."""
    if not isinstance(accounting, tuple):
        return ()
    ours_first = (_since_submission(standing, rows) for rows in reversed(_jobs(accounting)))
    return next((rows for rows in ours_first if rows), ())


def attempt_by(standing: Standing, known: Sequence[Accounted]) -> int:
    """Count executions by these: all that there were, or those since the one that is known of."""
    if standing.job_submitted_at is None:
        return max(standing.attempt, len(known))
    return standing.attempt + max(0, len(known) - 1)


def _jobs(rows: Iterable[Accounted]) -> list[list[Accounted]]:
    """Put the executions of each job that bore the id together: they follow one another from requeue to requeue."""
    jobs: list[list[Accounted]] = []
    for row in rows:
        if jobs and _is_requeue(jobs[-1][-1], row):
            jobs[-1].append(row)
        else:
            jobs.append([row])
    return jobs


def _is_requeue(before: Accounted, row: Accounted) -> bool:
    if row.submitted_at is None:
        return True
    may_go_on = before.is_requeued or before.outcome in OFTEN_REQUEUED
    if not may_go_on or before.ended_at is None:
        return False
    return -_SAME_MOMENT <= row.submitted_at - before.ended_at <= _CLEARING_LASTS


def _since_submission(standing: Standing, rows: Sequence[Accounted]) -> tuple[Accounted, ...]:
    """Return what a job's rows say since our submission; nothing where it is not our job."""
    known = standing.job_submitted_at
    if known is None:
        return tuple(rows) if _may_be_ours(standing, rows[0].submitted_at) else ()
    # Two executions may be submitted no more than a second apart: the nearer one is meant.
    distances = [_distance(row.submitted_at, known) for row in rows]
    nearest = min(distances)
    return tuple(rows[distances.index(nearest) :]) if nearest <= _SAME_MOMENT else ()


def _distance(submitted_at: datetime | None, known: datetime) -> timedelta:
    """Say how far a submission is from ours; one that is not told counts as ours where no other is nearer."""
    return _SAME_MOMENT if submitted_at is None else abs(submitted_at - known)


def _may_be_ours(standing: Standing, submitted_at: datetime | None) -> bool:
    if submitted_at is None or standing.handed_in_at is None:
        return True
    told = (standing.handed_in_at, standing.submitted_at)
    return min(told) - _CLOCKS_DIFFER <= submitted_at <= max(told) + _CLOCKS_DIFFER
