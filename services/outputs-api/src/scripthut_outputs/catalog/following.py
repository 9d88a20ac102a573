"""Running items that somebody watches: which they are, who follows them, and what was seen of them.

Rows that are seen while a task runs carry `followed_at`. They are written only while it still runs this attempt and
nobody collects it; the collection at its end replaces them.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row, and_, delete, exists, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_common.errors import LeaseLost
from scripthut_outputs.ledger import FileState, Kind, LedgerRow, OutputsState, Place
from scripthut_outputs.owning import Run
from scripthut_outputs.tables import BLOBS, COLLECTIONS, DOCUMENTS, FILES, FOLLOWERS, ITEMS, RUNNING, RUNS, WATCHED

from . import documents
from .changes import by_run, touch
from .owners import OF_THE_RUN, run_of
from .rows import KEYS, LEDGER, has_fragment, has_output, of_tasks, unnested
from .watching import CHANNEL

# Blobs that something newer has replaced need not wait as long for the sweep as others.
_GRACE_S = 3600.0
Key = tuple[str, str]
FileKey = tuple[Place, bytes]


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A running item that is to be followed. `outputs_version` tells whether its ledger is as it was.

    What tells as whom it is read is in `run`.
    """

    run_id: str
    task_id: str
    attempt: int
    output_dir: str
    run_summary_path: str | None
    stdout_path: str | None
    stderr_path: str | None
    outputs_version: int
    followed_at: datetime | None
    run: Run

    @property
    def key(self) -> Key:
        """What names the item."""
        return self.run_id, self.task_id


_OF_THE_ITEM = tuple(name for name in Running.__struct_fields__ if name != "run")


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the ledger as it stands. `is_held`: we have its bytes; `is_followed`: it was seen while the task ran."""

    state: FileState
    count: int
    size_bytes: int | None
    modified_at: float | None
    sha256: str | None
    reason: str | None
    is_held: bool
    is_followed: bool


Ledger = Mapping[FileKey, Noted]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one look found new of an item: rows of files that changed, and which of those seen before are gone."""

    item: Running
    rows: tuple[LedgerRow, ...] = ()
    gone: frozenset[FileKey] = frozenset()

    @property
    def is_change(self) -> bool:
        """Whether there is anything new; else it is only said when somebody looked."""
        return bool(self.rows or self.gone)

    @property
    def is_summary(self) -> bool:
        """Whether the run's summary is no longer what it was."""
        places = {row.place for row in self.rows} | {place for place, _ in self.gone}
        return Place.RUN_SUMMARY in places


class Following:
    """The catalog, for those who follow.

    Args:
        renderer: version of the renderer that documents are wanted for.
        grace_s: how long the sweep leaves alone what nobody refers to.
    """

    def __init__(self, database: Database, renderer: str, *, grace_s: float) -> None:
        self._database = database
        self._renderer = renderer
        self._grace_s = grace_s

    async def listen(
        self, on_connect: Callable[[], Awaitable[None]], on_notify: Callable[[str], Awaitable[None]]
    ) -> None:
        """Hear which run somebody has opened.

        Raises:
            DatabaseUnavailable: the connection is lost; call again.
        """
        await self._database.listen(CHANNEL, on_connect, on_notify)

    async def running(self, cluster: str) -> list[Running]:
        """Name what is to be followed on one cluster, run by run."""
        columns = (*(ITEMS.c[name] for name in _OF_THE_ITEM), *OF_THE_RUN)
        is_watched = exists().where(WATCHED.c.run_id == RUNS.c.run_id, WATCHED.c.until > func.now())
        query = (
            select(*columns)
            .join(RUNS, RUNS.c.run_id == ITEMS.c.run_id)
            .where(RUNS.c.cluster == cluster, RUNNING, or_(RUNS.c.follow, is_watched), _is_to_follow())
            .order_by(ITEMS.c.run_id, ITEMS.c.position, ITEMS.c.task_id)
        )
        async with self._database.transaction() as connection:
            return [_running(row) for row in await connection.execute(query)]

    async def hold(self, cluster: str, lease: UUID, *, lease_s: float) -> bool:
        """Be the one who follows a cluster for `lease_s` seconds; `False` when somebody else is."""
        until = func.now() + timedelta(seconds=lease_s)
        taken = insert(FOLLOWERS).values(cluster=cluster, lease=lease, lease_until=until)
        is_free = or_(FOLLOWERS.c.lease == lease, FOLLOWERS.c.lease_until < func.now())
        again = taken.on_conflict_do_update(
            index_elements=["cluster"], set_={"lease": lease, "lease_until": until}, where=is_free
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(again.returning(FOLLOWERS.c.cluster))).first() is not None

    async def read(self, keys: Collection[Key]) -> dict[Key, dict[FileKey, Noted]]:
        """Read the ledgers of these items."""
        columns = (FILES.c[name] for name in ("count", "size_bytes", "modified_at", "sha256", "reason"))
        is_held = (FILES.c.state == FileState.STORED).label("is_held")
        marks = (is_held, FILES.c.followed_at.is_not(None).label("is_followed"))
        place = (*(FILES.c[name] for name in KEYS), FILES.c.place, FILES.c.path, FILES.c.state)
        found: dict[Key, dict[FileKey, Noted]] = {key: {} for key in keys}
        if keys:
            async with self._database.transaction() as connection:
                rows = await connection.execute(select(*place, *columns, *marks).where(of_tasks(list(keys))))
                for run_id, task_id, where, path, state, *rest in rows:
                    noted = dict(zip(Noted.__struct_fields__[1:], rest, strict=True))
                    found[run_id, task_id][Place(where), path] = Noted(state=FileState(state), **noted)
        return found

    async def keep(self, cluster: str, lease: UUID, seen: Sequence[Seen]) -> set[Key]:
        """Write what was seen of items that still run this attempt; tell which these are.

        Raises:
            LeaseLost: somebody else follows the cluster now; nothing is written.
        """
        markdown = {
            row.sha256 for one in seen for row in one.rows if row.kind is Kind.MARKDOWN and row.sha256 is not None
        }
        async with self._database.transaction() as connection:
            await documents.want(connection, markdown, self._renderer)
            keys = await _hold_running(connection, seen)
            await _require_lease(connection, cluster, lease)
            ours = [one for one in seen if one.item.key in keys]
            await _write_files(connection, ours)
            await _write_items(connection, [one.item.key for one in ours])
            changed = by_run(one.item.key for one in ours if one.is_change)
            summarised = {one.item.run_id for one in ours if one.is_summary}
            for run_id, task_ids in by_run(keys).items():
                outputs = changed.get(run_id, [])
                await touch(connection, run_id, items=task_ids, outputs=outputs, is_summary=run_id in summarised)
        return keys

    async def forget(self, sha256s: Iterable[str]) -> None:
        """Let go of what was followed and something newer has replaced, unless somebody still refers to it.

        Documents go at once, blobs with a sweep in an hour. Who began to rely on one of the documents at this very
        moment has it rendered anew, by `Documents.want_missing`.
        """
        named = sorted(set(sha256s))
        if not named:
            return
        is_unheld = ~exists().where(FILES.c.sha256 == DOCUMENTS.c.sha256, FILES.c.state == FileState.STORED)
        async with self._database.transaction() as connection:
            await connection.execute(delete(DOCUMENTS).where(DOCUMENTS.c.sha256.in_(named), is_unheld))
            early = func.now() - timedelta(seconds=max(self._grace_s - _GRACE_S, 0.0))
            blobs = select(BLOBS.c.sha256).where(BLOBS.c.sha256.in_(named), BLOBS.c.touched_at > early)
            locked = blobs.order_by(BLOBS.c.sha256).with_for_update(skip_locked=True).cte("locked")
            sooner = update(BLOBS).where(BLOBS.c.sha256 == locked.c.sha256)
            await connection.execute(sooner.values(touched_at=early))


def _running(row: Row[*tuple[Any, ...]]) -> Running:
    return Running(**{name: getattr(row, name) for name in _OF_THE_ITEM}, run=run_of(row))


def _is_to_follow() -> Any:
    """Match items that say where their outputs lie and are not being collected."""
    same = and_(COLLECTIONS.c.run_id == ITEMS.c.run_id, COLLECTIONS.c.task_id == ITEMS.c.task_id)
    return and_(ITEMS.c.output_dir.is_not(None), ~exists().where(same, COLLECTIONS.c.due_at.is_not(None)))


async def _hold_running(connection: AsyncConnection, seen: Sequence[Seen]) -> set[Key]:
    """Lock items in the order in which all lock them; give those that still run the attempt that was looked at."""
    attempts = {(*one.item.key, one.item.attempt) for one in seen}
    named = (ITEMS.c.run_id, ITEMS.c.task_id)
    keys = [one.item.key for one in seen]
    lock = select(*named).where(tuple_(*named).in_(keys)).order_by(*named).with_for_update()
    await connection.execute(lock)
    # A statement of its own, which sees what those wrote who were waited for.
    still = select(*named, ITEMS.c.attempt).where(tuple_(*named).in_(keys), RUNNING, _is_to_follow())
    rows = [(run_id, task_id, attempt) for run_id, task_id, attempt in await connection.execute(still)]
    return {(run_id, task_id) for run_id, task_id, attempt in rows if (run_id, task_id, attempt) in attempts}


async def _require_lease(connection: AsyncConnection, cluster: str, lease: UUID) -> None:
    mine = select(FOLLOWERS.c.cluster).where(FOLLOWERS.c.cluster == cluster, FOLLOWERS.c.lease == lease)
    if (await connection.execute(mine.with_for_update(read=True))).first() is None:
        raise LeaseLost(f"cluster {cluster}: another process follows it now")


async def _write_files(connection: AsyncConnection, seen: Sequence[Seen]) -> None:
    gone = [(*one.item.key, place, path) for one in seen for place, path in sorted(one.gone)]
    if gone:
        types = {**KEYS, "place": LEDGER["place"], "path": LEDGER["path"]}
        files = unnested(types, gone)
        of_file = [FILES.c[name] == files.c[name] for name in types]
        await connection.execute(delete(FILES).where(*of_file, FILES.c.followed_at.is_not(None)))
    rows = [(*one.item.key, *(getattr(row, name) for name in LEDGER)) for one in seen for row in one.rows]
    if rows:
        await connection.execute(_upsert(unnested({**KEYS, **LEDGER}, rows)))


def _upsert(rows: Any) -> Any:
    names = [*KEYS, *LEDGER]
    added = insert(FILES).from_select([*names, "followed_at"], select(*(rows.c[name] for name in names), func.now()))
    new = added.excluded
    changed: dict[str, Any] = {name: new[name] for name in LEDGER if name not in {"place", "path"}}
    changed |= {"removed_at": None, "removal": None, "collected_at": func.now(), "followed_at": func.now()}
    # What was collected before gives way to what the task has written since, and to nothing else.
    is_ours = or_(FILES.c.state == FileState.STORED, FILES.c.removed_at.is_not(None)) & FILES.c.followed_at.is_(None)
    gives_way = or_(~is_ours, new.state == FileState.STORED)
    return added.on_conflict_do_update(
        index_elements=["run_id", "task_id", "place", "path"], set_=changed, where=gives_way
    )


async def _write_items(connection: AsyncConnection, keys: Sequence[Key]) -> None:
    if not keys:
        return
    write = update(ITEMS).where(tuple_(ITEMS.c.run_id, ITEMS.c.task_id).in_(keys))
    await connection.execute(
        write.values(
            outputs_state=OutputsState.PARTIAL,
            followed_at=func.now(),
            has_outputs=has_output(),
            has_run_summary=has_fragment(),
        )
    )
