"""Read what qstat printed in answer to `programs`: whole blocks, jobs by id, and which ids are proven not to be there.

Sample, with M as mark: `1795415320`, `Job Id: 2.pbs01MJob_Name=aMjob_state=RM…`, `MM0 0 0`, `.`.
Behind the marks stand which chunk of ids was asked for, the exit status, and the length of what qstat complained of.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

import msgspec

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.reading import UnreadRows, moment, number, said, shown

from .programs import MAX_PROOFS

Fields = Mapping[str, str]
NOT_KEPT = "PBS is not configured to maintain job history"
CHUNK_IDS = 1000
# `21.pbs01`, `21[3].pbs01` and, for a whole array, `21[].pbs01`.
_JOB_ID = re.compile(r"[0-9]{1,12}(\[[0-9]{0,10}\])?\.[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_SUBJOB_ID = re.compile(r"[0-9]+\[[0-9]+\]\..*")
_REFUSED = frozenset({35, 153})
_OF_ONE_JOB = re.compile(
    r"qstat: (Unknown Job Id \S+|\S+ Job has finished, use -x or -H to obtain historical job information)"
)
_TIME = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([0-9]{4})")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_HEAD = "Job Id: "
_TIMED_OUT = frozenset({124, 137})
_NO_ANSWER = "had no answer from the PBS server in 40 s"


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """What one command printed for one chunk of ids, its exit status, and what it complained of."""

    chunk: int
    output: str
    status: int
    said: str


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs that were shown, by id; the ids that may be there though they were not shown.

    Every other id that was asked for is proven not to be there. `is_kept` is false where there is no history to ask,
    `fault` says which server did not answer.
    """

    jobs: Mapping[str, Fields]
    unproven: AbstractSet[str] = frozenset()
    is_kept: bool = True
    fault: str | None = None


def is_job_id(text: str) -> bool:
    """Answer whether this is a job id as `qsub` prints it, or that of an array's element or of a whole array."""
    return _JOB_ID.fullmatch(text) is not None


def is_subjob(job_id: str) -> bool:
    """Answer whether this is one element of an array."""
    return _SUBJOB_ID.fullmatch(job_id) is not None


def is_array(job_id: str) -> bool:
    """Answer whether this is a whole array."""
    return "[]." in job_id


def chunks(job_ids: Iterable[str]) -> list[list[str]]:
    """Put ids together as they are asked for, each once: by server, the one with the most ids first."""
    by_server: dict[str, list[str]] = {}
    for job_id in dict.fromkeys(job_ids):
        by_server.setdefault(_server(job_id), []).append(job_id)
    groups = sorted(by_server.values(), key=len, reverse=True)
    return [ids[first : first + CHUNK_IDS] for ids in groups for first in range(0, len(ids), CHUNK_IDS)]


def lines(chunked: Sequence[Sequence[str]]) -> bytes:
    """Write the ids for the program, each line with its server first."""
    return "".join(f"{_server(ids[0])} {' '.join(ids)}\n" for ids in chunked).encode()


def read(answer: Answer, mark: str) -> tuple[datetime, list[Block]]:
    """Take an answer apart; the first moment is the cluster's own clock.

    Raises:
        BadOutput: the program failed, or the answer is not whole.
    """
    if answer.exit_status != 0:
        raise BadOutput(f"exit status {answer.exit_status}: {said(answer)}")
    clock, newline, rest = answer.stdout.partition(b"\n")
    text = clock.decode("ascii", "replace")
    if not newline:
        raise BadOutput(f"the answer is cut: {shown(text)}")
    return moment(text, "the cluster's clock"), list(_blocks(rest, mark.encode()))


def looked_for(blocks: Sequence[Block], mark: str, chunked: Sequence[Sequence[str]]) -> Looked:
    """Read the blocks of `look` for each chunk of ids.

    Where the server of some ids does not answer, or is none, theirs are unproven; those of others are not held up.

    Raises:
        BadOutput: no server answered, or a record cannot be read: nothing is proven.
    """
    jobs: dict[str, Fields] = {}
    unproven: set[str] = set()
    faults: dict[str, str] = {}
    for number_, asked in enumerate(chunked):
        of_chunk = [block for block in blocks if block.chunk == number_]
        if of_chunk and of_chunk[0].said.startswith(f"qstat: {NOT_KEPT}"):
            return Looked(jobs={}, is_kept=False)
        fault = _fault_of_chunk(of_chunk, _server(asked[0]), faults)
        if fault is not None:
            faults[_server(asked[0])] = fault
            unproven.update(asked)
            continue
        found, hidden = _look(of_chunk, mark, asked)
        jobs |= found
        unproven |= hidden
    if faults and len(faults) == len({_server(ids[0]) for ids in chunked}):
        raise BadOutput(next(iter(faults.values())))
    return Looked(jobs=jobs, unproven=unproven, fault=next(iter(faults.values()), None))


def time_of(fields: Fields, *names: str) -> datetime | None:
    """Read the first of these times that a job has, as `Mon Nov 23 06:26:54 2026` in UTC or in epoch seconds.

    Raises:
        BadOutput: it is no time.
    """
    text = next((fields[name] for name in names if name in fields), None)
    if text is None or text.isdigit():
        return None if text is None else moment(text, "time")
    known = _TIME.fullmatch(text)
    try:
        month, *numbers, year = known.groups() if known else ()
        day, hour, minute, second = map(int, numbers)
        return datetime(int(year), _MONTHS.index(month) + 1, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise BadOutput(f"{shown(text)} is not a time of qstat's") from error


def _blocks(stdout: bytes, mark: bytes) -> Iterator[Block]:
    while stdout:
        output, is_marked, rest = stdout.partition(mark + mark)
        head, newline, rest = rest.partition(b"\n")
        words = head.decode("ascii", "replace").split(" ")
        if not is_marked or not newline or len(words) != 3:
            raise BadOutput(f"the answer is cut: {shown(stdout[-80:].decode('utf-8', 'replace'))}")
        size = number(words[2], "length")
        if rest[size : size + 2] != b".\n":
            raise BadOutput("the answer is cut within a complaint")
        yield Block(
            chunk=number(words[0], "chunk"),
            output=output.decode("utf-8", "replace"),
            status=number(words[1], "exit status"),
            said=rest[:size].decode("utf-8", "replace").strip(),
        )
        stdout = rest[size + 2 :]


def _fault_of_chunk(blocks: Sequence[Block], server: str, faults: Mapping[str, str]) -> str | None:
    """Say why a chunk has no answer; one that was not asked is so because of another."""
    if not blocks and (server in faults or any(fault.endswith(_NO_ANSWER) for fault in faults.values())):
        return faults.get(server) or next(iter(faults.values()))
    if not blocks:
        raise BadOutput(f"qstat was not asked for jobs of {server}")
    return next((fault for block in blocks if (fault := fault_of(block, "qstat"))), None)


def fault_of(block: Block, command: str) -> str | None:
    """Say what is wrong with an answer whose exit status and complaints are not understood: there may be more to it."""
    if block.status in _TIMED_OUT and not block.said:
        return f"{command} {_NO_ANSWER}"
    is_refused = block.status in _REFUSED and all(map(_OF_ONE_JOB.fullmatch, block.said.split("\n")))
    if is_refused or (block.status == 0 and not block.said):
        return None
    return f"{command} ended with exit status {block.status}: {block.said[:300] or 'it said nothing'}"


def _look(blocks: Sequence[Block], mark: str, asked: Sequence[str]) -> tuple[dict[str, Fields], set[str]]:
    """Read what is shown, and which ids are neither shown nor refused."""
    first, *proofs = blocks
    found = _jobs(first, mark, asked)
    missing = sorted(job_id for job_id in asked if job_id not in found)
    proving = _Proving(proofs, mark)
    if missing and (found or first.status == 0):
        proving.prove(missing)
    if proving.has_more:
        raise BadOutput("qstat was asked for missing jobs more often than expected")
    return found | proving.found, proving.unproven - set(proving.found)


class _Proving:
    """Reads in the program's order what it asked of missing ids; `unproven` are neither shown nor refused."""

    def __init__(self, blocks: Sequence[Block], mark: str) -> None:
        self.found: dict[str, Fields] = {}
        self.unproven: set[str] = set()
        self._left = list(blocks)
        self._mark = mark
        self._proofs = 0

    @property
    def has_more(self) -> bool:
        return bool(self._left)

    def prove(self, asked: Sequence[str]) -> None:
        """Take the answer to these ids, and where nothing was refused those to either half of them."""
        if not self._left:
            raise BadOutput("qstat was asked for missing jobs less often than expected")
        block = self._left.pop(0)
        self._proofs += 1
        shown_ = _jobs(block, self._mark, asked)
        self.found |= shown_
        if block.status != 0:
            self.unproven |= set(asked) if shown_ else set()
        elif len(asked) < 2 or self._proofs >= MAX_PROOFS:
            self.unproven |= set(asked)
        else:
            half = len(asked) // 2
            self.prove(asked[:half])
            self.prove(asked[half:])


def _jobs(block: Block, mark: str, asked: Sequence[str]) -> dict[str, Fields]:
    wanted = set(asked)
    jobs: dict[str, Fields] = {}
    rows = [row for row in block.output.split("\n") if row]
    read = [_job(row, mark) for row in rows]
    unread = [row for row, known in zip(rows, read, strict=True) if known is None]
    if unread:
        message = f"{len(unread)} rows of qstat cannot be read, the first is {shown(unread[0])}"
        raise UnreadRows(message, rows=len(unread))
    for job_id, fields in filter(None, read):
        if job_id not in wanted or job_id in jobs:
            raise BadOutput(f"qstat printed job {shown(job_id)}, which was not asked for or is there twice")
        jobs[job_id] = fields
    return jobs


def _server(job_id: str) -> str:
    return job_id.partition(".")[2]


def _job(row: str, mark: str) -> tuple[str, Fields] | None:
    head, *pieces = row.split(mark)
    pairs = [piece.partition("=") for piece in pieces]
    fields = {name: value for name, _, value in pairs}
    is_whole = all(separator for _, separator, _ in pairs) and len(fields) == len(pairs)
    if not head.startswith(_HEAD) or not is_whole or "job_state" not in fields:
        return None
    return head.removeprefix(_HEAD), fields
