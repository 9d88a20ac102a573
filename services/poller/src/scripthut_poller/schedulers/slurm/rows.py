"""Read the rows of sacct: all of them, or none."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from scripthut_common.errors import BadOutput
from scripthut_common.events import Outcome
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import Accounted, Accounts
from scripthut_poller.schedulers.reading import UnreadRows, moment, shown, text_of

from . import merging, words
from .indexes import Indexes

_JOB_ID = re.compile(r"[0-9]{1,10}(_[0-9]{1,7})?")
_ROW_ID = re.compile(
    r"(?P<job>[0-9]{1,10})(_(?P<index>[0-9]{1,7})|_\[(?P<list>[0-9,:%-]+)\]|\+(?P<part>[0-9]{1,5}))?"
    r"(\.(?P<step>[A-Za-z0-9_+.]+))?"
)
_STATE = re.compile(r"[A-Z?][A-Z0-9_?]*( by [0-9]+)?")
_EXIT_CODE = re.compile(r"([0-9]{1,10}):([0-9]{1,10})")
_VERSION = re.compile(r"\S+ (?P<year>[0-9]{2})\.(?P<month>[0-9]{2})\b.*")
_NO_TIME = frozenset({"", "N/A", "NONE", "None", "Unknown"})
NO_NODE = frozenset({"", "n/a", "(null)", "None assigned"})
_LAST_SIGNAL = 31
_LAST_FOLDED = 127
_TRUE_CODES_SINCE = (26, 5)
_NEVER = datetime.max.replace(tzinfo=UTC)
NOT_KEPT = b"accounting storage is disabled"


def is_job_id(text: str) -> bool:
    """Answer whether this is an id that a job is watched under: of a job, or of an element of an array, `12_3`."""
    return _JOB_ID.fullmatch(text) is not None


def accounts(answer: Answer, job_ids: Iterable[str]) -> Accounts:
    """Read the cluster's clock, Slurm's version and sacct's rows of these jobs.

    Sample: `15.batch|CANCELLED|0:15|1795457271|1795457271|1795457272||n1`. An element of an array that was cancelled
    while it waited may be one of a list, `12_[4-9]`; rows `74+0` and `74+1` are one heterogeneous job, `74`.

    Raises:
        BadOutput: the command failed.
        UnreadRows: not every row can be read.
    """
    if answer.exit_status and NOT_KEPT in answer.stderr:
        clock, *_ = answer.stdout.decode("utf-8", "replace").split("\n")
        return Accounts(rows={}, at=moment(clock, "the cluster's clock"), is_kept=False)
    clock, version, *rest = _lines(text_of(answer))
    known = _by_job(_records(rest), frozenset(job_ids))
    read = _Reading(has_true_codes=_has_true_codes(version))
    rows = {job_id: read.executions_of_all(records) for job_id, records in known.items()}
    return Accounts(
        rows={job_id: executions for job_id, executions in rows.items() if executions},
        at=moment(clock, "the cluster's clock"),
    )


def epoch_or_none(text: str) -> datetime | None:
    """Read a time of Slurm's, which may be missing in several spellings."""
    return None if text in _NO_TIME else moment(text, "time")


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    if lines.pop() or len(lines) < 2:
        raise BadOutput(f"sacct's answer is cut: it ends with {shown(text[-80:])}")
    return lines


def _has_true_codes(version: str) -> bool:
    """Say whether `ExitCode` is what the script ended with; before, 128 is taken off what is 128 or more.

    Sample: `slurm-wlm 22.05.8`. Measured: 22.05.8 and 24.11.5 print 9:0 for exit codes 9 and 137, 26.05.5 does not.
    """
    known = _VERSION.fullmatch(version)
    if known is None:
        raise BadOutput(f"sacct says {shown(version)} of its version")
    return (int(known["year"]), int(known["month"])) >= _TRUE_CODES_SINCE


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `part` is the place in a heterogeneous job, `indexes` what a row of many elements stands for."""

    job_id: str
    part: int | None
    indexes: Indexes | None
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


def _records(lines: Iterable[str]) -> list[_Record]:
    """Read each line once: an element's row may come twice, with its array's and by itself."""
    records, faults = [], []
    for line in dict.fromkeys(lines):
        try:
            records.append(_record(line))
        except BadOutput as fault:
            faults.append(fault)
    if faults:
        message = f"{len(faults)} rows of sacct cannot be read; {faults[0]}"
        raise UnreadRows(message, rows=len(faults))
    return records


def _record(row: str) -> _Record:
    fields = row.split("|")
    known = _ROW_ID.fullmatch(fields[0])
    if len(fields) != 8 or known is None or not _STATE.fullmatch(fields[1]):
        raise BadOutput(f"sacct printed {shown(row)}")
    _, state, code, submitted, started, ended, partition, node = fields
    exit_code, signal = _exit_code(code)
    return _Record(
        job_id=known["job"] + (f"_{known['index']}" if known["index"] else ""),
        part=int(known["part"]) if known["part"] else None,
        indexes=Indexes(known["list"]) if known["list"] else None,
        step=known["step"],
        state=state,
        exit_code=exit_code,
        signal=signal,
        submitted_at=epoch_or_none(submitted),
        started_at=None if node == "None assigned" else epoch_or_none(started),
        ended_at=epoch_or_none(ended),
        partition=partition,
        node=None if node in NO_NODE else node,
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


def _by_job(records: Sequence[_Record], job_ids: frozenset[str]) -> Mapping[str, list[_Record]]:
    """Sort records by job; one that stands for many elements belongs to each that is asked for and has no own."""
    found: dict[str, list[_Record]] = {}
    for record in records:
        if record.indexes is None:
            found.setdefault(record.job_id, []).append(record)
    listed = [record for record in records if record.indexes is not None]
    for job_id in job_ids - found.keys() if listed else ():
        base, _, index = job_id.partition("_")
        of = [one for one in listed if one.job_id == base and index and int(index) in (one.indexes or ())]
        found[job_id] = [msgspec.structs.replace(one, job_id=job_id, indexes=None) for one in of]
    return found


class _Reading(msgspec.Struct, frozen=True, kw_only=True):
    """How records become executions."""

    has_true_codes: bool

    def executions_of_all(self, records: Sequence[_Record]) -> tuple[Accounted, ...]:
        """Read a job's executions; those of a heterogeneous job are its parts' put together."""
        parts: dict[int, list[_Record]] = {}
        for record in records:
            if record.part is not None:
                parts.setdefault(record.part, []).append(record)
        if not parts:
            return self._executions_of(records)
        return merging.as_one({part: self._executions_of(known) for part, known in parts.items()})

    def _executions_of(self, records: Sequence[_Record]) -> tuple[Accounted, ...]:
        return tuple(map(self._accounted, _executions(records)))

    def _accounted(self, execution: _Execution) -> Accounted:
        job, batch = execution.job, execution.batch
        outcome = _outcome(job, batch)
        known = [record for record in (batch, job) if record is not None and record.exit_code is not None]
        told = next((record for record in known if record.exit_code or record.signal), known[0] if known else job)
        return Accounted(
            id=job.job_id,
            outcome=outcome,
            word=job.state,
            is_requeued=job.state == "REQUEUED",
            exit_code=self._code(told, outcome),
            possible_codes=self._possible_codes(told),
            signal=told.signal,
            submitted_at=job.submitted_at,
            started_at=job.started_at,
            ended_at=job.ended_at,
            node=job.node,
        )

    def _code(self, told: _Record, outcome: Outcome | None) -> int | None:
        """Return the exit code if it is surely that: 9 may stand for 137, and 0 of a failure for 128 or for nothing."""
        code = told.exit_code
        if code is None or told.signal is not None or (code == 0 and outcome is not Outcome.SUCCEEDED):
            return None
        return code if code == 0 or code > _LAST_FOLDED or self.has_true_codes else None

    def _possible_codes(self, told: _Record) -> tuple[int, ...]:
        """Return what the exit code may be where accounting has taken 128 off some codes."""
        code = told.exit_code
        is_doubtful = code is not None and 0 < code <= _LAST_FOLDED and told.signal is None and not self.has_true_codes
        return (code, code + _LAST_FOLDED + 1) if code is not None and is_doubtful else ()


def _executions(records: Sequence[_Record]) -> list[_Execution]:
    """Put a job's records together, oldest execution first; a batch record belongs to the execution that it began with.

    The order in which sacct prints them says nothing. What a job was before its size changed is no execution.
    """
    executions = [_Execution(job=record) for record in records if record.step is None]
    executions.sort(key=lambda one: (one.job.submitted_at or _NEVER, one.job.started_at or _NEVER))
    executions = list(_without_resizing(executions)) or executions[-1:]
    for batch in records:
        if batch.step == "batch" and executions:
            of = [one for one in executions if one.job.started_at == batch.started_at]
            (of or executions)[-1].batch = batch
    return executions


def _without_resizing(executions: Iterable[_Execution]) -> Iterator[_Execution]:
    """Leave out what a job was before its size changed: Slurm submits it anew then, without saying so anywhere else."""
    submitted_at = None
    for one in executions:
        if one.job.state == "RESIZING":
            submitted_at = submitted_at or one.job.submitted_at
            continue
        if submitted_at is not None:
            one.job = msgspec.structs.replace(one.job, submitted_at=submitted_at)
        submitted_at = None
        yield one


def _outcome(job: _Record, batch: _Record | None) -> Outcome | None:
    """Weigh the two records: a specific state wins over FAILED, and a script that failed over COMPLETED.

    A job without partition is Slurm's first draft of the record (22.05 shows it for up to 5 s), one without an end
    is what slurmdbd knows before it has caught up after an outage: neither is final. Nor is a COMPLETED that nothing
    bears out: `sacctmgr` writes it of jobs that slurmctld has lost (`show runawayjobs`), begun or not.
    """
    if job.outcome is None or not job.partition or job.ended_at is None:
        return None
    is_batch_open = batch is not None and batch.outcome is None
    if job.outcome is Outcome.SUCCEEDED and (job.started_at is None or is_batch_open):
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
