"""A cluster on which tasks run, a run that somebody has open, and a process that follows it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.events import ItemState
from scripthut_outputs.catalog.changes import Cache
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.following import Followers, Pace
from scripthut_outputs.tables import FOLLOWERS, ITEMS, RUNS, WATCHED
from tests.integration.collector.scene import Scene

GRACE_S = 86_400.0
_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class FollowedScene(Scene):
    """A scene whose tasks run."""

    followers: Followers

    def follow(self, *, max_names: int = 20_000, lease_s: float = 30.0, **settings: Any) -> Followers:
        """Begin to follow, as another process would; `settings` are of the cluster."""
        self.cluster = msgspec.structs.replace(self.cluster, **{"follow_interval_s": 1e-6, **settings})
        return Followers(
            self.database,
            self.blobs,
            {self.name: self.cluster},
            {self.name: self.shells},
            renderer="test-1",
            grace_s=GRACE_S,
            pace=Pace(spacing_s=0.0, max_names=max_names, lease_s=lease_s),
        )

    async def runs(
        self,
        task_id: str,
        files: Mapping[bytes, bytes] = {},
        *,
        run_id: str = "r1",
        fragment: bytes | None = None,
        stdout: bytes | None = None,
        stderr: bytes | None = None,
        is_watched: bool = True,
        **columns: Any,
    ) -> Path:
        """Have a running task that has written so much; give its output directory."""
        output_dir = self.leave(run_id, task_id, files, fragment, stdout, stderr)
        item = self.item_of(run_id, task_id) | {"state": ItemState.RUNNING, "outcome": None, **columns}
        async with self.database.transaction() as connection:
            run = {"run_id": run_id, "name": run_id, "cluster": self.name, "owner": "alice", **self.run_columns}
            await connection.execute(insert(RUNS).values(run).on_conflict_do_nothing())
            await connection.execute(insert(ITEMS).values(item).on_conflict_do_nothing())
        if is_watched:
            await self.open(run_id)
        return output_dir

    async def open(self, run_id: str = "r1", seconds: float = 600.0) -> None:
        """Let somebody have the run open for so long."""
        until = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
        row = insert(WATCHED).values(run_id=run_id, until=until)
        async with self.database.transaction() as connection:
            await connection.execute(row.on_conflict_do_update(index_elements=["run_id"], set_={"until": until}))

    async def look(self) -> None:
        """Let one tick be over."""
        await self.look_of(self.followers)

    async def look_of(self, followers: Followers) -> None:
        """Let one tick of another process be over."""
        (loop,) = [loop for loop in followers.loops() if loop.name == f"outputs.follow.{self.name}"]
        await loop.step()

    async def is_shown(self, task_id: str, run_id: str = "r1") -> None:
        """Return once another task has followed it."""
        async with asyncio.timeout(20):
            while (await self.item(task_id, run_id)).followed_at is None:  # noqa: ASYNC110  rows set no event
                await asyncio.sleep(0.02)

    async def change(self, task_id: str, run_id: str = "r1", **columns: Any) -> None:
        """Have an item be what events would have made it."""
        async with self.database.transaction() as connection:
            of_item = (ITEMS.c.run_id == run_id, ITEMS.c.task_id == task_id)
            await connection.execute(update(ITEMS).where(*of_item).values(columns))

    async def end(self, task_id: str, run_id: str = "r1", *, attempt: int = 1) -> None:
        """Let the task have ended, and want its outputs."""
        await self.change(task_id, run_id, state=ItemState.FINAL, outcome="succeeded")
        self.record(task_id, run_id=run_id, attempt=attempt)
        await self.want(run_id, task_id, attempt=attempt)

    async def version(self, run_id: str = "r1") -> int:
        """How often readers were told that the run has changed."""
        async with self.database.transaction() as connection:
            found: int = (await connection.execute(select(RUNS.c.version).where(RUNS.c.run_id == run_id))).scalar_one()
        return found

    @property
    def reading(self) -> Reading:
        """What readers are given."""
        return Reading(self.database, Cache(), renderer="test-1")

    @asynccontextmanager
    async def ending(self, task_id: str) -> AsyncIterator[None]:
        """Let somebody be in the middle of noting that the task has ended."""
        of_item = (ITEMS.c.run_id == "r1", ITEMS.c.task_id == task_id)
        async with self.database.transaction() as connection:
            await connection.execute(update(ITEMS).where(*of_item).values(state=ItemState.FINAL))
            yield

    @staticmethod
    async def hold_item(connection: AsyncConnection, task_id: str) -> None:
        """Lock an item, as everybody does who writes its files."""
        await connection.execute(select(ITEMS.c.task_id).where(ITEMS.c.task_id == task_id).with_for_update())

    async def somebody_waits(self, count: int = 1) -> None:
        """Return once somebody waits for a lock, or so many do."""
        async with asyncio.timeout(20):
            while await self._waiting() < count:  # noqa: ASYNC110  locks set no event
                await asyncio.sleep(0.02)

    async def _waiting(self) -> int:
        async with self.database.transaction() as connection:
            return int(await connection.scalar(text(_WAITS)) or 0)

    async def lease_renewed(self, times: int) -> bool:
        """Return once the lease was renewed so often."""
        seen: set[object] = set()
        async with asyncio.timeout(20):
            while len(seen) <= times:
                async with self.database.transaction() as connection:
                    seen.add(await connection.scalar(select(FOLLOWERS.c.lease_until)))
                await asyncio.sleep(0.02)
        return True
