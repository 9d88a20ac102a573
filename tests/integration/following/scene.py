"""A cluster on which tasks run, a run that somebody has open, and a process that follows it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from scripthut_common.events import ItemState
from scripthut_outputs.catalog.changes import Cache
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.following import Followers, Pace
from scripthut_outputs.tables import ITEMS, RUNS, WATCHED
from tests.integration.collector.scene import Scene

GRACE_S = 86_400.0


class FollowedScene(Scene):
    """A scene whose tasks run."""

    followers: Followers

    def follow(self, **settings: Any) -> Followers:
        """Begin to follow, as another process would; `settings` are of the cluster."""
        self.cluster = msgspec.structs.replace(self.cluster, **{"follow_interval_s": 1e-6, **settings})
        return Followers(
            self.database,
            self.blobs,
            {self.name: self.cluster},
            {self.name: self.shell},
            renderer="test-1",
            grace_s=GRACE_S,
            pace=Pace(spacing_s=0.0),
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
            run = {"run_id": run_id, "name": run_id, "cluster": self.name, "owner": "alice"}
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
