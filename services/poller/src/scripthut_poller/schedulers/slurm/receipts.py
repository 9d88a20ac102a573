"""Write what the submit program reads, and read what sbatch said of each job."""

import re
from collections.abc import Sequence

import msgspec

from scripthut_common.errors import InvalidInput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers import handing_in
from scripthut_poller.schedulers.handing_in import has
from scripthut_poller.schedulers.job import Fate, Receipt, Submission
from scripthut_poller.schedulers.reading import moment

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
_TIME = re.compile(r"(?P<id>[0-9]+)\|0\|(?P<at>[0-9]+)\|\s*")


def frames(submissions: Sequence[Submission]) -> bytes:
    """Write a batch for `programs.SUBMIT`."""
    return handing_in.frames(_SBATCH, submissions)


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
    *answers, (kind, _, times) = tuple(handing_in.told(answer)) or (("", "", ""),)
    receipts = handing_in.receipts(_SBATCH, answers, submissions, is_whole=kind == "times")
    known = {row["id"]: moment(row["at"], "submit time") for row in map(_TIME.fullmatch, times.split("\n")) if row}
    return tuple(msgspec.structs.replace(one, submitted_at=known.get(one.job_id or "")) for one in receipts)


def _written(submission: Submission) -> tuple[tuple[str, ...], bytes]:
    words = (pattern(submission.stdout_path), pattern(submission.stderr_path), submission.job_name)
    return words, script(submission)


def _checked(option: str, value: str) -> str:
    if not _VALUE.fullmatch(value):
        raise InvalidInput(f"{option}={value[:80]!r} has characters that no option of sbatch has")
    return value


def _printed_id(row: str) -> str | None:
    known = _PARSABLE.fullmatch(row)
    return known["id"] if known else None


def _failed(_status: int, text: str) -> Fate:
    if has(text, _MAY_BE_IN):
        return Fate.UNSURE
    return Fate.DEFERRED if has(text, _FOR_NOW) else Fate.REFUSED


def _rows(text: str) -> list[str]:
    """Keep what sbatch said, without its own name before every line."""
    return [row.removeprefix("sbatch: ").removeprefix("error: ") for row in text.split("\n")]


_SBATCH = handing_in.Command(
    scheduler="Slurm",
    is_job_id=is_job_id,
    written=_written,
    printed_id=_printed_id,
    failed=_failed,
    rows=_rows,
)
