"""Two collector processes against one, on a cluster that is 50 ms away in each direction."""

import asyncio
import logging
import statistics
import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

import structlog

from scripthut_common import supervision
from scripthut_common.clusters import Cluster, CollectionLimits
from scripthut_common.database import Database
from scripthut_common.shell import Program
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.ssh import SshShell
from scripthut_common.supervision import Pulse
from scripthut_outputs.blobs import open_store
from scripthut_outputs.collector import Collector
from tests.bench import tasks
from tests.bench.table import Row
from tests.testbed.delay import DelayedPort
from tests.testbed.postgres import PostgresServer
from tests.testbed.sshd import Sshd

TASKS = 2000
FILES = {"table.csv": 4096}
DELAY_MS = 50
_REPETITIONS = 3
_LOOK_EVERY_S = 0.02
_HELLO = Program(name="hello", text=":", timeout_s=60, idle_timeout_s=60, max_stdout_bytes=0)
_SPAWN = get_context("spawn")


async def measure() -> list[Row]:
    """Measure in turns; each process has its connection open when the clock starts."""
    with PostgresServer() as postgres, Sshd() as sshd, DelayedPort(sshd.port, DELAY_MS) as far:
        tasks.trust(sshd, far.port)
        log_dir = sshd.directory / "logs"
        tasks.write_tasks(log_dir, TASKS, FILES)
        cluster = tasks.cluster_at(sshd, far.port, CollectionLimits())
        alone, together = [], []
        uri = postgres.databases.create()
        for number in range(_REPETITIONS):
            alone.append(await _collect(uri, cluster, log_dir, sshd.directory / f"blobs-one-{number}", 1))
            together.append(await _collect(uri, cluster, log_dir, sshd.directory / f"blobs-two-{number}", 2))
    one_s, two_s = statistics.median(alone), statistics.median(together)
    return [
        Row(
            what=f"collect {TASKS:,} tasks by two collector processes, {DELAY_MS} ms each way",
            ours=f"{two_s:.1f} s",
            peer=f"one process: {one_s:.1f} s",
            ratio=one_s / two_s,
            target="≥ 1.5",
        )
    ]


async def _collect(uri: str, cluster: Cluster, log_dir: Path, blobs: Path, processes: int) -> float:
    async with tasks.catalog_at(uri) as database:
        await tasks.want(database, log_dir, TASKS)
        barrier = _SPAWN.Barrier(processes + 1)
        running = [_SPAWN.Process(target=_run, args=(uri, cluster, str(blobs), barrier)) for _ in range(processes)]
        for process in running:
            process.start()
        await asyncio.to_thread(barrier.wait)
        started = time.perf_counter()
        await _until_all_is_stored(database, running)
        taken_s = time.perf_counter() - started
        for process in running:
            process.terminate()
            process.join()
    return taken_s


async def _until_all_is_stored(database: Database, running: Sequence[BaseProcess]) -> None:
    while await tasks.stored_files(database) < TASKS * len(FILES):
        if not all(process.is_alive() for process in running):
            raise RuntimeError("a collector process has ended")
        await asyncio.sleep(_LOOK_EVERY_S)


def _run(uri: str, cluster: Cluster, blobs: str, barrier: Barrier) -> None:
    """Collect until terminated; only warnings are told, as by whoever measures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(_collect_for_ever(uri, cluster, blobs, barrier))


async def _collect_for_ever(uri: str, cluster: Cluster, blobs: str, barrier: Barrier) -> None:
    shell = SshShell(cluster)
    await shell.run(_HELLO)
    collector = Collector(
        Database(uri),
        open_store(blobs),
        {cluster.name: cluster},
        {cluster.name: AccountShells(cluster, lambda _: shell)},
        renderer="bench",
    )
    barrier.wait()
    await supervision.run(collector.loops(), Pulse(), asyncio.Event())
