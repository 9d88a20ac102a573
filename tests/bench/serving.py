"""Serving files against nginx, and answers made of rows against the same bytes from memory; one core each side."""

import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.bench import served
from tests.bench.table import REPETITIONS, Row
from tests.integration.outputs.house import TOKENS
from tests.testbed.nginx import Nginx
from tests.testbed.ports import is_open, reserve_port
from tests.testbed.postgres import PostgresServer
from tests.testbed.processes import wait_until

SECONDS = 2
CONNECTIONS = 16
BY_TOKEN = f"Authorization: Bearer {TOKENS['ada']}"
_FILES = "/runs/r1/tasks/files/outputs/file"
_WALK = f"""
local number = 0
request = function()
  number = (number + 1) % {served.MANY_FILES}
  return wrk.format("GET", wrk.path .. "/" .. number)
end
"""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Two addresses that the same client asks for in turns.

    `is_walk`: for many files below them. `header`: says who asks.
    """

    what: str
    ours: str
    peer: str
    target: str
    is_walk: bool = False
    header: str = BY_TOKEN


async def measure() -> list[Row]:
    """Measure each match; servers share one core and run one at a time, the client has another."""
    return await asyncio.to_thread(_measure)


def _measure() -> list[Row]:
    client, server = cores()
    with tempfile.TemporaryDirectory() as folder, PostgresServer() as postgres, Nginx() as nginx:
        os.sched_setaffinity(nginx.worker_pid, {server})
        _fill(nginx.files)
        walk = Path(folder) / "walk.lua"
        walk.write_text(_WALK)
        with ours(postgres.databases.create(), Path(folder), server) as url:
            return [row(match, client, walk) for match in _matches(url, nginx.url)]


def _matches(ours: str, nginx: str) -> list[Match]:
    kinds = [("64k", "a file of 64 KiB, nginx sendfile", "≥ 0.4"), ("1m", "a file of 1 MiB, nginx sendfile", "≥ 0.8")]
    files = [
        Match(what=f"GET {what}", ours=f"{ours}{_FILES}/{name}", peer=f"{nginx}/{name}", target=target)
        for name, what, target in kinds
    ]
    what = f"GET {served.MANY_FILES} files of 64 KiB in turn, nginx sendfile"
    walk = Match(what=what, ours=f"{ours}{_FILES}/many", peer=f"{nginx}/many", target="none", is_walk=True)
    answers = [
        Match(
            what=f"GET {name}, same bytes from memory", ours=ours + path, peer=f"{ours}/memory/{name}", target="≥ 0.5"
        )
        for name, path in (("summary", served.SUMMARY), ("outputs", served.LISTED))
    ]
    return [*files, walk, *answers]


def row(match: Match, client: int, walk: Path | None = None) -> Row:
    """Let both run in turns, so that a slow moment of the machine meets both; the ratio is the median of pairs."""
    script = ["-s", str(walk)] if match.is_walk and walk else []
    more = [*script, "-H", match.header]
    pairs = [(_rate(match.ours, client, more), _rate(match.peer, client, more)) for _ in range(REPETITIONS)]
    ours, peer = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    return Row(what=match.what, ours=f"{ours:,.0f}/s", peer=f"{peer:,.0f}/s", ratio=ratio, target=match.target)


def _rate(url: str, core: int, more: list[str]) -> float:
    """Requests a second that one client gets answered."""
    argv = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", *more]
    said = subprocess.run([*argv, url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{url} was not served:\n{said}")
    found = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    if found is None:
        raise RuntimeError(f"wrk said something else:\n{said}")
    return float(found[1])


@contextmanager
def ours(database_uri: str, folder: Path, core: int, *, has_open_door: bool = False) -> Iterator[str]:
    """Serve what `served` fills, on one core, at the URL given; `has_open_door`: to everybody, asking nobody."""
    port = reserve_port()
    argv = [sys.executable, "-m", "tests.bench.served", database_uri, str(folder), str(port)]
    argv += ["open"] * has_open_door
    with subprocess.Popen(["taskset", "-c", str(core), *argv], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline().strip() != served.READY:
                raise RuntimeError("the service that is to be measured did not start")
            wait_until(lambda: is_open(port), "the service that is measured")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _fill(folder: Path) -> None:
    for name in served.FILES:
        (folder / name).write_bytes(served.content(name))
    (folder / "many").mkdir()
    for number in range(served.MANY_FILES):
        (folder / "many" / str(number)).write_bytes(served.many(number))


def cores() -> tuple[int, int]:
    """One core for the client, one for whoever serves; the same one where there is no other."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]
