"""Read what qstat printed in answer to `programs`: whole blocks, jobs by id, and which ids are proven not to be there.

Sample, with M as mark: `1795415320`, `Job Id: 2.pbs01MJob_Name=aMjob_state=RM…`, `MM0 0`, `.`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

import msgspec

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.reading import moment, number, said, shown

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
_HEAD = "Job Id: "
_TIMED_OUT = frozenset({124, 137})


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """What one command printed, its exit status, and what it complained of."""

    output: str
    status: int
    said: str


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs that were shown, by id; the ids that may be there though they were not shown.

    Every other id that was asked for is proven not to be there. `is_kept` is false where there is no history to ask.
    """

    jobs: Mapping[str, Fields]
    unproven: AbstractSet[str] = frozenset()
    is_kept: bool = True


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
    """Put ids together as they are asked for, each once."""
    ids = list(dict.fromkeys(job_ids))
    return [ids[first : first + CHUNK_IDS] for first in range(0, len(ids), CHUNK_IDS)]


def lines(chunked: Sequence[Sequence[str]]) -> bytes:
    """Write the ids for the program."""
    return "".join(" ".join(ids) + "\n" for ids in chunked).encode()


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

    Raises:
        BadOutput: qstat did not answer, or in a way that nobody understands: nothing is proven.
    """
    left = iter(blocks)
    jobs: dict[str, Fields] = {}
    unproven: set[str] = set()
    for asked in chunked:
        first = _next(left)
        if first.said.startswith(f"qstat: {NOT_KEPT}"):
            return Looked(jobs={}, is_kept=False)
        found = _jobs(first, mark, asked)
        missing = [job_id for job_id in asked if job_id not in found]
        if missing and (found or first.status == 0):
            again = _next(left)
            more = _jobs(again, mark, missing)
            found |= more
            if more or again.status == 0:
                unproven |= {job_id for job_id in missing if job_id not in more}
        jobs |= found
    if next(left, None) is not None:
        raise BadOutput("qstat was asked more often than expected")
    return Looked(jobs=jobs, unproven=unproven)


def time_of(fields: Fields, *names: str) -> datetime | None:
    """Read the first of these times that a job has, as `Mon Nov 23 06:26:54 2026` in UTC or in epoch seconds.

    Raises:
        BadOutput: it is no time.
    """
    text = next((fields[name] for name in names if name in fields), None)
    if text is None or text.isdigit():
        return None if text is None else moment(text, "time")
    try:
        return datetime.strptime(text, "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError as error:
        raise BadOutput(f"{shown(text)} is not a time of qstat's") from error


def _blocks(stdout: bytes, mark: bytes) -> Iterator[Block]:
    while stdout:
        output, is_marked, rest = stdout.partition(mark + mark)
        head, newline, rest = rest.partition(b"\n")
        words = head.decode("ascii", "replace").split(" ")
        if not is_marked or not newline or len(words) != 2:
            raise BadOutput(f"the answer is cut: {shown(stdout[-80:].decode('utf-8', 'replace'))}")
        size = number(words[1], "length")
        if rest[size : size + 2] != b".\n":
            raise BadOutput("the answer is cut within a complaint")
        yield Block(
            output=output.decode("utf-8", "replace"),
            status=number(words[0], "exit status"),
            said=rest[:size].decode("utf-8", "replace").strip(),
        )
        stdout = rest[size + 2 :]


def _next(blocks: Iterator[Block]) -> Block:
    block = next(blocks, None)
    if block is None:
        raise BadOutput("qstat was asked less often than expected")
    return block


def require_understood(block: Block, command: str) -> None:
    """Take an answer only with an exit status and complaints that are understood.

    Raises:
        BadOutput: they are not: there may be more than was shown.
    """
    if block.status in _TIMED_OUT and not block.said:
        raise BadOutput(f"{command} had no answer from the PBS server in 40 s")
    is_refused = block.status in _REFUSED and all(map(_OF_ONE_JOB.fullmatch, block.said.split("\n")))
    if not is_refused and (block.status != 0 or block.said):
        raise BadOutput(f"{command} ended with exit status {block.status}: {block.said[:300] or 'it said nothing'}")


def _jobs(block: Block, mark: str, asked: Sequence[str]) -> dict[str, Fields]:
    require_understood(block, "qstat")
    wanted = set(asked)
    jobs: dict[str, Fields] = {}
    for row in block.output.split("\n"):
        if not row:
            continue
        job_id, fields = _job(row, mark)
        if job_id not in wanted or job_id in jobs:
            raise BadOutput(f"qstat printed job {shown(job_id)}, which was not asked for or is there twice")
        jobs[job_id] = fields
    return jobs


def _job(row: str, mark: str) -> tuple[str, Fields]:
    head, *pieces = row.split(mark)
    pairs = [piece.partition("=") for piece in pieces]
    fields = {name: value for name, _, value in pairs}
    is_whole = all(separator for _, separator, _ in pairs) and len(fields) == len(pairs)
    if not head.startswith(_HEAD) or not is_whole or "job_state" not in fields:
        raise BadOutput(f"qstat printed {shown(row)}")
    return head.removeprefix(_HEAD), fields
