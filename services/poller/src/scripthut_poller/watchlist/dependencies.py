"""What stands between an item and its submission: which jobs it comes after, or which failure it follows."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ARRAY, Text, any_, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_common.events import ItemState, Outcome
from scripthut_poller.tables import ITEMS

from .items import Item, Key, query, read
from .recording import End, ended, lock_runs, record


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """One item that may be submitted, after these jobs, and after these items of the same batch."""

    item: Item
    after_ids: tuple[str, ...] = ()
    after: tuple[Item, ...] = ()


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """What can be done with each item. `waiting`: what it depends on is not submitted or has not ended yet."""

    ready: tuple[Ready, ...]
    doomed: dict[Key, End]
    waiting: tuple[Key, ...]


async def resolve(database: Database, items: Sequence[Item]) -> Resolved:
    """Look at what these items depend on; they come in their turn, parents before children."""
    async with database.transaction() as connection:
        parents = await _parents(connection, items)
    ready: dict[Key, Ready] = {}
    doomed: dict[Key, End] = {}
    for item in items:
        place = _place(item, parents, ready, doomed)
        if isinstance(place, Ready):
            ready[item.key] = place
        elif place is not None:
            doomed[item.key] = place
    waiting = tuple(item.key for item in items if item.key not in ready and item.key not in doomed)
    return Resolved(ready=tuple(ready.values()), doomed=doomed, waiting=waiting)


def _place(
    item: Item, parents: Mapping[Key, Any], ready: Mapping[Key, Ready], doomed: Collection[Key]
) -> Ready | End | None:
    """Say what can be done with one item; `None` while something that it depends on is not submitted.

    A job that is not held may have ended unseen, and a scheduler that has forgotten it takes it as one that succeeded.
    So what depends on it waits for its end.
    """
    ids, earlier = [], []
    for dep in item.task.deps if item.task else ():
        key = (item.run_id, dep)
        parent = parents[key]
        if key in doomed or _has_failed(parent):
            return _follows(dep)
        if key in ready:
            earlier.append(ready[key].item)
        elif parent.state != ItemState.FINAL:
            if parent.state == ItemState.PENDING or not parent.is_held:
                return None
            ids.append(parent.job_id)
    return Ready(item=item, after_ids=tuple(ids), after=tuple(earlier))


async def _parents(connection: AsyncConnection, items: Sequence[Item]) -> dict[Key, Any]:
    names = sorted({dep for item in items if item.task for dep in item.task.deps})
    if not names:
        return {}
    columns = (ITEMS.c.state, ITEMS.c.outcome, ITEMS.c.job_id, ITEMS.c.is_held)
    found = select(ITEMS.c.run_id, ITEMS.c.task_id, *columns).where(
        ITEMS.c.run_id.in_({item.run_id for item in items}),
        ITEMS.c.task_id == any_(bindparam("names", names, ARRAY(Text))),
    )
    return {(row.run_id, row.task_id): row for row in await connection.execute(found)}


def _has_failed(parent: Any) -> bool:
    return bool(parent.state == ItemState.FINAL and parent.outcome != Outcome.SUCCEEDED)


def _follows(cause: str) -> End:
    reason = f"a task that it depends on did not succeed: {cause}"
    return End(outcome=Outcome.DEPENDENCY_FAILED, reason=reason)


async def fail_dependents(database: Database, run_ids: Collection[str]) -> int:
    """End the pending items of these runs that wait, directly or not, for one that did not succeed; count them."""
    async with database.transaction() as connection:
        await lock_runs(connection, run_ids)
        fresh = query(ITEMS.c.task).where(
            ITEMS.c.run_id.in_(run_ids),
            ITEMS.c.state == ItemState.PENDING,
            ITEMS.c.submission_started_at.is_(None),
        )
        waiting = read(await connection.execute(fresh.with_for_update(of=ITEMS)))
        failed = await _failed(connection, run_ids)
        changes = [ended(item, _follows(cause)) for item, cause in _followers(waiting, failed)]
        return len(await record(connection, changes))


async def _failed(connection: AsyncConnection, run_ids: Collection[str]) -> set[Key]:
    failed = select(ITEMS.c.run_id, ITEMS.c.task_id).where(
        ITEMS.c.run_id.in_(run_ids), ITEMS.c.state == ItemState.FINAL, ITEMS.c.outcome != Outcome.SUCCEEDED
    )
    return {(row.run_id, row.task_id) for row in await connection.execute(failed)}


def _followers(waiting: Sequence[Item], failed: set[Key]) -> list[tuple[Item, str]]:
    """Pair every item that can no longer run with the task that is to blame."""
    children: dict[Key, list[Item]] = {}
    for item in waiting:
        for dep in item.task.deps if item.task else ():
            children.setdefault((item.run_id, dep), []).append(item)
    found: dict[Key, tuple[Item, str]] = {}
    front = [key for key in failed if key in children]
    while front:
        parent = front.pop()
        for child in children.get(parent, ()):
            if child.key not in found:
                found[child.key] = (child, parent[1])
                front.append(child.key)
    return list(found.values())
