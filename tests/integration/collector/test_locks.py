"""Whoever writes the same rows at the same time waits for each other, and never in a circle."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.catalog.verifying import Verified
from tests.integration.collector.crowds import due
from tests.integration.collector.scene import CLUSTER

_HOLD = "SELECT 1 FROM outputs.{table} WHERE task_id = :task FOR UPDATE"
_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
_FILES = (
    "INSERT INTO outputs.files (run_id, task_id, place, path, kind, state, sha256, stored_bytes, remote_path, attempt) "
    "SELECT run_id, task_id, 'output', 'f', 'other', 'stored', 'ab', 1, '/f', 1 FROM outputs.items ORDER BY task_id"
)


async def test_renewing_waits_for_nobody(database: Database) -> None:
    await due(database, {"a": 10})
    collections = Collections(database)
    claims = await collections.claim_due(CLUSTER, limit=10, lease_s=60)

    async with database.transaction() as other:
        await hold(other, "collections", "t0")
        async with asyncio.timeout(10):
            await collections.renew(claims, lease_s=6000)
            await collections.renew([claim for claim in claims if claim.task_id == "t0"], lease_s=6000)

    assert await renewed(database) == {f"t{number}" for number in range(1, 10)}


async def test_showing_locks_items_in_their_order(database: Database) -> None:
    await due(database, {"a": 10})
    await put_last(database, "t0")
    collections = Collections(database)
    claims = await collections.claim_due(CLUSTER, limit=10, lease_s=60)

    async with database.transaction() as other:
        await hold(other, "items", "t0")
        async with waiting(database, collections.show_collecting(claims)):
            await hold(other, "items", "t1")
            await other.rollback()


async def test_correcting_a_size_waits_for_whoever_writes_an_items_files(database: Database) -> None:
    await due(database, {"a": 2})
    async with database.transaction() as connection:
        await connection.execute(text(_FILES))

    async with database.transaction() as other:
        await hold(other, "items", "t0")
        await hold(other, "items", "t1")
        await hold(other, "files", "t1")
        async with waiting(database, Verified(database).correct_size("ab", 2)):
            await hold(other, "files", "t0")
            await other.rollback()


async def hold(connection: AsyncConnection, table: str, task_id: str) -> None:
    """Lock one row of a task."""
    await connection.execute(text(_HOLD.format(table=table)), {"task": task_id})


@asynccontextmanager
async def waiting(database: Database, work: Awaitable[None]) -> AsyncIterator[None]:
    """Let something be done that waits for a lock; it has to end once nobody holds any."""
    async with asyncio.TaskGroup() as group, asyncio.timeout(20):
        group.create_task(_do(work))
        while not await _count_waiting(database):  # noqa: ASYNC110  locks set no event
            await asyncio.sleep(0.02)
        yield


async def _do(work: Awaitable[None]) -> None:
    await work


async def _count_waiting(database: Database) -> int:
    async with database.transaction() as connection:
        count: int = (await connection.execute(text(_WAITS))).scalar_one()
    return count


async def put_last(database: Database, task_id: str) -> None:
    """Let an item stand behind all others, in its run and in its table, and nothing be shown of any yet."""
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE outputs.items SET outputs_state = 'pending'"))
        last = text("UPDATE outputs.items SET position = 99 WHERE task_id = :task")
        await connection.execute(last, {"task": task_id})


async def renewed(database: Database) -> set[str]:
    """Whose leases last for more than an hour."""
    query = "SELECT task_id FROM outputs.collections WHERE lease_until > now() + interval '1 hour'"
    async with database.transaction() as connection:
        return set(await connection.scalars(text(query)))
