"""What a polling round costs on real Slurm: us, to read what squeue printed, and slurmctld, to answer."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import msgspec
import psutil

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_poller.schedulers.slurm import programs
from tests.bench.polled import Asked, Cost
from tests.bench.table import REPETITIONS, Row
from tests.testbed.accounts import ALICE, BOB
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

ELEMENTS = 100_000
WATCHED = 1_000
GONE = 100
OTHERS = 10_000
OURS = 10
ROUNDS = 100
EVERY_S = 0.06
MEMORY_MB = 300
_LIMITS = f"MaxArraySize={ELEMENTS + 1}\nMaxJobCount={2 * ELEMENTS}\n"
_HELD = ("--hold", "--output=/dev/null")
_AT_ONCE = 500
_SUBMIT = 'for job in $(seq "$1"); do echo "#!/bin/sh" | sbatch --hold --output=/dev/null --chdir=/ || exit; done'


async def measure() -> list[Row]:
    """Measure both, each on a cluster of its own."""
    return await asyncio.to_thread(lambda: [*_reading(), _asking()])


def _reading() -> list[Row]:
    """Compare our CPU with that of the squeue that printed a queue of 100,000 jobs, a row each."""
    as_list = programs.QUEUE.text
    expanded = as_list.replace("squeue -a", "squeue -r -a")
    with SlurmCluster(extra=_LIMITS) as slurm, Sshd(slurm.environment) as sshd:
        array = slurm.submit("#!/bin/sh\n", f"--array=0-{ELEMENTS - 1}", *_HELD)
        watched = range(0, ELEMENTS, ELEMENTS // (WATCHED - GONE))[: WATCHED - GONE]
        job_ids = tuple(f"{array}_{index}" for index in (*watched, *range(ELEMENTS, ELEMENTS + GONE)))
        costs = {}
        for text in (expanded, as_list):
            asked = Asked(cluster=_cluster(sshd), text=text, job_ids=job_ids)
            squeue_s = [_printing_s(slurm, text) for _ in range(REPETITIONS)]
            costs[text] = [_cost(asked) for _ in range(REPETITIONS)], median(squeue_s)
    memory_mb = max(one.memory_mb for one in costs[expanded][0])
    return [
        _cpu_row(
            f"a round with {ELEMENTS:,} jobs in the queue, a row each, {WATCHED:,} watched: CPU", *costs[expanded]
        ),
        Row(
            what="the same: greatest memory of a process that does it",
            ours=f"{memory_mb:.0f} MB",
            peer=f"limit: {MEMORY_MB} MB",
            ratio=memory_mb / MEMORY_MB,
            target="≤ 1",
        ),
        _cpu_row(f"the same as we ask it, waiting elements as one row of {ELEMENTS:,}: CPU", *costs[as_list]),
    ]


def _cluster(sshd: Sshd) -> Cluster:
    return Cluster(
        name="testbed",
        scheduler=SchedulerKind.SLURM,
        host=sshd.host,
        port=sshd.port,
        user=ALICE,
        key_file=str(sshd.key(ALICE)),
        known_hosts_file=str(sshd.known_hosts),
    )


def _cpu_row(what: str, costs: Sequence[Cost], squeue_s: float) -> Row:
    ours_s, received_s = median(one.cpu_s for one in costs), median(one.received_s for one in costs)
    return Row(
        what=what,
        ours=f"{ours_s * 1000:.0f} ms ({received_s * 1000:.0f} of them SSH)",
        peer=f"squeue: {squeue_s * 1000:.0f} ms",
        ratio=ours_s / squeue_s,
        target="≤ 1.5",
    )


def _printing_s(slurm: SlurmCluster, text: str) -> float:
    """Have squeue print the queue to nowhere; return its CPU seconds."""
    environment = {**os.environ, **slurm.environment}
    argv, quiet = ["/bin/sh", "-c", text], subprocess.DEVNULL
    program = subprocess.Popen(argv, stdout=quiet, env=environment, user=ALICE, group=ALICE, extra_groups=(), cwd="/")
    _, status, usage = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode != 0:
        raise RuntimeError(f"squeue ended with {program.returncode}")
    return usage.ru_utime + usage.ru_stime


def _cost(asked: Asked) -> Cost:
    argv = [sys.executable, "-m", "tests.bench.polled"]
    done = subprocess.run(argv, input=msgspec.json.encode(asked), stdout=subprocess.PIPE, check=True)
    cost = msgspec.json.decode(done.stdout, type=Cost)
    if cost.seen != WATCHED - GONE:
        raise RuntimeError(f"{cost.seen} of {WATCHED - GONE} jobs were found")
    return cost


def _asking() -> Row:
    """Compare slurmctld's CPU for our question with that for `squeue -u`, in a queue that is full of others' jobs."""
    with SlurmCluster(extra=_LIMITS) as slurm:
        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(lambda _: _submit(slurm, BOB, _AT_ONCE), range(OTHERS // _AT_ONCE)))
        _submit(slurm, ALICE, OURS)
        before, _, _ = programs.QUEUE.text.partition("exec squeue")
        ours, peer = [], []
        for _ in range(REPETITIONS):
            idle_s = _answering_s(slurm, before)
            ours.append(_answering_s(slurm, programs.QUEUE.text) - idle_s)
            peer.append(_answering_s(slurm, f"{before}exec squeue -u {ALICE}") - idle_s)
    return Row(
        what=f"a round with {OTHERS:,} jobs of others and {OURS} of ours in the queue: slurmctld's CPU",
        ours=f"{median(ours) * 1000:.1f} ms",
        peer=f"squeue -u: {median(peer) * 1000:.1f} ms",
        ratio=median(ours) / median(peer),
        target="≤ 1",
    )


def _submit(slurm: SlurmCluster, user: str, count: int) -> None:
    slurm.run("sh", "-c", _SUBMIT, "sh", str(count), user=user)


def _answering_s(slurm: SlurmCluster, text: str) -> float:
    """Return slurmctld's CPU seconds for each question, with what it does besides in the time that one is given."""
    slurmctld = psutil.Process(slurm.slurmctld.pid)
    before, began_s = slurmctld.cpu_times(), time.monotonic()
    for number in range(ROUNDS):
        slurm.run("sh", "-c", text, user=ALICE)
        time.sleep(max(0.0, began_s + (number + 1) * EVERY_S - time.monotonic()))
    after = slurmctld.cpu_times()
    cpu_s: float = after.user + after.system - before.user - before.system
    return cpu_s / ROUNDS
