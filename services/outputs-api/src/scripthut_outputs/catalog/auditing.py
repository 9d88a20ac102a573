"""The audit log: who saw or changed what, from where. Nothing in it is ever written again; what is too old goes."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database, storable
from scripthut_common.supervision import Loop
from scripthut_outputs.tables import AUDIT

from . import cursors

_PRUNE_S = 3600.0
_PRUNED_AT_ONCE = 10_000
_MAX_CHARACTERS = 500


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did.

    Args:
        act: a thing and what was done with it, as `token.created`, `run.read` or `login.refused`.
        actor: who; `None` for somebody who did not say.
        credential: what they showed, as `access.Actor.credential`.
        address: where the request came from.
        run_id: which run it was about.
        target: what else, as the id of a token.
        details: words and numbers beside; never a secret.
    """

    act: str
    actor: str | None = None
    credential: str | None = None
    address: str | None = None
    run_id: str | None = None
    target: str | None = None
    details: Mapping[str, object] | None = None

    def on(self, run_id: str, *, target: str | None = None, details: Mapping[str, object] | None = None) -> "Act":
        """Give the same, done to this run."""
        return msgspec.structs.replace(self, run_id=run_id, target=target, details=details)


class Entry(Act, frozen=True, kw_only=True):
    """An act as it stands in the log: its number, which only grows, and when it was."""

    entry: int
    at: datetime


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries; the empty text and `None` leave a filter out."""

    run_id: str = ""
    actor: str = ""
    since: datetime | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, newest first, and the cursor of those before them."""

    entries: tuple[Entry, ...]
    next: str | None


_ENTRY = tuple(AUDIT.c[name] for name in Entry.__struct_fields__)


async def write(connection: AsyncConnection, *acts: Act | None) -> None:
    """Write acts with what they were about, in the caller's transaction; where nobody is to be noted, nothing."""
    await write_at(connection, [(None, act) for act in acts if act is not None])


async def write_at(connection: AsyncConnection, acts: Sequence[tuple[datetime | None, Act]]) -> None:
    """Write acts with the time at which each was done, in one statement; `None` stands for now."""
    if acts:
        rows = [{**_plain(msgspec.structs.asdict(act)), "at": func.now() if at is None else at} for at, act in acts]
        await connection.execute(insert(AUDIT).values(rows))


class Audit:
    """The log, for those who have no transaction of their own, and for those who read it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def did(self, act: Act) -> None:
        """Write one act; what it was about goes on only when it is written.

        Raises:
            DatabaseUnavailable: it could not be.
        """
        async with self._database.transaction() as connection:
            await write(connection, act)

    async def read(self, asked: Asked, *, limit: int, cursor: str | None = None) -> Page:
        """Read a page of it, newest first.

        Raises:
            InvalidInput: the cursor is of no such list.
        """
        query = select(*_ENTRY).order_by(AUDIT.c.entry.desc()).limit(limit + 1)
        if cursor is not None:
            query = query.where(AUDIT.c.entry < cursors.read(cursor, tuple[int])[0])
        if asked.run_id:
            query = query.where(AUDIT.c.run_id == storable(asked.run_id))
        if asked.actor:
            query = query.where(AUDIT.c.actor == storable(asked.actor))
        if asked.since is not None:
            query = query.where(AUDIT.c.at >= asked.since)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        found = tuple(Entry(**row._mapping) for row in rows[:limit])  # noqa: SLF001  SQLAlchemy's public name for it
        return Page(entries=found, next=cursors.write(found[-1].entry) if len(rows) > limit else None)

    def pruning(self, *, keep_days: float) -> Loop:
        """Drop every hour what is older than so many days."""

        async def step() -> bool:
            return await self.prune(keep_days=keep_days)

        return Loop(name="outputs.audit-pruning", step=step, interval_s=_PRUNE_S)

    async def prune(self, *, keep_days: float) -> bool:
        """Drop what is older than so many days; `True` when there may be more.

        The log refuses to forget unless it is told, in the same transaction, that it is being pruned.
        """
        old = (
            select(AUDIT.c.entry)
            .where(AUDIT.c.at < func.now() - timedelta(days=keep_days))
            .order_by(AUDIT.c.at)
            .limit(_PRUNED_AT_ONCE)
        )
        async with self._database.transaction() as connection:
            await connection.execute(text("SET LOCAL scripthut.audit_pruning = 'on'"))
            dropped = await connection.execute(delete(AUDIT).where(AUDIT.c.entry.in_(old.scalar_subquery())))
        return dropped.rowcount == _PRUNED_AT_ONCE


def _plain(value: Any) -> Any:
    """Make what somebody else wrote into what PostgreSQL can hold, bounded: a log must not fail for its content."""
    match value:
        case str():
            return storable(value, _MAX_CHARACTERS)
        case Mapping():
            return {str(_plain(str(name))): _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return value
