"""Say in PBS's words what a task asks for: the scheduler's own spelling is Slurm's, and not all of it has a match."""

import re
from collections.abc import Iterator

from scripthut_common.errors import InvalidInput
from scripthut_poller.schedulers.job import Submission

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MEMORY = re.compile(r"(?P<amount>[1-9][0-9]*)(?P<unit>[KMGT]?)")
_TIME = re.compile(r"((?P<days>[0-9]+)-)?(?P<first>[0-9]+)(:(?P<second>[0-9]{2}))?(:(?P<third>[0-9]{2}))?")
_GPUS = re.compile(r"gpu(:(?P<count>[1-9][0-9]*))?")
_UNITS = {"": "mb", "K": "kb", "M": "mb", "G": "gb", "T": "tb"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,199}")
_NUMBER_LIKE = re.compile(r"(nan|inf|infinity)", re.IGNORECASE)
_NO_PATH = re.compile(r"[\x00-\x1f\x7f]|\^array_index\^")


def options(submission: Submission) -> str:
    """Write the options of qsub, words without blanks in them.

    Raises:
        InvalidInput: PBS has no words for it.
    """
    return " ".join(_options(submission))


def job_name(text: str) -> str:
    """Make a job name of a task's id.

    It begins with a letter, as older versions demand, and is nothing that `qstat -F json` takes for a number: one job
    called `nan` spoils the document for everybody.
    """
    is_good = _NAME.fullmatch(text) and not _NUMBER_LIKE.fullmatch(text)
    return text if is_good else f"task-{text}"[:200]


def path(text: str) -> str:
    """Return a path for `-o` or `-e`; blanks, commas and colons in it are taken as they are.

    Raises:
        InvalidInput: PBS would read something else.
    """
    if _NO_PATH.search(text):
        raise InvalidInput(f"{text[:200]!r}: PBS takes no path with control characters or ^array_index^ for output")
    return text


def walltime(text: str) -> str | None:
    """Write minutes, `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM` or `D-HH:MM:SS` as `HH:MM:SS`; `None` for no limit.

    Raises:
        InvalidInput: it is none of these.
    """
    known = _TIME.fullmatch(text)
    if known is None:
        raise InvalidInput(f"time_limit {text[:80]!r}: PBS takes minutes, HH:MM:SS or D-HH:MM:SS")
    first, second, third = (None if part is None else int(part) for part in known.group("first", "second", "third"))
    of_first = first or 0
    if known["days"] is not None or third is not None:
        seconds = int(known["days"] or 0) * 86_400 + of_first * 3600 + (second or 0) * 60 + (third or 0)
    else:
        seconds = of_first * 60 + (second or 0)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" if seconds else None


def _options(submission: Submission) -> Iterator[str]:
    for option, field in (("-q", "partition"), ("-A", "account")):
        value = getattr(submission, field)
        if value is not None:
            if not _WORD.fullmatch(value):
                raise InvalidInput(f"{field} {value[:80]!r} has characters that PBS does not take")
            yield f"{option} {value}"
    select = list(_select(submission))
    if select:
        yield f"-l select=1:{':'.join(select)}"
    limit = walltime(submission.time_limit) if submission.time_limit is not None else None
    if limit is not None:
        yield f"-l walltime={limit}"


def _select(submission: Submission) -> Iterator[str]:
    if submission.cpus is not None or submission.memory is not None or submission.gres is not None:
        yield f"ncpus={submission.cpus or 1}"
    if submission.memory is not None:
        known = _MEMORY.fullmatch(submission.memory)
        if known is None:
            raise InvalidInput(f"memory {submission.memory[:80]!r}: PBS takes a number with K, M, G or T, as 4G")
        yield f"mem={known['amount']}{_UNITS[known['unit']]}"
    if submission.gres is not None:
        gpus = _GPUS.fullmatch(submission.gres)
        if gpus is None:
            raise InvalidInput(
                f"gres {submission.gres[:80]!r}: PBS knows no types of GPUs; ask for gpu:2 in a partition that has them"
            )
        yield f"ngpus={gpus['count'] or 1}"
