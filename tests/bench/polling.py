"""What a polling round costs on real Slurm: us, to read what squeue printed, and slurmctld, to answer."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import msgspec
import psutil

from scripthut_poller.schedulers.slurm import programs
from tests.bench.table import REPETITIONS, Row
from tests.testbed.accounts import ALICE, BOB
from tests.testbed.slurm import SlurmCluster

ELEMENTS = 100_000
WATCHED = 1_000
GONE = 100
OTHERS = 10_000
OURS = 10
ROUNDS = 100
_LIMITS = f"MaxArraySize={ELEMENTS + 1}\nMaxJobCount={2 * ELEMENTS}\n"
_NOTHING = "#!/bin/sh\n"
_HELD = ("--hold", "--output=/dev/null")


async def measure() -> list[Row]:
    """Measure both, each on a cluster of its own."""
    return await asyncio.to_thread(lambda: [*_reading(), _asking()])


def _reading() -> list[Row]:
    """Compare our CPU with that of the squeue that printed a queue of 100,000 jobs, a row each."""
    with SlurmCluster(extra=_LIMITS) as slurm, tempfile.TemporaryDirectory() as folder:
        array = slurm.submit(_NOTHING, f"--array=0-{ELEMENTS - 1}", *_HELD)
        watched = [f"{array}_{index}" for index in range(0, ELEMENTS, ELEMENTS // (WATCHED - GONE))][: WATCHED - GONE]
        watched += [f"{array}_{ELEMENTS + index}" for index in range(GONE)]
        path = Path(folder) / "queue"
        rows = [_printed(slurm, path, expanded=True) for _ in range(REPETITIONS)]
        each = [_read(path, watched) for _ in range(REPETITIONS)]
        lists = [_printed(slurm, path, expanded=False) for _ in range(REPETITIONS)]
        listed = [_read(path, watched) for _ in range(REPETITIONS)]
    memory_mib = max(one.memory_mib for one in each)
    return [
        _cpu_row(f"read {ELEMENTS:,} rows of squeue, {WATCHED:,} jobs watched: CPU", each, rows),
        Row(
            what="the same: greatest memory of the process that reads",
            ours=f"{memory_mib:.0f} MiB",
            peer="300 MB",
            ratio=memory_mib * 1.048576 / 300,
            target="≤ 1",
        ),
        _cpu_row(f"read one waiting array of {ELEMENTS:,} as a list, {WATCHED:,} watched: CPU", listed, lists),
    ]


class _Cost(msgspec.Struct, frozen=True, kw_only=True):
    cpu_s: float
    memory_mib: float
    seen: int


def _cpu_row(what: str, ours: Sequence[_Cost], squeue_s: Sequence[float]) -> Row:
    ours_s, peer_s = median(one.cpu_s for one in ours), median(squeue_s)
    return Row(
        what=what,
        ours=f"{ours_s * 1000:.0f} ms",
        peer=f"squeue: {peer_s * 1000:.0f} ms",
        ratio=ours_s / peer_s,
        target="≤ 1.5",
    )


def _printed(slurm: SlurmCluster, path: Path, *, expanded: bool) -> float:
    """Have squeue print the queue as the poller asks for it, or a row for each element; return its CPU seconds."""
    text = programs.QUEUE.text.replace("squeue -a", "squeue -r -a") if expanded else programs.QUEUE.text
    environment = {**os.environ, **slurm.environment}
    with path.open("wb") as output:
        program = subprocess.Popen(["/bin/sh", "-c", text, "sh", ALICE], stdout=output, env=environment)
        _, status, usage = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode != 0:
        raise RuntimeError(f"squeue ended with {program.returncode}")
    return usage.ru_utime + usage.ru_stime


def _read(path: Path, job_ids: Sequence[str]) -> _Cost:
    argv = [sys.executable, "-m", "tests.bench.polled", str(path), *job_ids]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    cost = msgspec.convert(json.loads(done.stdout), _Cost)
    if cost.seen != WATCHED - GONE:
        raise RuntimeError(f"{cost.seen} of {WATCHED - GONE} jobs were found")
    return cost


def _asking() -> Row:
    """Compare slurmctld's CPU for our question with that for `squeue -u`, in a queue that is full of others' jobs."""
    with SlurmCluster(extra=_LIMITS) as slurm:
        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(lambda _: slurm.submit(_NOTHING, *_HELD, user=BOB), range(OTHERS)))
        for _ in range(OURS):
            slurm.submit(_NOTHING, *_HELD, user=ALICE)
        ours, peer = [], []
        for _ in range(REPETITIONS):
            ours.append(_answering(slurm, "sh", "-c", programs.QUEUE.text, "sh"))
            peer.append(_answering(slurm, "squeue", "-u", ALICE))
    return Row(
        what=f"a round with {OTHERS:,} jobs of others and {OURS} of ours: slurmctld's CPU",
        ours=f"{median(ours) * 1000:.1f} ms",
        peer=f"squeue -u: {median(peer) * 1000:.1f} ms",
        ratio=median(ours) / median(peer),
        target="≤ 1",
    )


def _answering(slurm: SlurmCluster, *argv: str) -> float:
    """Return what one question costs slurmctld, in CPU seconds."""
    slurmctld = psutil.Process(slurm.slurmctld.pid)
    before = slurmctld.cpu_times()
    for _ in range(ROUNDS):
        slurm.run(*argv, user=ALICE)
    after = slurmctld.cpu_times()
    cpu_s: float = after.user + after.system - before.user - before.system
    return cpu_s / ROUNDS
