"""Documents by content: which wait for their rendering, and what became of them."""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_common.errors import LeaseLost
from scripthut_outputs.ledger import FileState, Kind, Place
from scripthut_outputs.tables import DOCUMENTS, FILES, ITEMS

from .changes import by_run, touch


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A document that is ours to render until the lease ends. `failures`: attempts so far that came to nothing."""

    sha256: str
    lease: UUID
    size_bytes: int
    failures: int


async def want(connection: AsyncConnection, sha256s: Iterable[str], renderer: str) -> None:
    """Ask for renderings in the caller's transaction; what is rendered or waiting already stays as it is.

    It comes before all locks: where a rendering is being kept just now this waits, and that waits for items in turn.
    """
    rows = [{"sha256": sha256, "renderer": renderer, "due_at": func.now()} for sha256 in sorted(set(sha256s))]
    if rows:
        await connection.execute(insert(DOCUMENTS).values(rows).on_conflict_do_nothing())


class Documents:
    """The `documents` table, for those who render.

    Args:
        renderer: version of the renderer that this process has.
    """

    def __init__(self, database: Database, renderer: str) -> None:
        self._database = database
        self._renderer = renderer

    async def want_missing(self) -> int:
        """Ask for every stored Markdown file that this renderer has not met, as after a new version; say how many."""
        met = select(DOCUMENTS.c.sha256).where(
            DOCUMENTS.c.sha256 == FILES.c.sha256, DOCUMENTS.c.renderer == self._renderer
        )
        stored = select(FILES.c.sha256, literal(self._renderer), func.now()).where(
            FILES.c.kind == Kind.MARKDOWN, FILES.c.state == FileState.STORED, FILES.c.sha256.is_not(None), ~met.exists()
        )
        in_order = stored.distinct().order_by(FILES.c.sha256)
        new = insert(DOCUMENTS).from_select(["sha256", "renderer", "due_at"], in_order)
        async with self._database.transaction() as connection:
            added = await connection.execute(new.on_conflict_do_nothing().returning(DOCUMENTS.c.sha256))
            return len(added.all())

    async def claim(self, *, lease_s: float) -> Claimed | None:
        """Take the document that waits longest, for `lease_s` seconds; `None` when nothing waits."""
        free = (
            select(DOCUMENTS.c.sha256)
            .where(
                DOCUMENTS.c.renderer == self._renderer,
                DOCUMENTS.c.due_at <= func.now(),
                or_(DOCUMENTS.c.lease_until.is_(None), DOCUMENTS.c.lease_until < func.now()),
            )
            .order_by(DOCUMENTS.c.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        size_bytes = select(func.max(FILES.c.stored_bytes)).where(FILES.c.sha256 == DOCUMENTS.c.sha256)
        claim = (
            update(DOCUMENTS)
            .where(DOCUMENTS.c.renderer == self._renderer, DOCUMENTS.c.sha256 == free.scalar_subquery())
            .values(lease=uuid4(), lease_until=func.now() + timedelta(seconds=lease_s))
            .returning(
                DOCUMENTS.c.sha256,
                DOCUMENTS.c.lease,
                DOCUMENTS.c.failures,
                func.coalesce(size_bytes.scalar_subquery(), 0).label("size_bytes"),
            )
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(claim)).one_or_none()
        return None if row is None else Claimed(**row._mapping)  # noqa: SLF001  SQLAlchemy's public name for it

    async def keep(self, claimed: Claimed, html: str, reason: str | None) -> None:
        """Store what a document became, and tell the readers of every run that shows it.

        Args:
            claimed: as `claim` gave it.
            html: safe HTML.
            reason: why it is only the escaped text; `None` when it is rendered.

        Raises:
            LeaseLost: somebody else has it now.
        """
        key = (ITEMS.c.run_id, ITEMS.c.task_id)
        shown = (FILES.c.sha256 == claimed.sha256, FILES.c.kind == Kind.MARKDOWN)
        shows = select(*key, FILES.c.place).join(FILES, (FILES.c.run_id == key[0]) & (FILES.c.task_id == key[1]))
        async with self._database.transaction() as connection:
            await self._write(
                connection, claimed, state="escaped" if reason else "rendered", html=html, reason=reason, due_at=None
            )
            locked = shows.where(*shown).order_by(*key).with_for_update(of=ITEMS)
            rows = (await connection.execute(locked)).all()
            summarised = {run_id for run_id, _, place in rows if place == Place.RUN_SUMMARY}
            for run_id, task_ids in by_run(row[:2] for row in rows).items():
                await touch(connection, run_id, outputs=task_ids, is_summary=run_id in summarised)

    async def postpone(self, claimed: Claimed, reason: str, *, delay_s: float) -> None:
        """Give a document back, due again after `delay_s`.

        Raises:
            LeaseLost: somebody else has it now.
        """
        due_at = func.now() + timedelta(seconds=delay_s)
        async with self._database.transaction() as connection:
            await self._write(connection, claimed, failures=claimed.failures + 1, reason=reason, due_at=due_at)

    async def _write(self, connection: AsyncConnection, claimed: Claimed, **values: object) -> None:
        mine = (DOCUMENTS.c.renderer == self._renderer) & (DOCUMENTS.c.lease == claimed.lease)
        write = update(DOCUMENTS).where(DOCUMENTS.c.sha256 == claimed.sha256, mine)
        done = await connection.execute(write.values(**values, lease=None, lease_until=None))
        if not done.rowcount:
            raise LeaseLost(f"document {claimed.sha256[:12]}: another process has taken it over")
