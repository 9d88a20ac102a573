"""The spool folder: one directory per job, every file in it written whole or not at all.

    identity.json      what ids begin with, and the next number; changed under `lock`
    poke               touched by whoever changed something that the supervisor should see
    supervisor.lock    held by the supervisor while it lives, with its number; `supervisor.log` is what it says
    new/               jobs that are being handed in, under `lock`
    live/ID/           job.json script lock · held released cancelled · started.json process.json final.json
    done/ID/           the same once the job is over
    broken/            entries that cannot be read

All JSON is ASCII; text that is not Unicode survives it.
"""

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from scripthut_common.errors import BadOutput
from scripthut_poller.schedulers.job import Accounted, Submission

Value = TypeVar("Value")

FINAL, STARTED, PROCESS, LOCK = "final.json", "started.json", "process.json", "lock"
HELD, RELEASED, CANCELLED = "held", "released", "cancelled"
_JOB, _SCRIPT = "job.json", "script"
_JOB_ID = re.compile(r"[0-9a-f]{8}-([1-9][0-9]{0,17})")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One job as it was handed in; the script lies beside it."""

    submission: Submission
    after_ids: tuple[str, ...]
    submitted_at: datetime


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """Written before a job's first instruction: from here on it is never started again."""

    at: datetime
    node: str


class _Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of a folder that was removed and made anew differ from those given before."""

    prefix: str
    next_number: int


class Spool:
    """One spool folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.live = directory / "live"
        self.done = directory / "done"
        self.supervisor_lock = directory / "supervisor.lock"
        self._new = directory / "new"
        self._broken = directory / "broken"
        self._poke = directory / "poke"

    def make(self) -> None:
        """Make what is missing; nobody but its owner may look into it."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.live, self.done, self._new, self._broken):
            folder.mkdir(exist_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from handing in and from looking tags up."""
        with (self.directory / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def allot(self, count: int) -> list[str]:
        """Give job ids that were never given before; to be called under `locked`."""
        path = self.directory / "identity.json"
        try:
            identity = read(path, _Identity)
        except (FileNotFoundError, BadOutput):
            identity = _Identity(prefix=secrets.token_hex(4), next_number=1)
        first, after = identity.next_number, identity.next_number + count
        write(path, _Identity(prefix=identity.prefix, next_number=after))
        return [f"{identity.prefix}-{number}" for number in range(first, after)]

    def put(self, job_id: str, entry: Entry) -> None:
        """Hand a job in; to be called under `locked`."""
        shutil.rmtree(self._new)
        making = self._new / job_id
        making.mkdir(parents=True)
        (making / LOCK).touch()
        if entry.submission.is_held:
            (making / HELD).touch()
        _write_bytes(making / _SCRIPT, entry.submission.script)
        without_script = msgspec.structs.replace(entry.submission, script=b"")
        write(making / _JOB, msgspec.structs.replace(entry, submission=without_script))
        making.rename(self.live / job_id)
        _sync(self.live)

    def live_ids(self) -> list[str]:
        """List the jobs that are not over, oldest first."""
        return _ids(self.live)

    def folders(self, job_id: str) -> tuple[Path, ...]:
        """Say where a job may lie, in the order in which it moves: who looks in this order cannot miss it."""
        return (self.live / job_id, self.done / job_id) if is_job_id(job_id) else ()

    def final(self, job_id: str) -> Accounted | None:
        """Return a job's final record; `None` while there is none."""
        for folder in self.folders(job_id):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, BadOutput):
                return read(folder / FINAL, Accounted)
        return None

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield every job that can be read, live and done."""
        for folder in (self.live, self.done):
            for job_id in _ids(folder):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError, BadOutput):
                    yield job_id, entry_of(folder / job_id)

    def retire(self, job_id: str) -> None:
        """Put away a job that is over."""
        (self.live / job_id).rename(self.done / job_id)

    def discard(self, job_id: str) -> None:
        """Put away what cannot be read, so that it disturbs nobody."""
        (self.live / job_id).rename(self._broken / f"{job_id}.{secrets.token_hex(4)}")

    def forget(self, before: float) -> None:
        """Remove the jobs that were over before this time, in seconds since 1970."""
        for job_id in _ids(self.done):
            folder = self.done / job_id
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)

    def poke(self) -> None:
        """Let the supervisor look."""
        self._poke.touch()

    def poked_at_ns(self) -> int:
        """Say when it was last poked."""
        try:
            return self._poke.stat().st_mtime_ns
        except FileNotFoundError:
            return 0


def is_job_id(text: str) -> bool:
    """Answer whether a text is an id of this scheduler: only such names are joined to a path."""
    return _JOB_ID.fullmatch(text) is not None


def entry_of(folder: Path) -> Entry:
    """Read a job as it was handed in.

    Raises:
        FileNotFoundError: it is not there, or no longer.
        BadOutput: it cannot be read.
    """
    return read(folder / _JOB, Entry)


def script_of(folder: Path) -> Path:
    """Say where a job's script lies."""
    return folder / _SCRIPT


def try_lock(path: Path) -> int | None:
    """Take a lock that lives as long as its holder: a descriptor, `None` while somebody else has it.

    Raises:
        FileNotFoundError: it is not there, or was moved away meanwhile.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _require_there(path, descriptor)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_there(path: Path, descriptor: int) -> None:
    if not os.path.samestat(os.fstat(descriptor), path.stat()):
        raise FileNotFoundError(path)


def dump(value: Any) -> bytes:
    """Write a value as JSON."""
    return json.dumps(msgspec.to_builtins(value)).encode("ascii")


def load(text: bytes, wanted: type[Value]) -> Value:
    """Read what `dump` wrote, all of it.

    Raises:
        BadOutput: it is something else, or cut.
    """
    try:
        return msgspec.convert(json.loads(text), wanted)
    except (ValueError, msgspec.ValidationError, RecursionError) as error:
        raise BadOutput(f"not the JSON of {getattr(wanted, '__name__', wanted)}: {error}") from error


def read(path: Path, wanted: type[Value]) -> Value:
    """Read a file that `write` wrote.

    Raises:
        FileNotFoundError: it is not there.
        BadOutput: it cannot be read.
    """
    try:
        return load(path.read_bytes(), wanted)
    except (BadOutput, IsADirectoryError) as error:
        raise BadOutput(f"{path}: {error}") from error


def write(path: Path, value: Any) -> None:
    """Write a file whole, or not at all, and see that it survives a power cut."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    _write_bytes(partial, dump(value))
    partial.replace(path)
    _sync(path.parent)


def _write_bytes(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _ids(folder: Path) -> list[str]:
    return sorted((entry.name for entry in folder.iterdir() if is_job_id(entry.name)), key=_number)


def _number(job_id: str) -> int:
    match = _JOB_ID.fullmatch(job_id)
    return int(match[1]) if match else 0


def marks_of(folder: Path) -> frozenset[str]:
    """Name the files of a job's directory.

    Raises:
        FileNotFoundError: it was moved away.
        NotADirectoryError: it is no directory.
    """
    return frozenset(file.name for file in folder.iterdir())
