"""Collecting 2,000 files of 20 KiB from 400 tasks, to durable blobs and rows, against the raw `ssh … tar | tar`."""

import asyncio
import os
import pwd
import statistics
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import delete, func, insert, select

from scripthut_common import layout, migrating
from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import ItemState
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.ssh import SshShell
from scripthut_outputs.blobs import open_store
from scripthut_outputs.collector import Collector
from scripthut_outputs.migrations import MIGRATIONS
from scripthut_outputs.tables import COLLECTIONS, ITEMS, RUNS
from tests.bench import tasks
from tests.bench.table import REPETITIONS, Row
from tests.testbed.accounts import ALICE
from tests.testbed.delay import DelayedPort
from tests.testbed.exit_records import write_record
from tests.testbed.postgres import PostgresServer
from tests.testbed.sshd import Sshd

TASKS = 400
FILES_PER_TASK = 5
FILE_BYTES = 20 * 1024
DELAY_MS = 50
RUN = "bench"


async def measure() -> list[Row]:
    """Measure over loopback, and through a proxy that holds every byte back in both directions."""
    with PostgresServer() as postgres, Sshd() as sshd, DelayedPort(sshd.port, DELAY_MS) as far:
        tree = sshd.directory / "tree"
        _write_tree(tree)
        (sshd.directory / "known_hosts").write_text("".join(_host_key(sshd, port) for port in (sshd.port, far.port)))
        near_bench = _Bench(sshd, sshd.port, tree, sshd.directory / "near")
        far_bench = _Bench(sshd, far.port, tree, sshd.directory / "far")
        async with _catalog(postgres) as database:
            what = f"collect {TASKS * FILES_PER_TASK} files of {FILE_BYTES // 1024} KiB, {TASKS} tasks"
            return [
                *await near_bench.rows(database, f"{what}, loopback SSH", target="≤ 3"),
                *await far_bench.rows(database, f"{what}, {DELAY_MS} ms each way", target="≤ 1.5"),
            ]


class _Bench:
    """Both contestants on one way to the tree, in turns.

    Nothing is removed between repetitions: ext4 makes files slowly where many were removed a moment ago.
    """

    def __init__(self, sshd: Sshd, port: int, tree: Path, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._tree = tree
        self._ssh = [word if word != str(sshd.port) else str(port) for word in sshd.command(ALICE)]
        self._cluster = Cluster(
            name="bench",
            scheduler=SchedulerKind.SLURM,
            host=sshd.host,
            port=port,
            user=ALICE,
            key_file=str(sshd.key(ALICE)),
            known_hosts_file=str(sshd.known_hosts),
        )

    async def rows(self, database: Database, what: str, *, target: str) -> list[Row]:
        """Measure; once against a connection that tar's ssh opens itself, once against one that is open already."""
        shell = SshShell(self._cluster)
        master = [*self._ssh[:1], "-S", str(self._folder / "open"), *self._ssh[1:]]
        opened = subprocess.Popen([*master[:1], "-M", "-N", *master[1:]])  # noqa: ASYNC220  it returns at once
        ours, fresh, multiplexed = [], [], []
        try:
            for number in range(REPETITIONS + 1):
                fresh.append(await asyncio.to_thread(self._tar, self._ssh, f"fresh{number}"))
                multiplexed.append(await asyncio.to_thread(self._tar, master, f"open{number}"))
                ours.append(await self._collect(database, shell, number))
        finally:
            opened.terminate()
            await asyncio.to_thread(opened.wait)
            await shell.close()
        return [
            _row(what, ours, fresh, "raw tar", target),
            _row(what, ours, multiplexed, "raw tar, connection open", "none"),
        ]

    def _tar(self, ssh: list[str], name: str) -> float:
        destination = self._folder / name
        destination.mkdir()
        started = time.perf_counter()
        with subprocess.Popen([*ssh, f"tar cf - -C {self._tree} outputs"], stdout=subprocess.PIPE) as sending:
            subprocess.run(["tar", "xf", "-", "-C", destination], stdin=sending.stdout, check=True)
        return time.perf_counter() - started

    async def _collect(self, database: Database, shell: SshShell, number: int) -> float:
        await _want(database, self._tree)
        blobs = open_store(str(self._folder / f"blobs{number}"))
        name = self._cluster.name
        collector = Collector(
            database,
            blobs,
            {name: self._cluster},
            {name: AccountShells(self._cluster, lambda _: shell)},
            renderer="bench",
        )
        try:
            return await tasks.collect(collector, database, TASKS * FILES_PER_TASK)
        finally:
            collector.close()


def _row(what: str, ours: list[float], peers: list[float], peer: str, target: str) -> Row:
    """The first repetition warms up and does not count."""
    our_s, peer_s = statistics.median(ours[1:]), statistics.median(peers[1:])
    return Row(what=what, ours=f"{our_s:.2f} s", peer=f"{peer}: {peer_s:.2f} s", ratio=our_s / peer_s, target=target)


def _write_tree(tree: Path) -> None:
    for task in range(TASKS):
        folder = Path(layout.output_dir(str(tree), RUN, f"t{task}"))
        folder.mkdir(parents=True)
        for number in range(FILES_PER_TASK):
            (folder / f"plot-{number}.png").write_bytes(os.urandom(FILE_BYTES))
        write_record(str(tree), RUN, f"t{task}")
    owner = pwd.getpwnam(ALICE)
    for path in (tree, *tree.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid)


def _host_key(sshd: Sshd, port: int) -> str:
    return f"[{sshd.host}]:{port} {(sshd.directory / 'host_key.pub').read_text()}"


@asynccontextmanager
async def _catalog(postgres: PostgresServer) -> AsyncIterator[Database]:
    database = Database(postgres.databases.create())
    try:
        await migrating.upgrade(database, MIGRATIONS)
        yield database
    finally:
        await database.close()


async def _want(database: Database, tree: Path) -> None:
    """Have nothing in the catalog but the ended tasks, all of them wanted."""
    log_dir = str(tree)
    items = [
        {
            "run_id": RUN,
            "task_id": f"t{number}",
            "task_name": f"t{number}",
            "position": number,
            "state": ItemState.FINAL,
            "outputs_state": "pending",
            "output_dir": layout.output_dir(log_dir, RUN, f"t{number}"),
            "run_summary_path": layout.run_summary_path(log_dir, RUN, f"t{number}"),
            "stdout_path": layout.stdout_path(log_dir, RUN, f"t{number}"),
            "stderr_path": layout.stderr_path(log_dir, RUN, f"t{number}"),
        }
        for number in range(TASKS)
    ]
    async with database.transaction() as connection:
        await connection.execute(delete(RUNS))
        await connection.execute(insert(RUNS).values(run_id=RUN, name=RUN, cluster="bench", owner="bench"))
        await connection.execute(insert(ITEMS), items)
        every = select(ITEMS.c.run_id, ITEMS.c.task_id, RUNS.c.cluster, 1, func.now())
        wanted = every.join_from(ITEMS, RUNS, ITEMS.c.run_id == RUNS.c.run_id)
        columns = ["run_id", "task_id", "cluster", "attempt", "due_at"]
        await connection.execute(insert(COLLECTIONS).from_select(columns, wanted))
