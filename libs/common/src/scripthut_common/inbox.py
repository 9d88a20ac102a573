"""Events already taken: the row that makes taking one twice harmless. Kept for 30 days."""

from datetime import timedelta

from sqlalchemy import Column, Index, MetaData, Table, Text, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from .database import Database, UtcTime
from .supervision import Loop

_KEPT_DAYS = 30
_PRUNED_AT_ONCE = 10_000
_PRUNE_S = 3600.0


def define(metadata: MetaData) -> Table:
    """Add the `inbox` table to a service's tables."""
    return Table(
        "inbox",
        metadata,
        Column("message_id", Text, primary_key=True),
        Column("taken_at", UtcTime, nullable=False, server_default=func.now()),
        Index(None, "taken_at"),
    )


class Inbox:
    """The `inbox` table of one service."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def take(self, connection: AsyncConnection, message_id: str) -> bool:
        """Note that a message is taken, in the caller's transaction; `False` when it was before."""
        added = await connection.execute(
            insert(self._table)
            .values(message_id=message_id)
            .on_conflict_do_nothing()
            .returning(self._table.c.message_id)
        )
        return added.first() is not None

    def loops(self, database: Database) -> list[Loop]:
        """What a service with an inbox runs: drop old rows."""

        async def step() -> bool:
            return await self.prune(database)

        return [Loop(name=f"{self._table.schema}.inbox-pruning", step=step, interval_s=_PRUNE_S)]

    async def prune(self, database: Database) -> bool:
        """Drop rows older than 30 days; `True` when there may be more."""
        table = self._table
        old = (
            select(table.c.message_id)
            .where(table.c.taken_at < func.now() - timedelta(days=_KEPT_DAYS))
            .order_by(table.c.taken_at)
            .limit(_PRUNED_AT_ONCE)
        )
        async with database.transaction() as connection:
            dropped = await connection.execute(delete(table).where(table.c.message_id.in_(old.scalar_subquery())))
        return dropped.rowcount == _PRUNED_AT_ONCE
