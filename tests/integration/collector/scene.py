"""A cluster's log directory with tasks in it, and a catalog that wants their outputs."""

import asyncio
import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from scripthut_common import events, layout
from scripthut_common.clusters import Cluster, CollectionLimits, SchedulerKind, Visibility
from scripthut_common.database import Database
from scripthut_common.events import ItemState, Outcome, OutputsCollected
from scripthut_common.shell import RemoteShell
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.supervision import Step
from scripthut_outputs.blobs import BlobStore, open_store
from scripthut_outputs.catalog.collections import want
from scripthut_outputs.collector import Collector, Pace
from scripthut_outputs.ledger import Place
from scripthut_outputs.tables import CLUSTERS, COLLECTIONS, FILES, ITEMS, OUTBOX, RUNS
from tests.testbed.exit_records import write_record

CLUSTER = "testbed"


class Scene:
    """Tasks in a log directory and the rows that name them.

    Attributes:
        log_dir: where tasks write, as the cluster sees it.
        run_columns: what the rows of runs that are made next have besides.
        blobs: the store that collecting fills.
    """

    def __init__(
        self, database: Database, folder: Path, shell: RemoteShell, *, owner: str | None = None, name: str = CLUSTER
    ) -> None:
        self.name = name
        self.database = database
        self.shell = shell
        self._owner = owner
        self.folder = folder
        self.run_columns: dict[str, object] = {}
        self.log_dir = folder / "logs"
        self.log_dir.mkdir(parents=True)
        self.blobs: BlobStore = open_store(str(folder / "blobs"))
        self.cluster = Cluster(name=name, scheduler=SchedulerKind.LOCALHOST, log_dir=str(self.log_dir))
        self.collector = self.open_collector()

    @property
    def shells(self) -> AccountShells:
        """The ways to the cluster."""
        return AccountShells(self.cluster, lambda _: self.shell)

    def open_collector(self, **options: Any) -> Collector:
        """Make a collector, as another process would; `options` are of its pace."""
        clusters, shells, pace = {self.name: self.cluster}, {self.name: self.shells}, Pace(**options)
        return Collector(self.database, self.blobs, clusters, shells, renderer="test-1", pace=pace)

    def reopen(self, **options: Any) -> None:
        """Collect with a new process from now on."""
        self.collector.close()
        self.collector = self.open_collector(**options)

    def be_patient(self, **patience: float) -> None:
        """Wait for what is not visible yet by other settings from now on."""
        self.cluster = msgspec.structs.replace(self.cluster, visibility=Visibility(**patience))
        self.reopen()

    def limit(self, **limits: int) -> None:
        """Collect under other limits from now on."""
        self.cluster = msgspec.structs.replace(self.cluster, collection=CollectionLimits(**limits))
        self.reopen()

    async def task(
        self,
        task_id: str,
        files: Mapping[bytes, bytes] = {},
        *,
        run_id: str = "r1",
        fragment: bytes | None = None,
        stdout: bytes | None = b"",
        stderr: bytes | None = b"",
        is_recorded: bool = True,
    ) -> Path:
        """Write what an ended task leaves, and want it; give its output directory.

        `is_recorded`: its wrapper lived to write the exit record.
        """
        output_dir = self.leave(run_id, task_id, files, fragment, stdout, stderr)
        if is_recorded:
            self.record(task_id, run_id=run_id)
        await self.want(run_id, task_id)
        return output_dir

    def leave(
        self,
        run_id: str,
        task_id: str,
        files: Mapping[bytes, bytes],
        fragment: bytes | None,
        stdout: bytes | None,
        stderr: bytes | None,
    ) -> Path:
        """Write what an ended task leaves."""
        log_dir = str(self.log_dir)
        output_dir = Path(layout.output_dir(log_dir, run_id, task_id))
        output_dir.mkdir(parents=True, exist_ok=True)
        for name, body in files.items():
            self.write(output_dir, name, body)
        singles = {
            layout.run_summary_path(log_dir, run_id, task_id): fragment,
            layout.stdout_path(log_dir, run_id, task_id): stdout,
            layout.stderr_path(log_dir, run_id, task_id): stderr,
        }
        for path, content in singles.items():
            if content is not None:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).write_bytes(content)
        if self._owner:
            self.give_away()
        return output_dir

    def record(
        self,
        task_id: str,
        seen: Mapping[bytes, int] | None = None,
        *,
        run_id: str = "r1",
        attempt: int = 1,
        job_id: str = "42",
        flags: bytes = b"",
    ) -> Path:
        """Write the exit record as the wrapper does; it names what is there now, or `seen`: sizes by path."""
        files = None if seen is None else [(path, size_bytes, b"1.5") for path, size_bytes in seen.items()]
        record = write_record(str(self.log_dir), run_id, task_id, files, attempt=attempt, job_id=job_id, flags=flags)
        if self._owner:
            self.give_away()
        return record

    def give_away(self) -> None:
        """Let everything in the log directory belong to the account that reads it."""
        account = pwd.getpwnam(str(self._owner))
        for path in (self.log_dir, *self.log_dir.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)

    @staticmethod
    def write(folder: Path, name: bytes, body: bytes) -> Path:
        """Write a file whose name may be any bytes."""
        path = Path(folder, name.decode("utf-8", "surrogateescape"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return path

    async def want(self, run_id: str, task_id: str, *, attempt: int = 1, **columns: object) -> None:
        """Have an ended item in the catalog whose outputs are wanted."""
        item = self.item_of(run_id, task_id) | {"attempt": attempt, **columns}
        async with self.database.transaction() as connection:
            run = {"run_id": run_id, "name": run_id, "cluster": self.name, "owner": "alice", **self.run_columns}
            await connection.execute(insert(RUNS).values(run).on_conflict_do_nothing())
            await connection.execute(insert(ITEMS).values(item).on_conflict_do_nothing())
            await want(connection, run_id, task_id, attempt, self.name)

    def item_of(self, run_id: str, task_id: str) -> dict[str, object]:
        """The row of an item whose task has ended."""
        log_dir = str(self.log_dir)
        return {
            "run_id": run_id,
            "task_id": task_id,
            "task_name": task_id,
            "position": 0,
            "attempt": 1,
            "state": ItemState.FINAL,
            "outcome": Outcome.SUCCEEDED,
            "output_dir": layout.output_dir(log_dir, run_id, task_id),
            "run_summary_path": layout.run_summary_path(log_dir, run_id, task_id),
            "stdout_path": layout.stdout_path(log_dir, run_id, task_id),
            "stderr_path": layout.stderr_path(log_dir, run_id, task_id),
        }

    @property
    def step(self) -> Step:
        """One step of the lane that collects items together."""
        return self.lanes[0]

    @property
    def lanes(self) -> list[Step]:
        """One step of each lane: of that which collects items together, then of those that collect them alone."""
        return [loop.step for loop in self.collector.loops() if loop.name.startswith(f"outputs.collect.{self.name}")]

    async def collect(self) -> None:
        """Collect until nothing is due."""
        while any([await step() for step in self.lanes]):
            pass

    async def cluster_error(self) -> str | None:
        """What pages say of the cluster."""
        query = select(CLUSTERS.c.collection_error).where(CLUSTERS.c.name == self.name)
        async with self.database.transaction() as connection:
            error: str | None = await connection.scalar(query)
        return error

    def temporary_files(self) -> list[Path]:
        """What lies in the store besides blobs."""
        return [path for path in self.folder.glob("blobs/tmp/*/*") if path.is_file()]

    async def make_due(self) -> None:
        """Let what was postponed be due now."""
        async with self.database.transaction() as connection:
            waits = COLLECTIONS.c.due_at.is_not(None)
            await connection.execute(update(COLLECTIONS).where(waits).values(due_at=func.now()))

    async def let_pass(self, seconds: float) -> None:
        """Let so much time be over since all that the catalog remembers of its collections."""
        times = ("due_at", "first_looked_at", "listed_at")
        earlier = {name: COLLECTIONS.c[name] - func.make_interval(0, 0, 0, 0, 0, 0, seconds) for name in times}
        async with self.database.transaction() as connection:
            await connection.execute(update(COLLECTIONS).values(earlier))

    async def ledger(self, task_id: str, place: Place = Place.OUTPUT, run_id: str = "r1") -> dict[bytes, Any]:
        """The rows of one place by path."""
        query = select(FILES).where(FILES.c.run_id == run_id, FILES.c.task_id == task_id, FILES.c.place == place)
        async with self.database.transaction() as connection:
            return {row.path: row for row in await connection.execute(query)}

    async def states(self, task_id: str, run_id: str = "r1") -> dict[bytes, str]:
        """The states of a task's output files by path."""
        return {path: row.state for path, row in (await self.ledger(task_id, run_id=run_id)).items()}

    async def stored(self, task_id: str, place: Place = Place.OUTPUT, run_id: str = "r1") -> dict[bytes, bytes]:
        """What the store holds of one place by path."""
        rows = await self.ledger(task_id, place, run_id)
        return {path: await self.blobs.read(row.sha256) for path, row in rows.items() if row.state == "stored"}

    async def is_collected(self, task_id: str, run_id: str = "r1") -> None:
        """Return once another task has collected it."""
        async with asyncio.timeout(20):
            while (await self.item(task_id, run_id)).outputs_state != "collected":  # noqa: ASYNC110  rows set no event
                await asyncio.sleep(0.02)

    async def item(self, task_id: str, run_id: str = "r1") -> Any:
        """The item's row."""
        query = select(ITEMS).where(ITEMS.c.run_id == run_id, ITEMS.c.task_id == task_id)
        async with self.database.transaction() as connection:
            return (await connection.execute(query)).one()

    async def collection(self, task_id: str, run_id: str = "r1") -> Any:
        """The collection's row."""
        query = select(COLLECTIONS).where(COLLECTIONS.c.run_id == run_id, COLLECTIONS.c.task_id == task_id)
        async with self.database.transaction() as connection:
            return (await connection.execute(query)).one()

    async def told(self) -> list[OutputsCollected]:
        """The events in the outbox, oldest first."""
        async with self.database.transaction() as connection:
            bodies = await connection.scalars(select(OUTBOX.c.body).order_by(OUTBOX.c.number))
        decoded = [events.decode(body) for body in bodies]
        return [event.data for event in decoded if event and isinstance(event.data, OutputsCollected)]
