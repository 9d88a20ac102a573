"""Recorded rows of Slurm, cut to the fields and the times that our commands ask for."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import Accounts, Queue
from scripthut_poller.schedulers.slurm import queued, rows

RECORDINGS = Path(__file__).parents[2] / "recordings" / "slurm"
CLOCK = 1795415327
# JobID, State, ExitCode, Submit, Start, End, Partition, NodeList
_SACCT = (0, 2, 3, 9, 11, 12, 7, 30)
# JobArrayID, State, RestartCnt, SubmitTime, StartTime, BatchHost, Reason
_SQUEUE = (1, 12, 25, 18, 20, 31, 14)


def accounts(recording: str, *job_ids: str) -> Accounts:
    """Read a recording of sacct, as `22.05.8/01-completed/4-settled`."""
    return rows.accounts(sacct(recording), job_ids)


def queue(recording: str) -> Queue:
    """Read a recording of squeue, as `22.05.8/01-completed/2-running`."""
    return queued.queue(squeue(recording))


def sacct(recording: str) -> Answer:
    """Give a recording as the answer of `programs.ACCOUNTING`."""
    lines = (RECORDINGS / f"{recording}.sacct-P.out").read_text().split("\n")
    rows_ = ("|".join(row) + "\n" for row in _cut([line.split("|") for line in lines], _SACCT))
    return whole((f"slurm-wlm {recording.partition('/')[0]}\n", *rows_))


def squeue(recording: str) -> Answer:
    """Give a recording as the answer of `programs.QUEUE`."""
    lines = (RECORDINGS / f"{recording}.squeue-O.out").read_text().split("\n")
    cut = _cut([line.split("\x1f") for line in lines], _SQUEUE)
    return whole("".join(f"{field}|" for field in row) + "\n" for row in cut)


def every(suffix: str) -> list[str]:
    """Name every recording of a command."""
    found = sorted(RECORDINGS.rglob(f"*.{suffix}.out"))
    return [str(path.relative_to(RECORDINGS)).removesuffix(f".{suffix}.out") for path in found]


def whole(lines: Iterable[str]) -> Answer:
    """Put the cluster's clock before rows."""
    return Answer(stdout=(f"{CLOCK}\n" + "".join(lines)).encode(), stderr=b"", exit_status=0)


def _cut(lines: Sequence[list[str]], indexes: Sequence[int]) -> Iterator[list[str]]:
    """Choose fields; what is no record (a name or a command line went on over a newline) is left out."""
    for fields in lines:
        if len(fields) > max(indexes) and fields[0][:1].isdigit():
            yield [_epoch(fields[index]) for index in indexes]


def _epoch(text: str) -> str:
    try:
        return str(int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()))
    except ValueError:
        return text
