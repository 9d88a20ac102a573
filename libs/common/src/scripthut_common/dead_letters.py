"""Messages that a queue of the in-process bus could not take, kept for people; RabbitMQ has dead-letter queues."""

from collections.abc import Awaitable, Callable

from sqlalchemy import Column, Index, LargeBinary, MetaData, Table, Text, delete, func, select
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
        """Keep a message with the reason; once, with the latest.

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
            added = insert(self._table).values(row)
            again = {"reason": added.excluded.reason, "buried_at": func.now()}
            await connection.execute(added.on_conflict_do_update(index_elements=["queue", "message_id"], set_=again))

    async def replay(self, give: Callable[[str, Message], Awaitable[None]]) -> int:
        """Give every message to its queue once more; return how many were not buried again.

        Args:
            give: gives a message to the queue of this name, and returns when it was taken or buried.

        Raises:
            BusUnavailable: the rest stays.
            DatabaseUnavailable: the rest stays.
        """
        of_table = self._table.c
        async with self._database.transaction() as connection:
            rows = (await connection.execute(select(self._table).order_by(of_table.buried_at))).all()
        taken = 0
        for row in rows:
            message = Message(
                id=row.message_id, exchange=row.exchange, routing_key=row.routing_key, body=row.body, mandatory=False
            )
            await give(row.queue, message)
            # One that was buried again has another time.
            same = (of_table.queue == row.queue, of_table.message_id == row.message_id)
            async with self._database.transaction() as connection:
                gone = await connection.execute(delete(self._table).where(*same, of_table.buried_at == row.buried_at))
            taken += gone.rowcount
        return taken
