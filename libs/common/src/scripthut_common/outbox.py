"""Events that must leave: written in the transaction that makes them true, published by `relay`.

Published rows stay as the event log for 30 days.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    bindparam,
    delete,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from .bus import EVENTS, Message, message_of
from .database import Database, UtcTime, notify, storable
from .events import CloudEvent

_KEPT_DAYS = 30
_PRUNED_AT_ONCE = 10_000
_SEARCH_TIMEOUT_S = 600.0


class _OfRun(msgspec.Struct):
    run_id: str = ""


class _Said(msgspec.Struct):
    """As much of an event as tells its run."""

    data: _OfRun


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed outbox row. `failures`: how often publishing it failed for its own sake."""

    number: int
    failures: int
    message: Message


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """A row that failed for its own sake and lets others pass."""

    number: int
    error: str
    delay_s: float


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
        self._insert = insert(table).on_conflict_do_nothing()

    @property
    def owner(self) -> str:
        """The service whose events these are, by its schema."""
        return self._table.schema or "public"

    @property
    def channel(self) -> str:
        """Notified when events were added, with the commit that makes them true."""
        return f"{self.owner}_outbox"

    async def add(self, connection: AsyncConnection, events: Sequence[CloudEvent]) -> None:
        """Write events that become true with the caller's transaction; one said before is left as it is."""
        if not events:
            return
        added = await connection.execute(self._insert, [_values(message_of(event)) for event in events])
        if added.rowcount:
            await notify(connection, self.channel)

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
            .cte("free")
        )
        claim = (
            update(table)
            .where(table.c.number == free.c.number)
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
        return sorted(map(_leaving, rows), key=lambda leaving: leaving.number)

    async def settle(
        self, database: Database, *, published: Sequence[int], waiting: Sequence[int], aside: Sequence[Aside]
    ) -> None:
        """Note what became of claimed rows: they left; the bus was away; they failed for their own sake."""
        async with database.transaction() as connection:
            await self._update(connection, published, {"published_at": func.now(), "error": None})
            await self._update(connection, waiting, {"claimed_until": None})
            for row in aside:
                values = {
                    "failures": self._table.c.failures + 1,
                    "error": storable(row.error),
                    "claimed_until": func.now() + timedelta(seconds=row.delay_s),
                }
                await self._update(connection, [row.number], values)

    async def of_run(
        self, database: Database, run_id: str, *, since: datetime | None = None, at_once: int = 500
    ) -> AsyncIterator[list[Message]]:
        """Give the events of a run in the order in which they were said, in portions; no command is among them.

        Those alone that are there when it begins, and none that were said before `since`.
        """
        table = self._table
        last, newest = 0, select(func.max(table.c.number))
        async with database.transaction() as connection:
            until = (await connection.execute(newest)).scalar_one() or 0
        said = f'"run_id":{msgspec.json.encode(run_id).decode()}'.encode()
        chosen = (
            select(table.c.number, table.c.message_id, table.c.exchange, table.c.routing_key, table.c.body)
            .where(
                table.c.number <= until,
                table.c.exchange == EVENTS,
                func.position(literal(said, LargeBinary).op("IN")(table.c.body)) > 0,
                *([table.c.added_at >= since] if since else []),
            )
            .order_by(table.c.number)
            .limit(at_once)
        )
        while True:
            async with database.transaction(timeout_s=_SEARCH_TIMEOUT_S) as connection:
                rows = (await connection.execute(chosen.where(table.c.number > last))).all()
            found = [_said(row) for row in rows if _is_of_run(row.body, run_id)]
            if found:
                yield found
            if len(rows) < at_once:
                return
            last = rows[-1].number

    async def stuck(self, database: Database) -> str | None:
        """Say which events cannot leave for their own sake, for `/health/ready`."""
        table = self._table
        failing = select(func.count(), func.min(table.c.error)).where(
            table.c.published_at.is_(None), table.c.failures > 0
        )
        async with database.transaction() as connection:
            count, error = (await connection.execute(failing)).one()
        return f"{count} events cannot be published: {error}" if count else None

    async def lag(self, database: Database) -> tuple[int, float]:
        """Count the events that were not published yet; tell for how many seconds the oldest of them has waited."""
        oldest_s = func.extract("epoch", func.now() - func.min(self._table.c.added_at))
        waiting = select(func.count(), oldest_s).where(self._table.c.published_at.is_(None))
        async with database.transaction() as connection:
            count, age_s = (await connection.execute(waiting)).one()
        return int(count), float(age_s or 0.0)

    async def prune(self, database: Database) -> bool:
        """Drop rows published longer than 30 days ago; `True` when there may be more."""
        table = self._table
        old = (
            select(table.c.number)
            .where(
                table.c.added_at < func.now() - timedelta(days=_KEPT_DAYS),
                table.c.published_at.is_not(None),
            )
            .order_by(table.c.added_at)
            .limit(_PRUNED_AT_ONCE)
        )
        async with database.transaction() as connection:
            dropped = await connection.execute(delete(table).where(table.c.number.in_(old.scalar_subquery())))
        return dropped.rowcount == _PRUNED_AT_ONCE

    async def _update(self, connection: AsyncConnection, numbers: Sequence[int], values: Mapping[str, object]) -> None:
        if numbers:
            chosen = self._table.c.number == func.any(bindparam("numbers", list(numbers), ARRAY(BigInteger)))
            await connection.execute(update(self._table).where(chosen).values(**values))


def _is_of_run(body: bytes, run_id: str) -> bool:
    """Answer for certain: the words that the database looked for may stand in a text of another run."""
    try:
        said = msgspec.json.decode(body, type=_Said)
    except msgspec.DecodeError:
        return False
    return said.data.run_id == run_id


def _said(row: Any) -> Message:
    return Message(
        id=row.message_id, exchange=row.exchange, routing_key=row.routing_key, body=row.body, mandatory=False
    )


def _values(message: Message) -> dict[str, object]:
    return {
        "message_id": message.id,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "body": message.body,
        "mandatory": message.mandatory,
    }


def _leaving(row: Row[tuple[int, int, str, str, str, bytes, bool]]) -> Leaving:
    message = Message(
        id=row.message_id, exchange=row.exchange, routing_key=row.routing_key, body=row.body, mandatory=row.mandatory
    )
    return Leaving(number=row.number, failures=row.failures, message=message)
