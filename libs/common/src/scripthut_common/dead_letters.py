"""Messages that a queue of the in-process bus could not take, kept for people; RabbitMQ has dead-letter queues."""

from sqlalchemy import Column, Index, LargeBinary, MetaData, Table, Text, func
from sqlalchemy.dialects.postgresql import insert

from .bus import Message, Queue
from .database import Database, UtcTime, storable


def define(metadata: MetaData) -> Table:
    """Add the `dead_letters` table to a service's tables."""
    return Table(
        "dead_letters",
        metadata,
        Column("queue", Text, primary_key=True),
        Column("message_id", Text, primary_key=True),
        Column("exchange", Text, nullable=False),
        Column("routing_key", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("reason", Text, nullable=False),
        Column("buried_at", UtcTime, nullable=False, server_default=func.now()),
        Index(None, "buried_at"),
    )


class DeadLetters:
    """The `dead_letters` table of one service."""

    def __init__(self, database: Database, table: Table) -> None:
        self._database = database
        self._table = table

    async def bury(self, queue: Queue, message: Message, reason: str) -> None:
        """Keep a message with the reason; once.

        Raises:
            DatabaseUnavailable: it is not kept yet.
        """
        row = {
            "queue": queue.name,
            "message_id": message.id,
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            "body": message.body,
            "reason": storable(reason),
        }
        async with self._database.transaction() as connection:
            await connection.execute(insert(self._table).values(row).on_conflict_do_nothing())
