"""The exit record and file list of one task: written by the wrapper, read by both services.

NUL-separated bytes: `scripthut-manifest-1`, exit code, attempt, job id, nonce, host, start, end (epoch seconds),
flags (comma-separated, may be empty), then size, mtime (epoch seconds, fraction allowed) and path relative to the
output directory for each file, and a last empty field. A record is its author's claim, never more.
"""

from datetime import UTC, datetime
from math import isfinite

import msgspec

from .errors import BadOutput

MAGIC = b"scripthut-manifest-1"
MAX_FILES = 10_000
MAX_BYTES = 16 * 1024 * 1024
HEAD_BYTES = 4096
TERMINATED, UNLISTED = "terminated", "unlisted"
MAX_ATTEMPT = 1_000_000
_HEAD_FIELDS = 9
_LATEST_S = 2**33
_MAX_SIZE = 2**63 - 1


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One regular file that the wrapper saw when the task ended."""

    path: bytes
    size_bytes: int
    modified_at: float


class ExitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the wrapper noted when the task ended.

    `flags`: `unlisted` (no GNU find), `truncated`, `terminated` (it was told to end, by SIGTERM).
    """

    exit_code: int
    attempt: int
    job_id: str
    nonce: str
    host: str
    started_at: datetime
    ended_at: datetime
    flags: frozenset[str]
    entries: tuple[Entry, ...]


def parse(body: bytes) -> ExitRecord:
    """Read a record.

    Raises:
        BadOutput: it is cut, garbled or larger than a wrapper writes.
    """
    if len(body) > MAX_BYTES:
        raise BadOutput(f"exit record is of {len(body)} bytes; at most {MAX_BYTES}")
    if body.count(b"\0") > _HEAD_FIELDS + 3 * MAX_FILES:
        raise BadOutput(f"exit record is of more than {MAX_FILES} files")
    fields = body.split(b"\0")
    if fields[0] != MAGIC or fields[-1] != b"" or (len(fields) - _HEAD_FIELDS - 1) % 3:
        raise BadOutput("exit record is cut or not one of ours")
    try:
        return _parse_fields(fields[1:-1])
    except (ValueError, OverflowError, OSError) as error:
        raise BadOutput(f"exit record is garbled: {error}") from error


def parse_head(begin: bytes) -> ExitRecord:
    """Read a record without its files from its first `HEAD_BYTES`.

    Raises:
        BadOutput: it is cut within the head, or garbled.
    """
    fields = begin.split(b"\0", _HEAD_FIELDS)
    if fields[0] != MAGIC or len(fields) <= _HEAD_FIELDS:
        raise BadOutput("exit record is cut or not one of ours")
    return parse(b"\0".join([*fields[:_HEAD_FIELDS], b""]))


def _parse_fields(fields: list[bytes]) -> ExitRecord:
    code, attempt, job_id, nonce, host, started, ended, flags = fields[: _HEAD_FIELDS - 1]
    listed = fields[_HEAD_FIELDS - 1 :]
    return ExitRecord(
        exit_code=_count(code, 255),
        attempt=_count(attempt, MAX_ATTEMPT),
        job_id=job_id.decode("ascii"),
        nonce=nonce.decode("ascii"),
        host=host.decode("utf-8", "replace"),
        started_at=_moment(started),
        ended_at=_moment(ended),
        flags=frozenset(flags.decode("ascii").split(",")) - {""},
        entries=tuple(
            Entry(size_bytes=_count(size, _MAX_SIZE), modified_at=_seconds(mtime), path=path)
            for size, mtime, path in zip(listed[::3], listed[1::3], listed[2::3], strict=True)
        ),
    )


def _count(text: bytes, most: int) -> int:
    """Read a number that a wrapper may write; a claim that no column could hold is none."""
    value = int(text)
    if not 0 <= value <= most:
        raise ValueError(f"{text[:40]!r} is not from 0 to {most}")
    return value


def _seconds(text: bytes) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text[:40]!r} is not a time")
    return value


def _moment(text: bytes) -> datetime:
    """Read when something ran; the calendar's first and last days cannot be shown in every zone."""
    value = _seconds(text)
    if not 0 <= value <= _LATEST_S:
        raise ValueError(f"{text[:40]!r} is no time at which a task ran")
    return datetime.fromtimestamp(value, UTC)
