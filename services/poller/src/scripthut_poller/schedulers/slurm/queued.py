"""Read what squeue printed of whole accounts: checked at once, taken apart only where somebody looks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import msgspec

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import Job, JobState, Queue
from scripthut_poller.schedulers.reading import UnreadRows, moment, output_of, said, shown

from . import words
from .indexes import Indexes
from .rows import NO_NODE, epoch_or_none, is_job_id

_TIME = rb"\|(?:[0-9]{1,11}|N/A|NONE|None|Unknown|)"
# Id, state, restarts, submitted, started, host, reason. Ids: a job, an element, a list of them, part of a het job.
_ROW = re.compile(
    rb"^([0-9]{1,10}(?:_[0-9]{1,7}|_\[[0-9,:%-]+\]|\+[0-9]{1,5})?)"
    rb"\|[A-Z?][A-Z0-9_?]*\|[0-9]{1,10}" + _TIME + _TIME + rb"\|[^|\n]*\|[^\n]*\|$",
    re.MULTILINE,
)
# squeue leaves them out and goes on, with exit status 0.
_LEFT_OUT = (b"Invalid user", b"Invalid job format")
_MOST_ALIVE = (JobState.RUNNING, JobState.QUEUED, JobState.ODD)


def queue(answer: Answer) -> Queue:
    """Read the cluster's clock and squeue's rows.

    Sample: `16|RUNNING|0|1795457268|1795457271|n1|None|`; `12_[3-9,15%2]|PENDING|0|1795457268|N/A|n/a|JobHeldUser|`.

    Raises:
        BadOutput: the command failed, or left something out.
        UnreadRows: not every row can be read: then no absence is proven.
    """
    output = output_of(answer)
    if any(complaint in answer.stderr for complaint in _LEFT_OUT):
        raise BadOutput(f"squeue left something out: {said(answer)}")
    first, newline, body = output.partition(b"\n")
    if not newline:
        raise BadOutput(f"squeue's answer is cut: {shown(first.decode('utf-8', 'replace'))}")
    return Queue(at=moment(first.decode("ascii", "replace"), "the cluster's clock"), jobs=Jobs(body))


class Jobs(Mapping[str, Job]):
    """The jobs of squeue's rows by the ids that they are watched under.

    Every element of an array is a job, `12_5`, whether it has a row of its own or is one of a list. A heterogeneous
    job is one job, by its first component's id: alive while any component is. The id of a whole array, `12`, finds
    whether anything of it is alive.
    """

    def __init__(self, body: bytes) -> None:
        ids: list[bytes] = _ROW.findall(body)
        self._lines = body.split(b"\n")
        if len(ids) != len(self._lines) - 1 or self._lines[-1]:
            raise _unread(self._lines)
        self._ids = ids
        self._number_of = dict(zip(ids, range(len(ids)), strict=True))
        self._lists = _lists(ids)
        self._wholes: dict[str, Job | None] = {}

    def __getitem__(self, job_id: str) -> Job:
        """Return a job that is alive."""
        job = self._find(job_id) if is_job_id(job_id) else None
        if job is None:
            raise KeyError(job_id)
        return job

    def __iter__(self) -> Iterator[str]:
        """Yield every job's id; each element of an array is one."""
        whole = (job_id for known in self._ids for job_id in self._written_out(known.decode()))
        return (job_id for job_id in dict.fromkeys(whole) if self._find(job_id) is not None)

    def __len__(self) -> int:
        """Count the jobs, elements of arrays too."""
        return sum(1 for _ in self)

    def _find(self, job_id: str) -> Job | None:
        number = self._number_of.get(job_id.encode())
        if number is not None:
            return _job(job_id, self._lines[number])
        base, is_element, index = job_id.partition("_")
        if is_element:
            return self._listed(job_id, base, int(index))
        if job_id not in self._wholes:
            self._wholes[job_id] = self._whole(job_id)
        return self._wholes[job_id]

    def _listed(self, job_id: str, base: str, index: int) -> Job | None:
        """Find an element that waits with others in one row."""
        rows = [number for indexes, number in self._lists.get(base, ()) if index in indexes]
        job = _job(job_id, self._lines[rows[0]]) if rows else None
        # squeue puts elements that were requeued into the same row, with the times and counts of any of them.
        return job and msgspec.structs.replace(job, restarts=None, submitted_at=None)

    def _whole(self, job_id: str) -> Job | None:
        """Find what has several rows by the id of the whole."""
        numbers = sorted(self._parts.get(job_id, ()), key=self._ids.__getitem__)
        jobs = [job for number in numbers if (job := _job(job_id, self._lines[number])) is not None]
        most_alive = min(jobs, key=lambda one: _MOST_ALIVE.index(one.state), default=None)
        if most_alive is None or b"+" in self._ids[numbers[0]]:
            return most_alive
        # Elements begin and are requeued one by one: nothing of that is the whole array's.
        return msgspec.structs.replace(most_alive, restarts=0, started_at=None, node=None)

    @cached_property
    def _parts(self) -> dict[str, list[int]]:
        """Rows of arrays and of heterogeneous jobs, by the id of the whole."""
        found: dict[str, list[int]] = {}
        for number, known in enumerate(self._ids):
            if not known.isdigit():
                base = known.partition(b"_")[0].partition(b"+")[0].decode()
                found.setdefault(base, []).append(number)
        return found

    @staticmethod
    def _written_out(known: str) -> Iterator[str]:
        base, _, listed = known.partition("_")
        if listed.startswith("["):
            yield from (f"{base}_{index}" for index in Indexes(listed[1:-1]))
        else:
            yield known.partition("+")[0]


def _lists(ids: Sequence[bytes]) -> dict[str, list[tuple[Indexes, int]]]:
    """Read the rows that stand for several elements, by their array."""
    found: dict[str, list[tuple[Indexes, int]]] = {}
    for number, known in enumerate(ids):
        if known.endswith(b"]"):
            base, _, listed = known.decode().partition("_")
            found.setdefault(base, []).append((Indexes(listed[1:-1]), number))
    return found


def _unread(lines: Sequence[bytes]) -> UnreadRows:
    """Name how many rows are not as they should be; what comes after the last newline must be nothing."""
    bad = [line for line in lines[:-1] if not _ROW.fullmatch(line)] + [line for line in lines[-1:] if line]
    first = shown(bad[0].decode("utf-8", "replace"))
    return UnreadRows(f"{len(bad)} rows of squeue cannot be read, the first is {first}", rows=len(bad))


def _job(job_id: str, row: bytes) -> Job | None:
    """Take one row apart; `None` for a job that is over and still shown."""
    fields = row[:-1].decode("utf-8", "replace").split("|", 6)
    _, word, restarts, submitted, started, node, reason = fields
    state = words.job_state(word)
    if state is None:
        return None
    # For a job that waits, this is when it may start.
    start = epoch_or_none(started) if state is JobState.RUNNING else None
    job = Job(
        id=job_id,
        state=state,
        word=word,
        reason=words.reason(reason),
        submitted_at=epoch_or_none(submitted),
        started_at=start,
        node=None if node in NO_NODE else node,
        restarts=int(restarts),
    )
    # While an execution is cleared away for the next, Slurm counts the restart that is yet to come, and tells the
    # present time for its start (22.05, 24.11). A job that had restarted looks the same when it ends for good.
    may_restart = word == "COMPLETING" and int(restarts) > 0
    return msgspec.structs.replace(job, restarts=None, submitted_at=None, started_at=None) if may_restart else job
