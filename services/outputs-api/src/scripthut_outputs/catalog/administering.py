"""What those ask who run this installation: what is stuck, who holds tokens, what could not be taken."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Select, func, or_, select, tuple_

from scripthut_common.bus import QUEUES
from scripthut_common.database import Database
from scripthut_outputs.tables import ACCESS_TOKENS, COLLECTIONS, DEAD_LETTERS, HAS_FAILED_OUTPUTS, ITEMS, RUNS

from . import cursors
from .access_tokens import COLUMNS, TokenList, token

_LATE_S = 600.0


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """A task whose outputs are not here, though they should be.

    `outputs_state` is `failed` where nobody tries any more; else it is tried again at `due_at`, which may be long past.
    """

    run_id: str
    task_id: str
    task_name: str
    cluster: str
    owner: str
    outputs_state: str
    failures: int
    due_at: datetime | None
    first_failed_at: datetime | None
    reason: str | None


class StuckPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of them, by run and task, and the cursor of the next."""

    collections: tuple[Stuck, ...]
    next: str | None


class Administering:
    """The catalog, for those who run this installation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stuck(self, *, limit: int, cursor: str | None = None) -> StuckPage:
        """List collections that failed for good, that fail again and again, or that are due since ten minutes."""
        after = None if cursor is None else cursors.read(cursor, tuple[str, str])
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_stuck(after, limit + 1))).all()
        found = tuple(Stuck(**row._mapping) for row in rows[:limit])  # noqa: SLF001  SQLAlchemy's public name for it
        last = (found[-1].run_id, found[-1].task_id) if len(rows) > limit else None
        return StuckPage(collections=found, next=last and cursors.write(*last))

    async def tokens(self, *, limit: int, cursor: str | None = None) -> TokenList:
        """List everybody's tokens that were not taken back, by owner."""
        key = (ACCESS_TOKENS.c.owner, ACCESS_TOKENS.c.token_id)
        query = select(*COLUMNS).where(ACCESS_TOKENS.c.revoked_at.is_(None)).order_by(*key).limit(limit + 1)
        if cursor is not None:
            query = query.where(tuple_(*key) > cursors.read(cursor, tuple[str, str]))
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        found = tuple(map(token, rows[:limit]))
        last = (found[-1].owner, found[-1].token_id) if len(rows) > limit else None
        return TokenList(tokens=found, next=last and cursors.write(*last))

    async def count_buried(self) -> dict[str, int]:
        """Count by queue the dead letters that lie in this database: those of an installation without a broker."""
        query = select(DEAD_LETTERS.c.queue, func.count().label("letters")).group_by(DEAD_LETTERS.c.queue)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        return dict.fromkeys((queue.name for queue in QUEUES), 0) | {row.queue: row.letters for row in rows}


def _stuck(after: tuple[str, str] | None, limit: int) -> Select[*tuple[Any, ...]]:
    """Both kinds by the index that is made for each; few rows of either."""
    key = (ITEMS.c.run_id, ITEMS.c.task_id)
    late_at = func.now() - timedelta(seconds=_LATE_S)
    is_late = or_(COLLECTIONS.c.failures > 0, COLLECTIONS.c.due_at < late_at)
    late = select(COLLECTIONS.c.run_id, COLLECTIONS.c.task_id).where(COLLECTIONS.c.due_at.is_not(None), is_late)
    failed = select(*key).where(HAS_FAILED_OUTPUTS)
    found = failed.union(late).cte("found")
    told = ("failures", "due_at", "first_failed_at", "reason")
    query = (
        select(
            *(*key, ITEMS.c.task_name, RUNS.c.cluster, RUNS.c.owner, ITEMS.c.outputs_state),
            *(COLLECTIONS.c[name] for name in told),
        )
        .join(found, (found.c.run_id == ITEMS.c.run_id) & (found.c.task_id == ITEMS.c.task_id))
        .join(RUNS, RUNS.c.run_id == ITEMS.c.run_id)
        .join(COLLECTIONS, (COLLECTIONS.c.run_id == ITEMS.c.run_id) & (COLLECTIONS.c.task_id == ITEMS.c.task_id))
        .order_by(*key)
        .limit(limit)
    )
    return query if after is None else query.where(tuple_(*key) > after)
