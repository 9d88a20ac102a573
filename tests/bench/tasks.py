"""Ended tasks in a log directory and in the catalog: what every bench of the collector begins with."""

import asyncio
import os
import pwd
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import delete, exists, func, insert, select

from scripthut_common import layout, manifest, migrating, supervision
from scripthut_common.clusters import Cluster, CollectionLimits, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.errors import Error
from scripthut_common.events import ItemState
from scripthut_common.supervision import Pulse
from scripthut_outputs.collector import Collector
from scripthut_outputs.ledger import FileState
from scripthut_outputs.migrations import MIGRATIONS
from scripthut_outputs.tables import COLLECTIONS, FILES, ITEMS, RUNS
from tests.testbed.accounts import ALICE
from tests.testbed.postgres import PostgresServer
from tests.testbed.sshd import Sshd

RUN = "bench"
CLUSTER = "bench"
_INSERTED_AT_ONCE = 1000
_LOOK_EVERY_S = 0.02
_PATIENCE_S = 600


def cluster_at(sshd: Sshd, port: int, limits: CollectionLimits) -> Cluster:
    """Describe the server, reached by another port if need be."""
    return Cluster(
        name=CLUSTER,
        scheduler=SchedulerKind.SLURM,
        host=sshd.host,
        port=port,
        user=ALICE,
        key_file=str(sshd.key(ALICE)),
        known_hosts_file=str(sshd.known_hosts),
        collection=limits,
    )


def trust(sshd: Sshd, *ports: int) -> None:
    """Know the server's host key by each of these ports too."""
    public = (sshd.directory / "host_key.pub").read_text()
    sshd.known_hosts.write_text("".join(f"[{sshd.host}]:{port} {public}" for port in (sshd.port, *ports)))


def write_tasks(log_dir: Path, count: int, files: Mapping[str, int]) -> None:
    """Leave what so many tasks leave: files of random bytes, of these sizes by name, and the exit record."""
    for number in range(count):
        task_id = f"t{number}"
        folder = Path(layout.output_dir(str(log_dir), RUN, task_id))
        folder.mkdir(parents=True)
        for name, size_bytes in files.items():
            (folder / name).write_bytes(os.urandom(size_bytes))
        record = Path(layout.manifest_path(str(log_dir), RUN, task_id))
        record.parent.mkdir(exist_ok=True)
        record.write_bytes(exit_record(folder))
    give_to_alice(log_dir)


def exit_record(folder: Path) -> bytes:
    """Write what the wrapper writes of a task that ended well."""
    now = f"{time.time():.3f}".encode()
    fields = [manifest.MAGIC, b"0", b"1", b"1", b"", b"node", now, now, b""]
    for path in sorted(folder.iterdir()):
        found = path.stat()
        fields += [str(found.st_size).encode(), f"{found.st_mtime:.6f}".encode(), os.fsencode(path.name)]
    return b"\0".join([*fields, b""])


def give_to_alice(folder: Path) -> None:
    """Let everything below belong to the account that reads it."""
    owner = pwd.getpwnam(ALICE)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid)


@asynccontextmanager
async def catalog(postgres: PostgresServer) -> AsyncIterator[Database]:
    """Give an empty catalog."""
    async with catalog_at(postgres.databases.create()) as database:
        yield database


@asynccontextmanager
async def catalog_at(uri: str) -> AsyncIterator[Database]:
    """Give the catalog in a database; its tables are made where they are not there."""
    database = Database(uri)
    try:
        await migrating.upgrade(database, MIGRATIONS)
        yield database
    finally:
        await database.close()


async def want(database: Database, log_dir: Path, count: int) -> None:
    """Have nothing in the catalog but so many ended tasks, all of them wanted."""
    items = [item(str(log_dir), f"t{number}", number) for number in range(count)]
    async with database.transaction() as connection:
        await connection.execute(delete(RUNS))
        await connection.execute(insert(RUNS).values(run_id=RUN, name=RUN, cluster=CLUSTER, owner="bench"))
        for start in range(0, count, _INSERTED_AT_ONCE):
            await connection.execute(insert(ITEMS), items[start : start + _INSERTED_AT_ONCE])
        every = select(ITEMS.c.run_id, ITEMS.c.task_id, RUNS.c.cluster, 1, func.now())
        wanted = every.join_from(ITEMS, RUNS, ITEMS.c.run_id == RUNS.c.run_id)
        columns = ["run_id", "task_id", "cluster", "attempt", "due_at"]
        await connection.execute(insert(COLLECTIONS).from_select(columns, wanted))


def item(log_dir: str, task_id: str, position: int) -> dict[str, object]:
    """The row of an item that has ended."""
    return {
        "run_id": RUN,
        "task_id": task_id,
        "task_name": task_id,
        "position": position,
        "attempt": 1,
        "state": ItemState.FINAL,
        "outputs_state": "pending",
        "output_dir": layout.output_dir(log_dir, RUN, task_id),
        "run_summary_path": layout.run_summary_path(log_dir, RUN, task_id),
        "stdout_path": layout.stdout_path(log_dir, RUN, task_id),
        "stderr_path": layout.stderr_path(log_dir, RUN, task_id),
    }


async def collect(collector: Collector, database: Database, count: int) -> float:
    """Collect as in production, by all loops of a collector, until nothing is wanted; give the seconds it took.

    Raises:
        Error: not so many files were stored; the time means nothing.
    """
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        started = time.perf_counter()
        group.create_task(supervision.run(collector.loops(), Pulse(), stop))
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while await _is_wanted(database):  # noqa: ASYNC110  rows set no event
                    await asyncio.sleep(_LOOK_EVERY_S)
            taken_s = time.perf_counter() - started
        finally:
            stop.set()
    await check_stored(database, count)
    return taken_s


async def _is_wanted(database: Database) -> bool:
    wanted = select(exists().where(COLLECTIONS.c.due_at.is_not(None)))
    async with database.transaction() as connection:
        return bool(await connection.scalar(wanted))


async def stored_files(database: Database) -> int:
    """Count the files that the ledger calls stored."""
    stored = select(func.count()).select_from(FILES).where(FILES.c.state == FileState.STORED)
    async with database.transaction() as connection:
        return (await connection.execute(stored)).scalar_one()


async def check_stored(database: Database, count: int) -> None:
    """See that everything was collected.

    Raises:
        Error: it was not; the time means nothing.
    """
    found = await stored_files(database)
    if found != count:
        raise Error(f"{found} files were stored, not {count}")
