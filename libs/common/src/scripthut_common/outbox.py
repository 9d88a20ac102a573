"""Events that must leave: written in the transaction that makes them true, published by `relay`.

Published rows stay as the event log for 30 days.
"""

from collections.abc import Sequence
from datetime import timedelta

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from .bus import Message, message_of
from .database import Database, UtcTime
from .events import CloudEvent


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed outbox row. `failures`: how often publishing it failed for its own sake."""

    number: int
    failures: int
    message: Message


def define(metadata: MetaData) -> Table:
    """Add the `outbox` table to a service's tables."""
    table = Table(
        "outbox",
        metadata,
        Column("number", BigInteger, Identity(always=True), primary_key=True),
        Column("message_id", Text, nullable=False, unique=True),
        Column("exchange", Text, nullable=False),
        Column("routing_key", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("mandatory", Boolean, nullable=False),
        Column("added_at", UtcTime, nullable=False, server_default=func.now()),
        Column("claimed_until", UtcTime),
        Column("failures", Integer, nullable=False, server_default="0"),
        Column("error", Text),
        Column("published_at", UtcTime),
    )
    Index("ix_outbox_unpublished", table.c.number, postgresql_where=table.c.published_at.is_(None))
    Index("ix_outbox_added_at", table.c.added_at)
    return table


class Outbox:
    """The `outbox` table of one service."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def add(self, connection: AsyncConnection, events: Sequence[CloudEvent]) -> None:
        """Write events that become true with the caller's transaction; one said before is left as it is."""
        if events:
            rows = [msgspec.structs.asdict(message_of(event)) for event in events]
            for row in rows:
                row["message_id"] = row.pop("id")
            await connection.execute(insert(self._table).on_conflict_do_nothing(), rows)

    async def claim(self, database: Database, *, limit: int, lease_s: float) -> list[Leaving]:
        """Take the oldest unpublished rows for `lease_s` seconds; no transaction stays open."""
        table = self._table
        free = (
            select(table.c.number)
            .where(
                table.c.published_at.is_(None),
                or_(table.c.claimed_until.is_(None), table.c.claimed_until < func.now()),
            )
            .order_by(table.c.number)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        claim = (
            update(table)
            .where(table.c.number.in_(free.scalar_subquery()))
            .values(claimed_until=func.now() + timedelta(seconds=lease_s))
            .returning(
                table.c.number,
                table.c.failures,
                table.c.message_id,
                table.c.exchange,
                table.c.routing_key,
                table.c.body,
                table.c.mandatory,
            )
        )
        async with database.transaction() as connection:
            rows = (await connection.execute(claim)).all()
        return sorted(
            (
                Leaving(
                    number=row.number,
                    failures=row.failures,
                    message=Message(
                        id=row.message_id,
                        exchange=row.exchange,
                        routing_key=row.routing_key,
                        body=row.body,
                        mandatory=row.mandatory,
                    ),
                )
                for row in rows
            ),
            key=lambda leaving: leaving.number,
        )

    async def mark_published(self, database: Database, numbers: Sequence[int]) -> None:
        """Note that these rows have left."""
        await self._update(database, numbers, published_at=func.now(), error=None)

    async def release(self, database: Database, numbers: Sequence[int]) -> None:
        """Give back rows that could not leave through no fault of theirs: the broker was away."""
        await self._update(database, numbers, claimed_until=None)

    async def step_aside(self, database: Database, number: int, *, error: str, delay_s: float) -> None:
        """Let other rows pass one that failed for its own sake; it is due again after `delay_s`."""
        await self._update(
            database,
            [number],
            failures=self._table.c.failures + 1,
            error=error[:2000],
            claimed_until=func.now() + timedelta(seconds=delay_s),
        )

    async def _update(self, database: Database, numbers: Sequence[int], **values: object) -> None:
        if numbers:
            async with database.transaction() as connection:
                await connection.execute(update(self._table).where(self._table.c.number.in_(numbers)).values(**values))
