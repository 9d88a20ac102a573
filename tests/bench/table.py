"""The rows of the bench, as Markdown, under the machine that they were measured on."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import msgspec

REPETITIONS = 5


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison. `ratio` is ours to the peer's in the direction that `target` names, as `≤ 4` or `≥ 0.5`."""

    what: str
    ours: str
    peer: str
    ratio: float
    target: str


def machine() -> str:
    """Say what was measured on."""
    cpus = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory_kib = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return (
        f"{len(cpus) or os.cpu_count()} x {cpus[0] if cpus else platform.machine()}, {memory_kib / 2**20:.1f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}; median of {REPETITIONS}"
    )


def render(rows: Sequence[Row]) -> str:
    """Write the table."""
    head = "| what | ours | peer | ratio | target |\n|---|--:|--:|--:|--:|"
    lines = [f"| {row.what} | {row.ours} | {row.peer} | {row.ratio:.2f} | {row.target} |" for row in rows]
    return "\n".join([machine(), "", head, *lines])


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
