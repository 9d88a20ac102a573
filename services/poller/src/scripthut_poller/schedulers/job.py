"""What a scheduler can say of one job: sighted in its queue, recorded in its accounting, absent, or no answer.

*Seen*, *absent* and *unreachable* are three types, because "I could not look" is not "it is gone".
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from scripthut_common.events import Outcome


class JobState(StrEnum):
    """How the queue holds a job. `ODD`: in a state that this version does not know."""

    QUEUED = "queued"
    RUNNING = "running"
    ODD = "odd"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job as the queue shows it.

    `word` is the scheduler's own state. `restarts` is its count of requeues, `None` where it keeps none.
    """

    id: str
    state: JobState
    word: str
    reason: str | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    node: str | None = None
    restarts: int | None = None


class Accounted(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a job as accounting remembers it; a requeued job has several.

    `outcome` is `None` while the row is not final: such a row decides nothing. `exit_code` and `signal` are
    `None` where the scheduler does not say; `possible_codes` is what the exit code may be where it says too little.
    `is_requeued`: this execution is over, and the job goes on with another.
    """

    id: str
    outcome: Outcome | None
    word: str
    is_requeued: bool = False
    exit_code: int | None = None
    possible_codes: tuple[int, ...] = ()
    signal: int | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    node: str | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The queue answered completely and holds the job."""

    job: Job


class Absent(msgspec.Struct, frozen=True):
    """The source answered completely and does not have it."""


class Unreachable(msgspec.Struct, frozen=True, kw_only=True):
    """The source did not answer, or not completely: nothing may be concluded."""

    reason: str


ABSENT = Absent()
Sighting = Seen | Absent | Unreachable


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A complete queue answer: every job of the account that is not over, by id; `at` is the cluster's own clock."""

    jobs: Mapping[str, Job]
    at: datetime

    def look(self, job_id: str) -> Seen | Absent:
        """Say whether the queue holds a job."""
        job = self.jobs.get(job_id)
        return ABSENT if job is None else Seen(job=job)


class Accounts(msgspec.Struct, frozen=True, kw_only=True):
    """A complete accounting answer: the executions of each job, oldest first, by id.

    `is_kept` is false where the cluster keeps no accounting at all: then the source is not configured.
    """

    rows: Mapping[str, tuple[Accounted, ...]]
    at: datetime
    is_kept: bool = True

    def look(self, job_id: str) -> tuple[Accounted, ...] | Absent | None:
        """Return a job's executions; `None` where no accounting is kept."""
        if not self.is_kept:
            return None
        return self.rows.get(job_id) or ABSENT


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Where queue and accounting, both answering, hold jobs with the tags that were asked for: ids by tag.

    The newest job comes first: a run id may have been used before. `submitted_at` is when, by id and the scheduler's
    own clock; `at` is the cluster's before the first of the two was asked. `is_accounting_kept` is false where an ended
    job leaves no trace to look for.
    """

    jobs: Mapping[str, tuple[str, ...]]
    at: datetime
    submitted_at: Mapping[str, datetime] = {}
    is_accounting_kept: bool = True


class Fate(StrEnum):
    """What became of one submission."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    DEFERRED = "deferred"
    UNSURE = "unsure"
    ORPHANED = "orphaned"


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The scheduler's answer to one submission.

    `ACCEPTED` has the job id, the login node's clock just before the submission, and, where the scheduler was asked,
    its own time of it. `REFUSED`: never will be. `DEFERRED`: nothing was submitted, a later try may succeed.
    `ORPHANED`: the same, because a parent in the batch was not accepted. `UNSURE`: it may be in; look the tag up.
    """

    tag: str
    fate: Fate
    job_id: str | None = None
    message: str = ""
    at: datetime | None = None
    submitted_at: datetime | None = None


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One task on its way to the scheduler.

    Args:
        tag: `<run_id>/<task_id>`.
        script: what `wrapper.batch_script` made; the scheduler puts its own header before it.
        log_dir: absolute; made before the job is submitted, as is `records_dir`.
        after_ids: job ids that must succeed first.
        after_tags: the same for submissions that stand earlier in the same batch.
        is_held: it waits for `Action.RELEASE`, because others depend on it.
    """

    tag: str
    script: bytes
    log_dir: str
    records_dir: str
    stdout_path: str
    stderr_path: str
    job_name: str
    after_ids: tuple[str, ...] = ()
    after_tags: tuple[str, ...] = ()
    is_held: bool = False
    partition: str | None = None
    account: str | None = None
    cpus: int | None = None
    memory: str | None = None
    time_limit: str | None = None
    gres: str | None = None


class Action(StrEnum):
    """What can be done to jobs by id."""

    RELEASE = "release"
    CANCEL = "cancel"
