"""What retention asks and changes: which runs hold files that are too old or too many, and their removal, run by run.

Whoever writes a task's files holds its item; runs come last. Removing keeps that order, and leaves alone whatever is
being written just now.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, and_, case, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_common.errors import Conflict
from scripthut_common.events import ItemState
from scripthut_outputs.ledger import FileState, Removal
from scripthut_outputs.tables import FILES, ITEMS, RUNS

from .changes import touch
from .views import RunBytes

PORTION = 1000
_LOCK = "scripthut-outputs retention"
_SCAN_S = 600.0
_PASS_S = 24 * 3600.0
_STORED = FILES.c.state == FileState.STORED
_OF_FILE = (ITEMS.c.run_id == FILES.c.run_id) & (ITEMS.c.task_id == FILES.c.task_id)


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of one cluster; a blob that several of its files have counts once."""

    cluster: str
    files: int
    stored_bytes: int


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What one portion of a removal took; `files` is 0 when nothing is left that may be."""

    files: int = 0
    stored_bytes: int = 0


class Retained:
    """The catalog, for retention."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """Be the only process that removes and sweeps; gives `False` when another one is at it."""
        async with self._database.transaction(timeout_s=_PASS_S) as connection:
            yield bool(await connection.scalar(select(func.pg_try_advisory_xact_lock(func.hashtextextended(_LOCK, 0)))))

    async def now(self) -> datetime:
        """The database's clock."""
        async with self._database.transaction() as connection:
            found: datetime = (await connection.execute(select(func.now()))).scalar_one()
        return found.astimezone(UTC)

    async def measure(self) -> list[Holding]:
        """Measure what is stored of every cluster."""
        each = (
            select(RUNS.c.cluster, func.count().label("files"), func.max(FILES.c.stored_bytes).label("stored_bytes"))
            .join(FILES, FILES.c.run_id == RUNS.c.run_id)
            .where(_STORED)
            .group_by(RUNS.c.cluster, FILES.c.sha256)
            .subquery()
        )
        sums = select(each.c.cluster, func.sum(each.c.files), func.sum(each.c.stored_bytes)).group_by(each.c.cluster)
        async with self._database.transaction(timeout_s=_SCAN_S) as connection:
            rows = (await connection.execute(sums.order_by(each.c.cluster))).all()
        return [Holding(cluster=name, files=int(files), stored_bytes=int(size or 0)) for name, files, size in rows]

    async def old_runs(self, cluster: str, before: datetime, *, after: str = "", limit: int = 100) -> list[str]:
        """Name runs of a cluster, in the order of their ids, with stored files of tasks that ended before a time."""
        due = exists().where(FILES.c.run_id == RUNS.c.run_id, _OF_FILE, _may_go(before))
        found = select(RUNS.c.run_id).where(
            RUNS.c.cluster == cluster, RUNS.c.pinned_at.is_(None), RUNS.c.run_id > after, due
        )
        async with self._database.transaction(timeout_s=_SCAN_S) as connection:
            return list(await connection.scalars(found.order_by(RUNS.c.run_id).limit(limit)))

    async def weigh(self, cluster: str) -> list[RunBytes]:
        """Weigh the runs of a cluster that may be removed, oldest first: not pinned, and nothing alive in them."""
        async with self._database.transaction(timeout_s=_SCAN_S) as connection:
            rows = (await connection.execute(_weights(cluster))).all()
        return [RunBytes(**row._mapping) for row in rows]  # noqa: SLF001  SQLAlchemy's public name for it

    async def count(self, run_id: str, before: datetime | None) -> Removed:
        """Tell what `remove` would take of a run in all."""
        sums = select(func.count(), func.coalesce(func.sum(FILES.c.stored_bytes), 0)).select_from(FILES)
        query = sums.join(ITEMS, _OF_FILE).join(RUNS, RUNS.c.run_id == ITEMS.c.run_id)
        async with self._database.transaction(timeout_s=_SCAN_S) as connection:
            row = (await connection.execute(query.where(FILES.c.run_id == run_id, _may_go(before)))).one()
        return Removed(files=int(row[0]), stored_bytes=int(row[1]))

    async def remove(
        self, run_id: str, removal: Removal, reason: str, *, before: datetime | None = None, limit: int = PORTION
    ) -> Removed:
        """Remove a portion of a run's files: of tasks that ended before a time, or of all that have ended.

        Their rows stay, with hash, size and the reason. A run that is pinned meanwhile keeps everything.
        """
        try:
            async with self._database.transaction() as connection:
                sizes = await _remove(connection, run_id, removal, reason, before, limit)
        except Conflict:
            return Removed()
        return Removed(files=len(sizes), stored_bytes=sum(size or 0 for size in sizes))


async def _remove(
    connection: AsyncConnection, run_id: str, removal: Removal, reason: str, before: datetime | None, limit: int
) -> Sequence[int | None]:
    key = [FILES.c[name] for name in ("task_id", "place", "path")]
    due = (
        select(*key)
        .join(ITEMS, _OF_FILE)
        .join(RUNS, RUNS.c.run_id == ITEMS.c.run_id)
        .where(FILES.c.run_id == run_id, RUNS.c.pinned_at.is_(None), _may_go(before))
        .order_by(*key)
        .limit(limit)
        .with_for_update(of=ITEMS, skip_locked=True)
        .cte("due")
    )
    same = and_(FILES.c.run_id == run_id, *(column == due.c[column.name] for column in key))
    purged = {"state": FileState.PURGED, "removed_at": func.now(), "removal": removal, "reason": reason}
    remove = update(FILES).where(same, _STORED).values(purged).returning(FILES.c.stored_bytes, FILES.c.task_id)
    removed = (await connection.execute(remove)).all()
    if removed:
        await _require_unpinned(connection, run_id)
        await touch(connection, run_id, outputs={task_id for _, task_id in removed})
    return [size_bytes for size_bytes, _ in removed]


async def _require_unpinned(connection: AsyncConnection, run_id: str) -> None:
    """Wait for whoever pins the run just now.

    Raises:
        Conflict: it is pinned.
    """
    pinned_at = select(RUNS.c.pinned_at).where(RUNS.c.run_id == run_id).with_for_update()
    if await connection.scalar(pinned_at) is not None:
        raise Conflict(f"run {run_id} is pinned")


def _may_go(before: datetime | None) -> ColumnElement[bool]:
    """Match stored files of tasks that have ended, before a time if one is given."""
    has_ended = ITEMS.c.state == ItemState.FINAL
    if before is None:
        return and_(_STORED, has_ended)
    return and_(_STORED, has_ended, func.coalesce(ITEMS.c.ended_at, RUNS.c.created_at) < before)


def _weights(cluster: str) -> Any:
    is_alive = exists().where(ITEMS.c.run_id == RUNS.c.run_id, ITEMS.c.state != ItemState.FINAL)
    place = func.row_number().over(order_by=[RUNS.c.created_at, RUNS.c.run_id])
    movable = (
        select(RUNS.c.run_id, place.label("place"))
        .where(RUNS.c.cluster == cluster, RUNS.c.pinned_at.is_(None), ~is_alive)
        .cte("movable")
    )
    held = (
        select(FILES.c.run_id, FILES.c.sha256, func.max(FILES.c.stored_bytes).label("size_bytes"), movable.c.place)
        .join(RUNS, RUNS.c.run_id == FILES.c.run_id)
        .outerjoin(movable, movable.c.run_id == FILES.c.run_id)
        .where(RUNS.c.cluster == cluster, _STORED)
        .group_by(FILES.c.run_id, FILES.c.sha256, movable.c.place)
        .cte("held")
    )
    stays = func.bool_or(held.c.place.is_(None))
    blobs = (
        select(held.c.sha256, case((~stays, func.max(held.c.place))).label("goes_at"))
        .group_by(held.c.sha256)
        .cte("blobs")
    )
    freed_bytes = func.sum(held.c.size_bytes).filter(blobs.c.goes_at == held.c.place)
    return (
        select(
            held.c.run_id,
            held.c.place,
            func.coalesce(freed_bytes, 0).cast(BigInteger).label("freed_bytes"),
            func.min(blobs.c.goes_at).label("frees_from"),
        )
        .join(blobs, blobs.c.sha256 == held.c.sha256)
        .where(held.c.place.is_not(None))
        .group_by(held.c.run_id, held.c.place)
        .order_by(held.c.place)
    )
