"""Read the rows of squeue and sacct: all of them, or none."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from scripthut_common.errors import BadOutput
from scripthut_common.events import Outcome
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import Accounted, Accounts, Job, JobState, Queue
from scripthut_poller.schedulers.reading import moment, number, shown, text_of

from . import words

_JOB_ID = re.compile(r"[0-9]{1,10}")
_STEP_ID = re.compile(r"(?P<job>[0-9]{1,10})(\.(?P<step>[A-Za-z0-9_+.]+))?")
_STATE = re.compile(r"[A-Z][A-Z_]*( by [0-9]+)?")
_EXIT_CODE = re.compile(r"([0-9]{1,10}):([0-9]{1,10})")
_NO_TIME = frozenset({"", "N/A", "NONE", "None", "Unknown"})
_NO_NODE = frozenset({"", "n/a", "(null)", "None assigned"})
_NO_REASON = frozenset({"", "None"})
_LAST_SIGNAL = 31
_NEVER = datetime.max.replace(tzinfo=UTC)
NOT_KEPT = b"accounting storage is disabled"


def is_job_id(text: str) -> bool:
    """Answer whether this is a job id as `sbatch --parsable` prints it."""
    return _JOB_ID.fullmatch(text) is not None


def queue(answer: Answer) -> Queue:
    """Read the cluster's clock and squeue's rows.

    Sample: `16|RUNNING|0|1795457268|1795457271|n1|None|`.

    Raises:
        BadOutput: the command failed, or a row cannot be read: then no absence is proven.
    """
    first, rest = _clock_and_rows(text_of(answer))
    jobs = [job for row in rest if (job := _job(row)) is not None]
    return Queue(jobs={job.id: job for job in jobs}, at=first)


def accounts(answer: Answer) -> Accounts:
    """Read the cluster's clock and sacct's rows.

    Sample: `15.batch|CANCELLED|0:15|1795457271|1795457271|1795457272||n1`.

    Raises:
        BadOutput: the command failed, or a row cannot be read.
    """
    if answer.exit_status and NOT_KEPT in answer.stderr:
        return Accounts(rows={}, at=_clock_and_rows(answer.stdout.decode("utf-8", "replace"))[0], is_kept=False)
    first, rest = _clock_and_rows(text_of(answer))
    records: dict[str, list[_Record]] = {}
    for row in rest:
        record = _record(row)
        records.setdefault(record.job_id, []).append(record)
    rows = {job_id: tuple(map(_accounted, _executions(known))) for job_id, known in records.items()}
    return Accounts(rows={job_id: known for job_id, known in rows.items() if known}, at=first)


def epoch_or_none(text: str) -> datetime | None:
    """Read a time of Slurm's, which may be missing in several spellings."""
    return None if text in _NO_TIME else moment(text, "time")


def _clock_and_rows(text: str) -> tuple[datetime, list[str]]:
    first, *rest = text.split("\n")
    if rest and rest[-1] != "":
        raise BadOutput(f"the last row is cut: {shown(rest[-1])}")
    return moment(first, "the cluster's clock"), rest[:-1]


def _job(row: str) -> Job | None:
    fields = row.removesuffix("|").split("|", 6)
    if len(fields) != 7 or not is_job_id(fields[0]):
        raise BadOutput(f"squeue printed {shown(row)}")
    job_id, word, restarts, submitted, started, node, reason = fields
    state = words.job_state(word)
    if state is None:
        return None
    return Job(
        id=job_id,
        state=state,
        word=word,
        reason=None if reason in _NO_REASON else reason,
        submitted_at=epoch_or_none(submitted),
        # For a job that waits, this is when it may start.
        started_at=epoch_or_none(started) if state is JobState.RUNNING else None,
        node=None if node in _NO_NODE else node,
        # While a requeued job completes, Slurm 24.11 counts the restart that is yet to come.
        restarts=None if word == "COMPLETING" else number(restarts, "restart count"),
    )


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    job_id: str
    step: str | None
    state: str
    exit_code: int | None
    signal: int | None
    submitted_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    partition: str
    node: str | None

    @property
    def outcome(self) -> Outcome | None:
        return words.outcome(self.state)


class _Execution(msgspec.Struct, kw_only=True):
    """One execution of a job: its main record, and that of its batch script."""

    job: _Record
    batch: _Record | None = None


def _record(row: str) -> _Record:
    fields = row.split("|")
    known = _STEP_ID.fullmatch(fields[0])
    if len(fields) != 8 or known is None or not _STATE.fullmatch(fields[1]):
        raise BadOutput(f"sacct printed {shown(row)}")
    _, state, code, submitted, started, ended, partition, node = fields
    exit_code, signal = _exit_code(code)
    never_began = node == "None assigned"
    return _Record(
        job_id=known["job"],
        step=known["step"],
        state=state,
        exit_code=exit_code,
        signal=signal,
        submitted_at=epoch_or_none(submitted),
        started_at=None if never_began else epoch_or_none(started),
        ended_at=epoch_or_none(ended),
        partition=partition,
        node=None if node in _NO_NODE else node,
    )


def _exit_code(text: str) -> tuple[int | None, int | None]:
    """Read `CODE:SIGNAL`; what cannot be read is unknown, never 0.

    Signals beyond the usual ones are marks of Slurm's: 125 for lack of memory, 53 for a job that could not start.
    """
    known = _EXIT_CODE.fullmatch(text)
    if known is None:
        return None, None
    code, signal = int(known[1]), int(known[2])
    return code, signal if 0 < signal <= _LAST_SIGNAL else None


def _executions(records: Sequence[_Record]) -> list[_Execution]:
    """Put a job's records together, oldest execution first; a batch record belongs to the execution that it began with.

    The order in which sacct prints them says nothing.
    """
    executions = [_Execution(job=record) for record in records if record.step is None]
    executions.sort(key=lambda one: (one.job.submitted_at or _NEVER, one.job.started_at or _NEVER))
    for batch in records:
        if batch.step == "batch" and executions:
            of = [one for one in executions if one.job.started_at == batch.started_at]
            (of or executions)[-1].batch = batch
    return executions


def _accounted(execution: _Execution) -> Accounted:
    job, batch = execution.job, execution.batch
    outcome = _outcome(job, batch)
    known = [record for record in (batch, job) if record is not None and record.exit_code is not None]
    told = next((record for record in known if record.exit_code or record.signal), known[0] if known else job)
    code, signal = told.exit_code, told.signal
    if signal is not None or (code == 0 and outcome is not Outcome.SUCCEEDED):
        code = None
    return Accounted(
        id=job.job_id,
        outcome=outcome,
        word=job.state,
        is_requeued=job.state == "REQUEUED",
        exit_code=code,
        signal=signal,
        submitted_at=job.submitted_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        node=job.node,
    )


def _outcome(job: _Record, batch: _Record | None) -> Outcome | None:
    """Weigh the two records: a specific state wins over FAILED, and a script that failed over COMPLETED.

    A job without partition is Slurm's first draft of the record (22.05 shows it for up to 5 s), one without an end
    is what slurmdbd knows before it has caught up after an outage: neither is final.
    """
    if job.outcome is None or not job.partition or job.ended_at is None:
        return None
    if job.outcome not in {Outcome.SUCCEEDED, Outcome.FAILED}:
        return job.outcome
    specific = {Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT, Outcome.NODE_FAILED}
    if batch is not None and batch.outcome in specific:
        return batch.outcome
    has_failed = any(_has_failed(record) for record in (job, batch) if record is not None)
    return Outcome.FAILED if has_failed else job.outcome


def _has_failed(record: _Record) -> bool:
    """Say whether a record tells of a failure; its exit code counts whatever its state says."""
    return bool(record.exit_code or record.signal) or record.outcome not in {Outcome.SUCCEEDED, None}
