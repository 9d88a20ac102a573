"""Whoever writes the same rows at the same time waits for each other, and never in a circle."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from sqlalchemy import text

from scripthut_common.database import Database
from scripthut_common.errors import LeaseLost
from scripthut_outputs.catalog.changes import touch
from scripthut_outputs.catalog.collections import Claim, Collections, want_incomplete
from scripthut_outputs.catalog.keeping import Keeping, Result
from scripthut_outputs.catalog.retention import Retained
from scripthut_outputs.catalog.verifying import Verified
from scripthut_outputs.ledger import FileState, Kind, LedgerRow, OutputsState, Place, Removal
from tests.integration.collector.crowds import due
from tests.integration.collector.scene import CLUSTER

_ROUNDS = 25
_SHA256 = "ab" * 32
_ENDED = "UPDATE outputs.items SET state = 'final', output_dir = '/out', outputs_state = 'incomplete'"
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


class Crowd:
    """Everybody who writes collections and what was collected, in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._collections = Collections(database)
        self._keeping = Keeping(database, "test-1")

    async def collect(self) -> None:
        """Claim, show, renew while it is kept, and give back what is left."""
        claims = await self._collections.claim_due(CLUSTER, limit=100, lease_s=60)
        backwards = claims[::-1]
        kept, left = claims[::2], backwards[::2]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._collections.show_collecting(backwards))
            group.create_task(self._renew(backwards))
            group.create_task(self._finish(kept))
            group.create_task(self._collections.set_aside(left, "stalled"))

    async def _renew(self, claims: list[Claim]) -> None:
        with suppress(LeaseLost):  # all of them are given back by then
            for _ in range(5):
                await self._collections.renew(claims, lease_s=60)

    async def _finish(self, claims: list[Claim]) -> None:
        if claims:
            await self._keeping.finish([_result(claim) for claim in claims])

    async def want(self) -> None:
        """Ask for a run's outputs again."""
        async with self._database.transaction() as connection:
            await want_incomplete(connection, "a", CLUSTER)
            await touch(connection, "a")

    async def repair(self) -> None:
        """Give up a blob and want its tasks; correct what others say of it."""
        await Verified(self._database).correct_size(_SHA256, 2)
        await Verified(self._database).give_up(_SHA256, "lost")

    async def remove(self) -> None:
        """Remove what is old."""
        await Retained(self._database).remove("a", Removal.AGE, "old")


def _result(claim: Claim) -> Result:
    row = LedgerRow(
        place=Place.OUTPUT,
        path=b"f",
        kind=Kind.OTHER,
        state=FileState.STORED,
        attempt=1,
        size_bytes=1,
        modified_at=1.0,
        sha256=_SHA256,
        stored_bytes=1,
        remote_path="/out/f",
    )
    return Result(claim=claim, rows=(row,), state=OutputsState.INCOMPLETE)


async def test_writers_of_the_same_items_never_wait_in_a_circle(database: Database) -> None:
    await due(database, {"a": 100, "b": 100})
    async with database.transaction() as connection:
        await connection.execute(text(_ENDED))
    crowd = Crowd(database)

    async with asyncio.TaskGroup() as group:
        for act in (crowd.collect, crowd.collect, crowd.want, crowd.want, crowd.repair, crowd.remove):
            group.create_task(_again_and_again(act))

    async with database.transaction() as connection:
        assert await connection.scalar(text(_DEADLOCKS)) == 0


async def _again_and_again(act: Callable[[], Awaitable[None]]) -> None:
    for _ in range(_ROUNDS):
        await act()
