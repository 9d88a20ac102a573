"""Collecting one large file to a durable blob against `ssh cat > file && sync`, and how much memory it takes."""

import asyncio
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from scripthut_common import layout
from scripthut_common.clusters import CollectionLimits
from scripthut_common.database import Database
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.ssh import SshShell
from scripthut_outputs.blobs import open_store
from scripthut_outputs.collector import Collector
from tests.bench import tasks
from tests.bench.table import Row
from tests.testbed.accounts import ALICE
from tests.testbed.postgres import PostgresServer
from tests.testbed.sshd import Sshd

GIB = 1024**3
MIB = 1024**2
ALLOWED_GROWTH_BYTES = 64 * MIB
_BLOCK_BYTES = 64 * MIB
_LOOK_EVERY_S = 0.05


async def measure() -> list[Row]:
    """Measure 1 GiB in turns with the peer, and 5 GiB for its memory."""
    rows: list[Row] = []
    with PostgresServer() as postgres, Sshd() as sshd:
        async with tasks.catalog(postgres) as database:
            for size_bytes, repetitions in ((GIB, 3), (5 * GIB, 1)):
                rows += await _Bench(sshd, database, size_bytes, repetitions).rows()
    return rows


class _Bench:
    """Both contestants on one file, in turns; what they wrote is removed after each."""

    def __init__(self, sshd: Sshd, database: Database, size_bytes: int, repetitions: int) -> None:
        self._sshd = sshd
        self._database = database
        self._size_bytes = size_bytes
        self._repetitions = repetitions
        self._folder = sshd.directory / f"large-{size_bytes}"
        self._log_dir = self._folder / "logs"
        self._path = Path(layout.output_dir(str(self._log_dir), tasks.RUN, "t0"), "field.bin")

    async def rows(self) -> list[Row]:
        """Measure."""
        await asyncio.to_thread(self._write)
        limits = CollectionLimits(max_file_bytes=self._size_bytes, max_total_bytes=self._size_bytes)
        shell = SshShell(tasks.cluster_at(self._sshd, self._sshd.port, limits))
        ours, peers, growths = [], [], []
        try:
            for number in range(self._repetitions):
                peers.append(await asyncio.to_thread(self._copy, number))
                taken_s, growth_bytes = await self._collect(shell, limits, number)
                ours.append(taken_s)
                growths.append(growth_bytes)
        finally:
            await shell.close()
            self._path.unlink()
        return [self._speed(ours, peers), self._memory(growths)]

    def _speed(self, ours: list[float], peers: list[float]) -> Row:
        our_s, peer_s = statistics.median(ours), statistics.median(peers)
        return Row(
            what=f"collect one file of {self._size_bytes // GIB} GiB",
            ours=f"{self._size_bytes / our_s / MIB:.0f} MiB/s",
            peer=f"ssh cat > file && sync: {self._size_bytes / peer_s / MIB:.0f} MiB/s",
            ratio=peer_s / our_s,
            target="≥ 0.6" if self._size_bytes == GIB else "none",
        )

    def _memory(self, growths: list[int]) -> Row:
        return Row(
            what=f"resident memory, growth while a file of {self._size_bytes // GIB} GiB is collected",
            ours=f"{max(growths) / MIB:.0f} MiB",
            peer=f"allowed: {ALLOWED_GROWTH_BYTES // MIB} MiB",
            ratio=max(growths) / ALLOWED_GROWTH_BYTES,
            target="≤ 1",
        )

    def _write(self) -> None:
        tasks.write_tasks(self._log_dir, 1, {})
        block = os.urandom(_BLOCK_BYTES)
        with self._path.open("wb") as file:
            for _ in range(self._size_bytes // _BLOCK_BYTES):
                file.write(block)
        record = Path(layout.manifest_path(str(self._log_dir), tasks.RUN, "t0"))
        record.write_bytes(tasks.exit_record(self._path.parent))
        tasks.give_to_alice(self._log_dir)
        os.sync()

    def _copy(self, number: int) -> float:
        """Do what a person would do."""
        destination = self._folder / f"copy-{number}"
        started = time.perf_counter()
        with destination.open("wb") as file:
            subprocess.run([*self._sshd.command(ALICE), f"cat {self._path}"], stdout=file, check=True)
        subprocess.run(["sync", destination], check=True)
        taken_s = time.perf_counter() - started
        destination.unlink()
        return taken_s

    async def _collect(self, shell: SshShell, limits: CollectionLimits, number: int) -> tuple[float, int]:
        await tasks.want(self._database, self._log_dir, 1)
        blobs = self._folder / f"blobs-{number}"
        cluster = tasks.cluster_at(self._sshd, self._sshd.port, limits)
        collector = Collector(
            self._database,
            open_store(str(blobs)),
            {cluster.name: cluster},
            {cluster.name: AccountShells(cluster, lambda _: shell)},
            renderer="bench",
        )
        try:
            async with _growing() as growth:
                taken_s = await tasks.collect(collector, self._database, 1)
        finally:
            collector.close()
        await asyncio.to_thread(shutil.rmtree, blobs)
        return taken_s, growth.bytes


class _Growth:
    """How much more resident memory there was at most than at the start."""

    def __init__(self) -> None:
        self.bytes = 0
        self._at_start = _resident_bytes()

    async def watch(self) -> None:
        """Look again and again until cancelled."""
        while True:
            self.bytes = max(self.bytes, _resident_bytes() - self._at_start)
            await asyncio.sleep(_LOOK_EVERY_S)


@asynccontextmanager
async def _growing() -> AsyncIterator[_Growth]:
    growth = _Growth()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(growth.watch())
        try:
            yield growth
        finally:
            watching.cancel()


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
