"""Remove blobs that nobody refers to, and their renderings; `relying` says why no collector is hurt."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec
from sqlalchemy import ColumnElement, and_, delete, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_outputs.ledger import FileState
from scripthut_outputs.tables import BLOBS, DOCUMENTS, FILES, IDEMPOTENCY_KEYS

_PAGE = 2000
_PORTION = 100
_SCAN_S = 600.0
_KEYS_KEPT_DAYS = 30
_KEYS_AT_ONCE = 10_000


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What a portion of a sweep removed; `next` is where the following one begins, `None` at the end."""

    blobs: int = 0
    size_bytes: int = 0
    next: str | None = None


class Sweep:
    """The `blobs` table, for those who clear away.

    Args:
        database: the catalog.
        grace_s: what a collection touched in the last so many seconds stays, whether anybody refers to it or not.
    """

    def __init__(self, database: Database, *, grace_s: float) -> None:
        self._database = database
        self._grace_s = grace_s

    async def sweep(self, remove: Callable[[str], Awaitable[None]], *, after: str = "") -> Swept:
        """Remove a portion of the blobs whose hash comes after `after`.

        `remove` is called while the blob's row is locked, and must not mind a blob that is gone already: whoever dies
        here leaves the row, and the next sweep does it again.

        Raises:
            StoreUnavailable: a blob could not be removed; nothing of this portion is forgotten.
        """
        async with self._database.transaction() as connection:
            until = await _end_of_page(connection, after)
            if until is None:
                return Swept()
            is_here = (BLOBS.c.sha256 > after, BLOBS.c.sha256 <= until)
            unheld = select(BLOBS.c.sha256, BLOBS.c.size_bytes).where(*is_here, self._is_unheld())
            locked = unheld.order_by(BLOBS.c.sha256).limit(_PORTION).with_for_update(skip_locked=True)
            rows = {sha256: int(size) for sha256, size in await connection.execute(locked)}
            for sha256 in rows:
                await remove(sha256)
            await connection.execute(delete(DOCUMENTS).where(DOCUMENTS.c.sha256.in_(rows)))
            await connection.execute(delete(BLOBS).where(BLOBS.c.sha256.in_(rows)))
        return Swept(blobs=len(rows), size_bytes=sum(rows.values()), next=max(rows) if len(rows) == _PORTION else until)

    async def count(self) -> Swept:
        """Tell what a whole sweep would remove."""
        sums = select(func.count(), func.coalesce(func.sum(BLOBS.c.size_bytes), 0)).where(self._is_unheld())
        async with self._database.transaction(timeout_s=_SCAN_S) as connection:
            count, size_bytes = (await connection.execute(sums)).one()
        return Swept(blobs=int(count), size_bytes=int(size_bytes))

    async def forget_keys(self) -> bool:
        """Forget idempotency keys older than 30 days; `True` when there may be more."""
        table = IDEMPOTENCY_KEYS
        is_old = table.c.created_at < func.now() - timedelta(days=_KEYS_KEPT_DAYS)
        old = select(table.c.owner, table.c.key).where(is_old).limit(_KEYS_AT_ONCE).cte("old")
        same = and_(table.c.owner == old.c.owner, table.c.key == old.c.key)
        async with self._database.transaction() as connection:
            return (await connection.execute(delete(table).where(same))).rowcount == _KEYS_AT_ONCE

    def _is_unheld(self) -> ColumnElement[bool]:
        refers = exists().where(FILES.c.sha256 == BLOBS.c.sha256, FILES.c.state == FileState.STORED)
        return and_(BLOBS.c.touched_at < func.now() - timedelta(seconds=self._grace_s), ~refers)


async def _end_of_page(connection: AsyncConnection, after: str) -> str | None:
    page = select(BLOBS.c.sha256).where(BLOBS.c.sha256 > after).order_by(BLOBS.c.sha256).limit(_PAGE).subquery()
    until: str | None = await connection.scalar(select(func.max(page.c.sha256)))
    return until
