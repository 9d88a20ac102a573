"""End every process of one testbed directory, then remove it: run beside the tests so that it outlives them.

Run as `python -I -S warden.py DIRECTORY NAME=VALUE…`. It waits for the end of its standard input, which comes when the
tests close it and also when they die in any other way.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PIDS = "pids"


def start_time(pid: int) -> str | None:
    """Read when a process started, which tells it from a later one of the same number; None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def descendants(roots: set[int]) -> set[int]:
    """Find the living children of these processes, and theirs."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(errors="replace")
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: set[int] = set()
    newest = roots
    while newest:
        newest = {pid for pid, parent in parents.items() if parent in newest} - found - roots
        found |= newest
    return found


def marked(marks: set[bytes]) -> set[int]:
    """Find the processes whose environment has one of these `NAME=VALUE` entries, exactly."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if marks & set(environment.split(b"\0")):
                found.add(int(entry.name))
    return found


def recorded(directory: Path) -> set[int]:
    """Read which servers were started here and still run; servers that rewrite their title lose their environment."""
    try:
        lines = (directory / PIDS).read_text().splitlines()
    except OSError:
        return set()
    pairs = [line.split() for line in lines]
    return {int(pid) for pid, started in pairs if start_time(int(pid)) == started}


def kill_all(pids: set[int]) -> None:
    """Send SIGKILL to each, the gone ones apart."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def sweep(directory: Path, marks: set[bytes]) -> None:
    """Kill what belongs to the directory until nothing is left of it."""
    mine = {os.getpid(), os.getppid(), 1}
    for _ in range(200):
        roots = marked(marks) | recorded(directory)
        alive = {pid for pid in (roots | descendants(roots)) - mine if start_time(pid) is not None}
        if not alive:
            return
        kill_all(alive)
        time.sleep(0.01)


def free_shared_memory(directory: Path) -> None:
    """Give back what a killed PostgreSQL left in the kernel, by `postmaster.pid`, whose seventh line is `KEY ID`."""
    try:
        lines = (directory / "tables" / "postmaster.pid").read_text().splitlines()
    except OSError:
        return
    if len(lines) > 6:
        subprocess.run(["ipcrm", "--shmem-id", lines[6].split()[1]], check=False, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    home = Path(sys.argv[1])
    sweep(home, {os.fsencode(mark) for mark in sys.argv[2:]})
    free_shared_memory(home)
    shutil.rmtree(home, ignore_errors=True)
    # A process killed between two writes may have left a file behind the sweep of its folder.
    shutil.rmtree(home, ignore_errors=True)
