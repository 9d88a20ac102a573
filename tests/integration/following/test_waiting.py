"""Nobody waits in a circle: those who render, follow, collect, remove and hear of one run at once."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

from sqlalchemy import func, update

from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.catalog.applying import Applying
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.catalog.documents import Documents
from scripthut_outputs.catalog.following import Following, Running, Seen
from scripthut_outputs.catalog.keeping import Keeping, Result
from scripthut_outputs.catalog.retention import Retained
from scripthut_outputs.ledger import FileState, Kind, LedgerRow, OutputsState, Place, Removal
from scripthut_outputs.tables import DOCUMENTS
from tests.integration.following.scene import GRACE_S, FollowedScene
from tests.integration.outputs.house import item, said

SHA256 = "ab" * 32
ROUNDS = 12
TASKS = ("t0", "t1", "t2")


def document() -> LedgerRow:
    """A document that every task has written."""
    return LedgerRow(
        place=Place.OUTPUT,
        path=b"task-summary.md",
        kind=Kind.MARKDOWN,
        state=FileState.STORED,
        size_bytes=5,
        modified_at=1.0,
        sha256=SHA256,
        stored_bytes=5,
        attempt=1,
    )


def seen(running: list[Running]) -> list[Seen]:
    return [Seen(item=one, rows=(document(),)) for one in running]


async def test_who_keeps_a_rendering_and_who_follows_its_task_take_turns(scene: FollowedScene) -> None:
    following, lease = Following(scene.database, "test-1", grace_s=GRACE_S), uuid4()
    documents = Documents(scene.database, "test-1")
    for task_id in TASKS:
        await scene.runs(task_id)
    running = await following.running(scene.name)
    await following.hold(scene.name, lease, lease_s=60)
    await following.keep(scene.name, lease, seen(running))
    claimed = await documents.claim(lease_s=60)
    assert claimed is not None

    async with asyncio.TaskGroup() as group, scene.database.transaction() as connection:
        await scene.hold_item(connection, "t0")
        group.create_task(documents.keep(claimed, "<p>html</p>", None))
        await scene.somebody_waits()
        (later,) = [one for one in running if one.task_id == "t1"]
        kept = group.create_task(following.keep(scene.name, lease, seen([later])))
        await scene.somebody_waits(2)

    assert kept.result() == {("r1", "t1")}


class Everybody:
    """Who writes to one run, each in its own process as a rule."""

    def __init__(self, scene: FollowedScene) -> None:
        self._scene = scene
        self._lease = uuid4()
        self._following = Following(scene.database, "test-1", grace_s=GRACE_S)
        self._documents = Documents(scene.database, "test-1")
        self._collections = Collections(scene.database)
        self._keeping = Keeping(scene.database, "test-1")
        self._retained = Retained(scene.database)
        self._applying = Applying(scene.database)

    async def hear(self, number: int) -> None:
        """Take events of tasks that run."""
        told = {"owner": "alice", "state": ItemState.RUNNING, "sequence": number + 2}
        for task_id in TASKS:
            await self._applying.apply(said(item(task_id, "r1", cluster=self._scene.name, **told)))

    async def follow(self, _: int) -> None:
        """Write what they have written."""
        await self._following.hold(self._scene.name, self._lease, lease_s=600)
        running = await self._following.running(self._scene.name)
        await self._following.keep(self._scene.name, self._lease, seen(running))

    async def render(self, _: int) -> None:
        """Render what they have all written, and want it once more."""
        claimed = await self._documents.claim(lease_s=60)
        if claimed is not None:
            await self._documents.keep(claimed, "<p>html</p>", None)
        async with self._scene.database.transaction() as connection:
            await connection.execute(update(DOCUMENTS).values(due_at=func.now()))

    async def collect(self, _: int) -> None:
        """Collect a task that has ended, again and again."""
        await self._scene.want("r1", "ended")
        claims = await self._collections.claim_due(self._scene.name, limit=10, lease_s=60)
        await self._collections.show_collecting(claims)
        rows = (document(),)
        await self._keeping.finish([Result(claim=one, rows=rows, state=OutputsState.COLLECTED) for one in claims])

    async def remove(self, _: int) -> None:
        """Remove what may go."""
        await self._retained.remove("r1", Removal.AGE, "too old")


async def test_everybody_at_once_comes_to_an_end(scene: FollowedScene) -> None:
    everybody = Everybody(scene)
    for task_id in (*TASKS, "ended"):
        await scene.runs(task_id)
    await scene.change("ended", state=ItemState.FINAL, outcome=Outcome.SUCCEEDED)

    async def repeat(work: Callable[[int], Awaitable[None]]) -> None:
        for number in range(ROUNDS):
            await work(number)

    async with asyncio.TaskGroup() as group:
        works = (everybody.follow, everybody.render, everybody.collect, everybody.remove)
        for work in (everybody.hear, everybody.hear, *works):
            group.create_task(repeat(work))

    assert (await scene.item("ended")).outputs_state == OutputsState.COLLECTED
    assert await scene.version() >= 2 * ROUNDS
