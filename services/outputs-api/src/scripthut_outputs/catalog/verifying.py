"""What the ledger says of blobs, page by page; give up rows whose blob is lost, and heal them once it is back."""

from collections.abc import Collection, Iterable

import msgspec
from sqlalchemy import ColumnElement, and_, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_outputs.ledger import COLLECTING_AGAIN, FileState, Removal
from scripthut_outputs.tables import BLOBS, FILES, ITEMS, RUNS

from .changes import by_run, touch
from .collections import want
from .rows import KEYS, unnested

_STORED = FILES.c.state == FileState.STORED
_OF_FILE = (ITEMS.c.run_id == FILES.c.run_id) & (ITEMS.c.task_id == FILES.c.task_id)
_AT_ONCE = 200
_EXAMPLES = 3


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A blob as the ledger has it: how many files refer to it, and the least and most bytes that they say it has."""

    sha256: str
    files: int
    least_bytes: int
    most_bytes: int


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Whose files are looked at; all, unless a cluster or a run is named."""

    cluster: str | None = None
    run_id: str | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self.cluster is None and self.run_id is None


class Verified:
    """The ledger, for those who check it against the store; every method is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def knows(self, scope: Scope) -> bool:
        """Whether there is anything by these names."""
        query = select(exists().where(RUNS.c.run_id.is_not(None), *_within(scope)))
        async with self._database.transaction() as connection:
            return scope.is_all or bool(await connection.scalar(query))

    async def page(self, scope: Scope, *, after: str, limit: int) -> list[Held]:
        """Give blobs that stored files refer to, in the order of their hashes."""
        query = (
            select(
                FILES.c.sha256,
                func.count().label("files"),
                func.coalesce(func.min(FILES.c.stored_bytes), -1).label("least_bytes"),
                func.coalesce(func.max(FILES.c.stored_bytes), -1).label("most_bytes"),
            )
            .where(_STORED, FILES.c.sha256 > after)
            .group_by(FILES.c.sha256)
            .order_by(FILES.c.sha256)
            .limit(limit)
        )
        if not scope.is_all:
            query = query.join(RUNS, RUNS.c.run_id == FILES.c.run_id).where(*_within(scope))
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        return [Held(**row._mapping) for row in rows]  # noqa: SLF001  SQLAlchemy's public name for it

    async def examples(self, sha256: str) -> list[tuple[str, str, bytes]]:
        """Name some stored files that refer to a blob: run, task and path; none when nobody does any more."""
        query = select(FILES.c.run_id, FILES.c.task_id, FILES.c.path).where(FILES.c.sha256 == sha256, _STORED)
        async with self._database.transaction() as connection:
            rows = await connection.execute(query.order_by(FILES.c.run_id, FILES.c.task_id).limit(_EXAMPLES))
            return [(run_id, task_id, path) for run_id, task_id, path in rows]

    async def unknown(self, sha256s: Collection[str]) -> set[str]:
        """Tell which of these blobs have no row: no collection relies on them, and no sweep knows them."""
        async with self._database.transaction() as connection:
            known = set(await connection.scalars(select(BLOBS.c.sha256).where(BLOBS.c.sha256.in_(sha256s))))
        return set(sha256s) - known

    async def adopt(self, sha256: str, size_bytes: int) -> None:
        """Let the sweep know a blob; it goes after the grace unless somebody refers to it."""
        row = {"sha256": sha256, "size_bytes": size_bytes}
        async with self._database.transaction() as connection:
            await connection.execute(insert(BLOBS).values(row).on_conflict_do_nothing())

    async def correct_size(self, sha256: str, size_bytes: int) -> None:
        """Let all rows of a blob say how many bytes it really has."""
        is_wrong = and_(FILES.c.sha256 == sha256, FILES.c.stored_bytes.is_distinct_from(size_bytes))
        async with self._database.transaction() as connection:
            await _change(connection, is_wrong & _STORED, stored_bytes=size_bytes)

    async def give_up(self, sha256: str, reason: str) -> int:
        """Note for some files that refer to a lost blob that it is, and want their tasks again; say how many tasks.

        Call again until it is 0. A task that names no place on the cluster cannot be wanted. What was followed while
        its task ran is forgotten: the next look brings it back.
        """
        lost = (
            select(FILES.c.run_id, FILES.c.task_id, ITEMS.c.attempt, ITEMS.c.output_dir, RUNS.c.cluster)
            .join(ITEMS, _OF_FILE)
            .join(RUNS, RUNS.c.run_id == ITEMS.c.run_id)
            .where(FILES.c.sha256 == sha256, _STORED)
            .order_by(FILES.c.run_id, FILES.c.task_id)
            .limit(_AT_ONCE)
            .with_for_update(of=ITEMS)
        )
        purged = {"state": FileState.PURGED, "removed_at": func.now(), "removal": Removal.DAMAGE}
        async with self._database.transaction() as connection:
            tasks = {(row.run_id, row.task_id): row for row in await connection.execute(lost)}
            for (run_id, task_id), task in tasks.items():
                told = reason + COLLECTING_AGAIN if task.output_dir else reason
                of_task = (FILES.c.run_id == run_id, FILES.c.task_id == task_id, FILES.c.sha256 == sha256, _STORED)
                await connection.execute(delete(FILES).where(*of_task, FILES.c.followed_at.is_not(None)))
                noted = await connection.execute(update(FILES).where(*of_task).values(**purged, reason=told))
                if noted.rowcount and task.output_dir:
                    await want(connection, run_id, task_id, task.attempt, task.cluster)
            for run_id, task_ids in by_run(tasks).items():
                await touch(connection, run_id, outputs=task_ids)
        return len(tasks)

    async def healable(self, *, after: str = "", limit: int = 100) -> dict[str, int]:
        """Give blobs that were lost for some files and came back by another; size in bytes by hash, in order."""
        back = FILES.alias()
        query = (
            select(FILES.c.sha256, func.max(back.c.stored_bytes))
            .join(back, (back.c.sha256 == FILES.c.sha256) & (back.c.state == FileState.STORED))
            .where(FILES.c.removal == Removal.DAMAGE, FILES.c.sha256 > after)
            .group_by(FILES.c.sha256)
            .order_by(FILES.c.sha256)
            .limit(limit)
        )
        async with self._database.transaction() as connection:
            return {sha256: int(size) for sha256, size in await connection.execute(query)}

    async def heal(self, sha256s: Iterable[str]) -> int:
        """Let files whose blobs are back be stored again; say how many. Whoever calls relies on the blobs."""
        lost = and_(FILES.c.sha256.in_(list(sha256s)), FILES.c.removal == Removal.DAMAGE)
        stored = {"state": FileState.STORED, "removed_at": None, "removal": None, "reason": None}
        async with self._database.transaction() as connection:
            return await _change(connection, lost, **stored)


async def _change(connection: AsyncConnection, which: ColumnElement[bool], **values: object) -> int:
    """Change files of items that can be locked first, and tell their readers; say how many files."""
    key = (ITEMS.c.run_id, ITEMS.c.task_id)
    lock = select(*key).join(FILES, _OF_FILE).where(which).order_by(*key).with_for_update(of=ITEMS)
    locked = [(run_id, task_id) for run_id, task_id in (await connection.execute(lock)).unique()]
    if not locked:
        return 0
    # Files that came meanwhile belong to items that are not ours to write.
    ours = unnested(KEYS, locked)
    is_ours = and_(FILES.c.run_id == ours.c.run_id, FILES.c.task_id == ours.c.task_id)
    change = update(FILES).where(which, is_ours).values(values)
    changed = (await connection.execute(change.returning(FILES.c.run_id, FILES.c.task_id))).all()
    for run_id, task_ids in by_run(changed).items():
        await touch(connection, run_id, outputs=task_ids)
    return len(changed)


def _within(scope: Scope) -> list[ColumnElement[bool]]:
    wanted = ((RUNS.c.cluster, scope.cluster), (RUNS.c.run_id, scope.run_id))
    return [column == name for column, name in wanted if name is not None]
