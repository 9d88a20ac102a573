"""Runs that a task extends by a list: which lists are to be read, and what becomes of them, once each."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common import database as db
from scripthut_common.database import Database
from scripthut_common.events import Extension, ItemState, RunExtended, Type, event
from scripthut_common.tasks import TaskSpec
from scripthut_poller.tables import ITEMS, RUNS

from . import leases
from .items import SOURCE, Item, Key, is_extending, places, query, read
from .leases import Term
from .recording import Change, lock_runs, outbox, record
from .requests import of_task, turns_of


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """One list that is to be read; `tries` counts how often it was looked for in vain."""

    item: Item
    task: TaskSpec
    tries: int


async def due(database: Database, cluster: str, *, limit: int) -> list[Due]:
    """Read which lists are to be read now, those that were never looked for first."""
    now = or_(ITEMS.c.extension_due_at.is_(None), ITEMS.c.extension_due_at <= func.now())
    wanted = (
        query(ITEMS.c.task, ITEMS.c.extension_tries.label("tries"))
        .where(ITEMS.c.cluster == cluster, is_extending(), now)
        .order_by(ITEMS.c.extension_due_at.nulls_first(), ITEMS.c.run_id, ITEMS.c.task_id)
        .limit(limit)
    )
    async with database.transaction() as connection:
        rows = (await connection.execute(wanted)).all()
    items = read(rows)
    return [
        Due(item=item, task=item.task, tries=row.tries)
        for item, row in zip(items, rows, strict=True)
        if item.task is not None
    ]


async def known_ids(database: Database, run_id: str) -> list[str]:
    """Read the ids of the tasks that a run has, in their order."""
    async with database.transaction() as connection:
        found = await connection.scalars(
            select(ITEMS.c.task_id).where(ITEMS.c.run_id == run_id).order_by(ITEMS.c.position, ITEMS.c.task_id)
        )
        return list(found)


async def postpone(database: Database, term: Term, waits_s: Mapping[Key, float], *, tries: int = 1) -> None:
    """Look for these lists again later, each after its time; `tries` is what this look counts."""
    async with database.transaction() as connection:
        await leases.require(connection, term)
        for (run_id, task_id), wait_s in waits_s.items():
            await connection.execute(
                update(ITEMS)
                .where(ITEMS.c.run_id == run_id, ITEMS.c.task_id == task_id)
                .values(
                    extension_tries=ITEMS.c.extension_tries + tries,
                    extension_due_at=func.now() + timedelta(seconds=wait_s),
                )
            )


async def refuse(database: Database, term: Term, key: Key, error: str) -> bool:
    """Note for good that a list adds nothing, and why; `False` when it is not to be read any more."""
    async with database.transaction() as connection:
        await leases.require(connection, term)
        parent = await _hold(connection, key)
        if parent is None:
            return False
        await record(connection, [await _settled(connection, parent, Extension.REFUSED, error)])
        return True


async def accept(database: Database, term: Term, key: Key, wanted: Sequence[TaskSpec], known: Collection[str]) -> bool:
    """Add tasks to the run of the task that generated them, all at once and once only.

    Args:
        database: where the runs are kept.
        term: in which the list was read.
        key: the task that wrote the list.
        wanted: the list, fitted into the run.
        known: the ids that it was fitted to.

    Returns: `False` when nothing was added: the run has changed, was cancelled, or the list was taken before.
    """
    async with database.transaction() as connection:
        await leases.require(connection, term)
        parent = await _hold(connection, key)
        if parent is None or parent.is_cancelled:
            return False
        standing = await _standing(connection, parent.run_id)
        if standing.keys() != set(known):
            return False
        children = await _append(connection, parent, wanted, standing)
        done = await _settled(connection, parent, Extension.DONE, None)
        await record(connection, [*(Change(before=one, after=one, tells=Type.ITEM_CHANGED) for one in children), done])
        await _tell(connection, parent, len(wanted), await db.now(connection))
        return True


async def _hold(connection: AsyncConnection, key: Key) -> Item | None:
    """Lock the run, then the item if its list is still to be read; an item that is being written is left for later."""
    await lock_runs(connection, [key[0]])
    wanted = query(ITEMS.c.task).where(ITEMS.c.run_id == key[0], ITEMS.c.task_id == key[1], is_extending())
    found = read(await connection.execute(wanted.with_for_update(of=ITEMS, skip_locked=True)))
    return found[0] if found else None


async def _settled(connection: AsyncConnection, parent: Item, extension: Extension, error: str | None) -> Change:
    await connection.execute(
        update(ITEMS)
        .where(ITEMS.c.run_id == parent.run_id, ITEMS.c.task_id == parent.task_id)
        .values(extension=extension, extension_error=error, extension_due_at=None)
    )
    after = msgspec.structs.replace(parent, extension=extension, extension_error=error)
    return Change(before=parent, after=after, tells=Type.ITEM_CHANGED)


async def _standing(connection: AsyncConnection, run_id: str) -> dict[str, Any]:
    columns = (ITEMS.c.task_id, ITEMS.c.state, ITEMS.c.position, ITEMS.c.turn)
    return {row.task_id: row for row in await connection.execute(select(*columns).where(ITEMS.c.run_id == run_id))}


async def _append(
    connection: AsyncConnection, parent: Item, wanted: Sequence[TaskSpec], standing: Mapping[str, Any]
) -> list[Item]:
    """Add the rows, and read them back as items."""
    if not wanted:
        return []
    alive = {id_ for id_, row in standing.items() if row.state != ItemState.FINAL}
    awaiting = _awaiting(wanted, alive)
    held = {dep for task in wanted if task.id not in awaiting for dep in task.deps}
    turns = turns_of(_among_themselves(wanted))
    position = max(row.position for row in standing.values()) + 1
    turn = max(row.turn for row in standing.values()) + 1
    rows = [
        {
            "run_id": parent.run_id,
            "cluster": parent.cluster,
            "position": position + index,
            "turn": turn + turns[task.id],
            "is_held": task.id in held,
            "awaits_ends": task.id in awaiting,
            "generated_by": parent.task_id,
            "job_user": parent.job_user,
            **of_task(task),
            **places(parent.log_dir, parent.run_id, task.id),
        }
        for index, task in enumerate(wanted)
    ]
    await connection.execute(insert(ITEMS), rows)
    return read(await connection.execute(_added(parent.run_id, position)))


def _added(run_id: str, position: int) -> Any:
    return query().where(ITEMS.c.run_id == run_id, ITEMS.c.position >= position).order_by(ITEMS.c.position)


def _among_themselves(wanted: Sequence[TaskSpec]) -> list[TaskSpec]:
    new = {task.id for task in wanted}
    return [msgspec.structs.replace(task, deps=tuple(dep for dep in task.deps if dep in new)) for task in wanted]


def _awaiting(wanted: Sequence[TaskSpec], alive: Collection[str]) -> set[str]:
    """Name the tasks that come, directly or not, after one that was with the scheduler before the list came.

    That job is not held back any more: it may end, and be forgotten by the scheduler, before we can name it to it.
    """
    turns = turns_of(_among_themselves(wanted))
    found: set[str] = set()
    for task in sorted(wanted, key=lambda one: turns[one.id]):
        if any(dep in alive or dep in found for dep in task.deps):
            found.add(task.id)
    return found


async def _tell(connection: AsyncConnection, parent: Item, count: int, at: datetime) -> None:
    raised = update(RUNS).where(RUNS.c.run_id == parent.run_id).values(sequence=RUNS.c.sequence + 1)
    sequence = await connection.scalar(raised.returning(RUNS.c.sequence))
    told = RunExtended(
        run_id=parent.run_id,
        cluster=parent.cluster,
        owner=parent.owner,
        parent_task_id=parent.task_id,
        count=count,
        sequence=sequence or 0,
    )
    await outbox.add(connection, [event(Type.RUN_EXTENDED, told, source=SOURCE, at=at)])
