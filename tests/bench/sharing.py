"""A burst of 10,000 tasks in round trips and memory; two collector processes against one, far away."""

import asyncio
import os
import pwd
import resource
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from sqlalchemy import text

from scripthut_common import layout, migrating, supervision
from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.shell.ssh import SshShell
from scripthut_common.supervision import Pulse
from scripthut_outputs.blobs import open_store
from scripthut_outputs.catalog.collections import CHANNEL
from scripthut_outputs.collector import Collector
from scripthut_outputs.migrations import MIGRATIONS
from tests.bench.table import Row
from tests.testbed.accounts import ALICE
from tests.testbed.delay import DelayedPort
from tests.testbed.postgres import PostgresServer
from tests.testbed.sshd import Sshd

BURST_TASKS = 10_000
SHARED_TASKS = 2_000
FILES_PER_TASK = 5
FILE_BYTES = 200
DELAY_MS = 50
_TASKS = (
    "INSERT INTO outputs.items (run_id, task_id, task_name, position, state, outcome, outputs_state, output_dir, "
    "run_summary_path, stdout_path, stderr_path) SELECT :run, 't' || n, 't', n, 'final', 'succeeded', 'pending', "
    ":log || '/outputs/' || :run || '/t' || n, :log || '/outputs/' || :run || '/_run/t' || n || '.md', "
    ":log || '/o' || n, :log || '/e' || n FROM generate_series(0, :count - 1) AS n"
)
_WANTED = (
    "INSERT INTO outputs.collections (run_id, task_id, cluster, attempt, due_at) "
    "SELECT run_id, task_id, 'bench', 1, now() FROM outputs.items WHERE run_id = :run"
)


async def measure() -> list[Row]:
    """Measure the burst over loopback, the sharing through a proxy that holds every byte back in both directions."""
    with PostgresServer() as postgres, Sshd() as sshd, DelayedPort(sshd.port, DELAY_MS) as far:
        scene = _Scene(postgres.databases.create(), sshd)
        scene.trust(sshd.port, far.port)
        await migrating.upgrade(scene.database, MIGRATIONS)
        scene.write("burst", BURST_TASKS)
        burst_s, trips, growth_kib = await scene.collect("burst", BURST_TASKS, sshd.port, processes=1)
        scene.write("shared", SHARED_TASKS)
        alone_s, _, _ = await scene.collect("shared", SHARED_TASKS, far.port, processes=1)
        together_s, _, _ = await scene.collect("shared", SHARED_TASKS, far.port, processes=2)
        await scene.database.close()
    burst = f"{BURST_TASKS} tasks of {FILES_PER_TASK} files at once, {burst_s:.0f} s, {growth_kib / 1024:.0f} MiB more"
    return [
        Row(what=burst, ours=f"{trips} trips", peer="200 trips", ratio=trips / 200, target="≤ 1"),
        Row(
            what=f"{SHARED_TASKS} tasks, {DELAY_MS} ms each way, two collectors",
            ours=f"{together_s:.1f} s",
            peer=f"one: {alone_s:.1f} s",
            ratio=alone_s / together_s,
            target="≥ 1.5",
        ),
    ]


class _Scene:
    """Files behind an SSH server and the rows that want them."""

    def __init__(self, database_uri: str, sshd: Sshd) -> None:
        self._uri = database_uri
        self._sshd = sshd
        self._tree = sshd.directory / "crowd"
        self._stores = 0
        self.database = Database(database_uri)

    def trust(self, *ports: int) -> None:
        """Let the server be known by these ports."""
        key = (self._sshd.directory / "host_key.pub").read_text()
        (self._sshd.directory / "known_hosts").write_text(
            "".join(f"[{self._sshd.host}]:{port} {key}" for port in ports)
        )

    def write(self, run_id: str, tasks: int) -> None:
        """Write what the tasks leave."""
        owner = pwd.getpwnam(ALICE)
        for number in range(tasks):
            folder = Path(layout.output_dir(str(self._tree), run_id, f"t{number}"))
            folder.mkdir(parents=True)
            for file in range(FILES_PER_TASK):
                path = folder / f"f{file}"
                path.write_bytes(os.urandom(FILE_BYTES))
                os.chown(path, owner.pw_uid, owner.pw_gid)
            os.chown(folder, owner.pw_uid, owner.pw_gid)

    async def collect(self, run_id: str, tasks: int, port: int, *, processes: int) -> tuple[float, int, int]:
        """Collect a run by so many processes; give seconds, round trips, and KiB by which the first has grown."""
        self._stores += 1
        workers = [self._worker(port) for _ in range(processes)]
        for worker in workers:
            await asyncio.to_thread(_line, worker)
        async with self.database.transaction() as connection:
            await connection.execute(text("DELETE FROM outputs.runs"))
            insert = "INSERT INTO outputs.runs (run_id, name, cluster, owner) VALUES (:run, :run, 'bench', 'bench')"
            await connection.execute(text(insert), {"run": run_id})
            await connection.execute(text(_TASKS), {"run": run_id, "log": str(self._tree), "count": tasks})
            await connection.execute(text(_WANTED), {"run": run_id})
            await connection.execute(text("SELECT pg_notify(:channel, 'bench')"), {"channel": CHANNEL})
        started = time.perf_counter()
        while await self._missing():  # noqa: ASYNC110  rows set no event
            await asyncio.sleep(0.02)
        taken_s = time.perf_counter() - started
        told = []
        for worker in workers:
            worker.terminate()
            told.append(await asyncio.to_thread(_line, worker))
            await asyncio.to_thread(worker.wait)
        numbers = [[int(word) for word in line.split()] for line in told]
        return taken_s, sum(trips for trips, _ in numbers), numbers[0][1]

    async def _missing(self) -> bool:
        async with self.database.transaction() as connection:
            query = "SELECT EXISTS (SELECT 1 FROM outputs.collections WHERE due_at IS NOT NULL)"
            found: bool = (await connection.execute(text(query))).scalar_one()
            return found

    def _worker(self, port: int) -> subprocess.Popen[str]:
        cluster = Cluster(
            name="bench",
            scheduler=SchedulerKind.SLURM,
            host=self._sshd.host,
            port=port,
            user=ALICE,
            key_file=str(self._sshd.key(ALICE)),
            known_hosts_file=str(self._sshd.known_hosts),
        )
        argv = [self._uri, str(self._sshd.directory / f"store{self._stores}"), msgspec.json.encode(cluster).decode()]
        return subprocess.Popen([sys.executable, "-m", __name__, *argv], stdout=subprocess.PIPE, text=True)


def _line(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline()


async def work(database_uri: str, store: str, described: str) -> None:
    """Collect until SIGTERM; then say how many round trips that took and by how many KiB memory has grown."""
    cluster = msgspec.json.decode(described, type=Cluster)
    database, shell, stop = Database(database_uri), SshShell(cluster), asyncio.Event()
    collector = Collector(database, open_store(store), {"bench": cluster}, {"bench": shell}, renderer="bench")
    supervision.stop_on_signals(stop)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with asyncio.TaskGroup() as group:
        group.create_task(supervision.run(collector.loops(), Pulse(), stop))
        await asyncio.sleep(2)  # it listens, and the others see it
        print("ready", flush=True)
    print(shell.commands_run, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib, flush=True)
    collector.close()
    await shell.close()
    await database.close()


if __name__ == "__main__":
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(work(*sys.argv[1:]))
