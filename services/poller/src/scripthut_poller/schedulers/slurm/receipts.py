"""Write what the submit program reads, and read what sbatch said of each job."""

import re
from collections.abc import Sequence

import msgspec

from scripthut_common.errors import BadOutput, InvalidInput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import Fate, Receipt, Submission
from scripthut_poller.schedulers.reading import line, moment, number, text_of, told

from .rows import is_job_id

# Checked at the door already; here stands that no other text ever becomes a line of a header.
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:,=+-]*")
_HEADER = (
    ("partition", "--partition"),
    ("account", "--account"),
    ("cpus", "--cpus-per-task"),
    ("memory", "--mem"),
    ("time_limit", "--time"),
    ("gres", "--gres"),
)
_JOB_ID = "SCRIPTHUT_JOB_ID=$SLURM_JOB_ID SCRIPTHUT_RESTARTS=${SLURM_RESTART_COUNT:-0}"
_PARSABLE = re.compile(r"(?P<id>[0-9]+)(;.*)?")
# sbatch gave up before anything was sent, or slurmctld refuses for now.
_FOR_NOW = (
    "Unable to contact slurm controller",
    "Resource temporarily unavailable",
    "temporarily unable to accept",
    "MaxSubmitJob",
    "Invalid authentication credential",
    "Protocol authentication error",
    "Munge",
)
# It was sent and no answer came.
_MAY_BE_IN = (
    "timed out",
    "Zero Bytes",
    "Unexpected message received",
    "Transport endpoint",
    "Connection reset",
    "controller not responding",
    "standby mode",
)
_FOLDER_FOR_NOW = ("No space left", "quota", "Stale", "Input/output error", "Transport endpoint", "timed out")
_MESSAGE_CHARACTERS = 500
_TIME = re.compile(r"(?P<id>[0-9]+)\|0\|(?P<at>[0-9]+)\|\s*")


def frames(submissions: Sequence[Submission]) -> bytes:
    """Write a batch for `programs.SUBMIT`."""
    index_of = {submission.tag: index for index, submission in enumerate(submissions)}
    return b"".join(_frame(submission, index, index_of) for index, submission in enumerate(submissions))


def script(submission: Submission) -> bytes:
    """Put Slurm's header before the wrapped task."""
    values = [(option, getattr(submission, field)) for field, option in _HEADER]
    lines = [f"#SBATCH {option}={_checked(option, str(value))}" for option, value in values if value is not None]
    return "\n".join(["#!/bin/bash", *lines, _JOB_ID, ""]).encode() + submission.script


def pattern(path: str) -> str:
    """Write a path for `--output`, where `%j` and the like stand for something.

    A backslash anywhere switches that off for the whole path and is itself taken away.
    Source: sbatch(1), FILENAME PATTERN; tried on 22.05.
    """
    return path.replace("\\", "\\\\") if "\\" in path else path.replace("%", "%%")


def parse(answer: Answer, submissions: Sequence[Submission]) -> tuple[Receipt, ...]:
    """Read a receipt for each submission.

    Sample: `0 1795457268 2` and `42` on the next line, without an end; the number is the length of what sbatch said.
    The last is `times 1795457268 16` and what squeue said of id, restarts and submission: `42|0|1795457268|`.

    Raises:
        BadOutput: the program failed, or the answer is not whole: look the tags up.
    """
    text_of(answer)
    *answers, (kind, _, times) = tuple(told(answer.stdout)) or (("", "", ""),)
    if kind != "times" or len(answers) != len(submissions):
        raise BadOutput(f"{len(answers)} answers to {len(submissions)} submissions")
    receipts = (_receipt(submission, *one) for submission, one in zip(submissions, answers, strict=True))
    known = {row["id"]: moment(row["at"], "submit time") for row in map(_TIME.fullmatch, times.split("\n")) if row}
    return tuple(msgspec.structs.replace(one, submitted_at=known.get(one.job_id or "")) for one in receipts)


def _frame(submission: Submission, index: int, index_of: dict[str, int]) -> bytes:
    parents = [index_of.get(tag, index) for tag in submission.after_tags]
    if any(parent >= index for parent in parents):
        raise ValueError(f"{submission.tag}: its parents must stand before it in the batch")
    if not all(is_job_id(job_id) for job_id in submission.after_ids):
        raise InvalidInput(f"{submission.tag}: {submission.after_ids!r} are not Slurm job ids")
    body = script(submission)
    lines = (
        submission.tag,
        submission.log_dir,
        submission.records_dir,
        pattern(submission.stdout_path),
        pattern(submission.stderr_path),
        submission.job_name,
        ":".join(submission.after_ids),
        " ".join(map(str, parents)),
        f"{int(submission.is_held)} {len(body)}",
    )
    return b"".join(line(text) for text in lines) + body


def _checked(option: str, value: str) -> str:
    if not _VALUE.fullmatch(value):
        raise InvalidInput(f"{option}={value[:80]!r} has characters that no option of sbatch has")
    return value


def _receipt(submission: Submission, kind: str, at: str, text: str) -> Receipt:
    fate, job_id = _fate(kind, text)
    return Receipt(
        tag=submission.tag,
        fate=fate,
        job_id=job_id,
        message="" if fate is Fate.ACCEPTED else _message(text),
        at=moment(at, "the cluster's clock"),
    )


def _fate(kind: str, text: str) -> tuple[Fate, str | None]:
    match kind:
        case "0":
            ids = [known["id"] for row in text.split("\n") if (known := _PARSABLE.fullmatch(row))]
            return (Fate.ACCEPTED, ids[0]) if len(ids) == 1 and is_job_id(ids[0]) else (Fate.UNSURE, None)
        case "later":
            return Fate.DEFERRED, None
        case "orphan":
            return Fate.ORPHANED, None
        case "folder":
            return (Fate.DEFERRED if _has(text, _FOLDER_FOR_NOW) else Fate.REFUSED), None
        case _:
            number(kind, "exit status")
            if _has(text, _MAY_BE_IN):
                return Fate.UNSURE, None
            return (Fate.DEFERRED if _has(text, _FOR_NOW) else Fate.REFUSED), None


def _has(text: str, signs: Sequence[str]) -> bool:
    return any(sign in text for sign in signs)


def _message(text: str) -> str:
    """Keep what sbatch said, without its own name before every line."""
    rows = [row.removeprefix("sbatch: ").removeprefix("error: ").strip() for row in text.split("\n")]
    return "; ".join(row for row in rows if row)[:_MESSAGE_CHARACTERS]
