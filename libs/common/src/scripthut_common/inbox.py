"""Events already taken: the row that makes taking one twice harmless."""

from sqlalchemy import Column, Index, MetaData, Table, Text, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from .database import UtcTime


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
