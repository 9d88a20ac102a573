"""Know a process again, and end everything that a job started. Reads Linux's /proc."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

_STATE, _SESSION, _STARTED_TICKS = 0, 3, 19
_KILLED_WITHIN_S = 5.0
_TICK_S = 0.01
_PROC = Path("/proc")


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One process, which no later one with the same number can be taken for."""

    pid: int
    started_ticks: int
    boot_id: str


def describe(pid: int) -> Process | None:
    """Say which process has this number now; `None` when none has."""
    fields = _stat(pid)
    if fields is None:
        return None
    return Process(pid=pid, started_ticks=int(fields[_STARTED_TICKS]), boot_id=_boot_id())


def end_session(leader: Process) -> None:
    """Kill every process of the session that `leader` leads or led.

    A number is not given anew while a session bears it: members without their leader are still its own.
    """
    now = describe(leader.pid)
    if leader.boot_id != _boot_id() or (now is not None and now != leader):
        return
    deadline = time.monotonic() + _KILLED_WITHIN_S
    while (members := list(_members(leader.pid))) and time.monotonic() < deadline:
        for pid in members:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_TICK_S)


def _members(session: int) -> Iterator[int]:
    """Find living processes of a session; the dead wait for their parents."""
    for entry in _PROC.iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdigit() else None
        if fields is not None and int(fields[_SESSION]) == session and fields[_STATE] not in {"Z", "X"}:
            yield int(entry.name)


def _stat(pid: int) -> list[str] | None:
    """Read what follows the name, which may hold blanks and brackets: `42 (a) b) S 1 42 42 …`. Source: proc(5)."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
