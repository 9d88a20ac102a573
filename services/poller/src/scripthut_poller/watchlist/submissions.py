"""Items on their way to the scheduler: claimed before anything runs, so that a crash never leads to a second run.

`submission_started_at` and the nonce are committed with the claim. From then on a claim whose lease has ended
means: it may have been submitted; look it up before trying again, with the same nonce.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import ARRAY, Text, any_, bindparam, exists, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common import database as db
from scripthut_common.database import Database
from scripthut_common.events import ItemState, Outcome, Type
from scripthut_poller.tables import ITEMS, RUNS

from .items import Item, Key, places, query, read
from .recording import Change, ended, lock_runs, record

_DEPENDENCY_FAILED = "a task that it depends on did not succeed: "


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """One item that may be submitted, after the jobs of `after` have succeeded."""

    item: Item
    after: tuple[str, ...]


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Items that nobody else submits until the lease ends. `doomed`: runs in which a dependency has failed.

    `is_fresh`: none of them was ever handed to the scheduler.
    """

    id: UUID
    ready: tuple[Ready, ...]
    doomed: frozenset[str]
    is_fresh: bool


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """What the scheduler gave for an item."""

    job_id: str
    submitted_at: datetime | None = None


async def claim(database: Database, cluster: str, *, limit: int, lease_s: float) -> Claim:
    """Claim the next items whose dependencies are all submitted or final, oldest run first."""
    fresh = (
        query(ITEMS.c.task)
        .where(
            ITEMS.c.cluster == cluster,
            ITEMS.c.state == ItemState.PENDING,
            ITEMS.c.submission_started_at.is_(None),
            RUNS.c.cancel_requested_at.is_(None),
            ~_waits_for_a_pending_one(),
        )
        .order_by(RUNS.c.created_at, RUNS.c.run_id, ITEMS.c.position)
        .limit(limit)
    )
    async with database.transaction() as connection:
        return await _claim(connection, fresh, lease_s, is_fresh=True)


async def claim_unclear(database: Database, cluster: str, *, limit: int, lease_s: float) -> Claim:
    """Claim items that may or may not have been submitted: whoever had claimed them has not said within the lease."""
    unclear = (
        query(ITEMS.c.task)
        .where(
            ITEMS.c.cluster == cluster,
            ITEMS.c.state == ItemState.PENDING,
            ITEMS.c.submission_started_at.is_not(None),
            or_(ITEMS.c.submission_until.is_(None), ITEMS.c.submission_until < func.now()),
        )
        .order_by(ITEMS.c.submission_started_at, ITEMS.c.run_id, ITEMS.c.position)
        .limit(limit)
    )
    async with database.transaction() as connection:
        return await _claim(connection, unclear, lease_s, is_fresh=False)


def _waits_for_a_pending_one() -> Any:
    parent = ITEMS.alias("parent")
    deps = func.coalesce(ITEMS.c.task["deps"], literal([], JSONB))
    dep = func.jsonb_array_elements_text(deps).column_valued("dep")
    return exists(
        select(literal(1))
        .select_from(dep)
        .join(parent, parent.c.task_id == dep)
        .where(parent.c.run_id == ITEMS.c.run_id, parent.c.state == ItemState.PENDING)
        .correlate(ITEMS)
    )


async def _claim(connection: AsyncConnection, wanted: Any, lease_s: float, *, is_fresh: bool) -> Claim:
    items = read(await connection.execute(wanted.with_for_update(of=ITEMS, skip_locked=True)))
    parents = await _parents(connection, items)
    ready, doomed = [], set()
    for item in items:
        deps = [parents[item.run_id, dep] for dep in (item.task.deps if item.task else ())]
        if is_fresh and any(_has_failed(dep) for dep in deps):
            doomed.add(item.run_id)
        else:
            after = tuple(dep.job_id for dep in deps if dep.job_id and dep.state != ItemState.FINAL)
            ready.append(Ready(item=item, after=after))
    claimed = Claim(id=uuid4(), ready=tuple(ready), doomed=frozenset(doomed), is_fresh=is_fresh)
    return await _take(connection, claimed, lease_s)


async def _take(connection: AsyncConnection, claimed: Claim, lease_s: float) -> Claim:
    nonce = claimed.id.hex
    await connection.execute(
        update(ITEMS)
        .where(_are([one.item.key for one in claimed.ready]))
        .values(
            submission=claimed.id,
            submission_until=func.now() + timedelta(seconds=lease_s),
            submission_started_at=func.coalesce(ITEMS.c.submission_started_at, func.now()),
            nonce=func.coalesce(ITEMS.c.nonce, nonce),
        )
    )
    ready = tuple(
        msgspec.structs.replace(one, item=msgspec.structs.replace(one.item, nonce=one.item.nonce or nonce))
        for one in claimed.ready
    )
    return msgspec.structs.replace(claimed, ready=ready)


async def _parents(connection: AsyncConnection, items: Sequence[Item]) -> dict[Key, Any]:
    names = sorted({dep for item in items if item.task for dep in item.task.deps})
    if not names:
        return {}
    found = select(ITEMS.c.run_id, ITEMS.c.task_id, ITEMS.c.state, ITEMS.c.outcome, ITEMS.c.job_id).where(
        ITEMS.c.run_id.in_({item.run_id for item in items}),
        ITEMS.c.task_id == any_(bindparam("names", names, ARRAY(Text))),
    )
    return {(row.run_id, row.task_id): row for row in await connection.execute(found)}


def _has_failed(parent: Any) -> bool:
    return bool(parent.state == ItemState.FINAL and parent.outcome != Outcome.SUCCEEDED)


def _are(keys: Collection[Key]) -> Any:
    return tuple_(ITEMS.c.run_id, ITEMS.c.task_id).in_(keys)


async def fail_dependents(database: Database, run_ids: Collection[str]) -> int:
    """End the pending items of these runs that wait, directly or not, for one that did not succeed; count them."""
    async with database.transaction() as connection:
        await lock_runs(connection, run_ids)
        rest = query(ITEMS.c.task).where(ITEMS.c.run_id.in_(run_ids), ITEMS.c.submission_started_at.is_(None))
        waiting = read(
            await connection.execute(rest.where(ITEMS.c.state == ItemState.PENDING).with_for_update(of=ITEMS))
        )
        failed = await _failed_keys(connection, run_ids)
        changes = [
            ended(item, Outcome.DEPENDENCY_FAILED, _DEPENDENCY_FAILED + cause)
            for item, cause in _doomed(waiting, failed)
        ]
        return len(await record(connection, changes))


async def _failed_keys(connection: AsyncConnection, run_ids: Collection[str]) -> set[Key]:
    failed = select(ITEMS.c.run_id, ITEMS.c.task_id).where(
        ITEMS.c.run_id.in_(run_ids), ITEMS.c.state == ItemState.FINAL, ITEMS.c.outcome != Outcome.SUCCEEDED
    )
    return {(row.run_id, row.task_id) for row in await connection.execute(failed)}


def _doomed(waiting: Sequence[Item], failed: set[Key]) -> list[tuple[Item, str]]:
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


async def place(database: Database, ready: Sequence[Ready], log_dirs: Mapping[str, str]) -> list[Ready]:
    """Say where the outputs of items lie, now that `~` is known; for good.

    Args:
        database: where the runs are kept.
        ready: what is to be placed.
        log_dirs: the expanded log directory of each run.
    """
    async with database.transaction() as connection:
        for run_id, log_dir in sorted(log_dirs.items()):
            unplaced = update(RUNS).where(RUNS.c.run_id == run_id, RUNS.c.log_dir != log_dir)
            await connection.execute(unplaced.values(log_dir=log_dir))
    return [msgspec.structs.replace(one, item=_placed(one.item, log_dirs[one.item.run_id])) for one in ready]


def _placed(item: Item, log_dir: str) -> Item:
    return msgspec.structs.replace(item, log_dir=log_dir, **places(log_dir, item.run_id, item.task_id))


async def hand_over(
    database: Database, claimed: Sequence[Item], handed: Mapping[Key, Handed], refused: Mapping[Key, str]
) -> None:
    """Note which items the scheduler has taken and which it has refused, with its words."""
    async with database.transaction() as connection:
        now = await db.now(connection)
        changes = [_submitted(item, handed[item.key], now) for item in claimed if item.key in handed]
        changes += [
            ended(item, Outcome.SUBMISSION_FAILED, refused[item.key]) for item in claimed if item.key in refused
        ]
        await record(connection, changes)


def _submitted(item: Item, handed: Handed, now: datetime) -> Change:
    after = msgspec.structs.replace(
        item,
        state=ItemState.SUBMITTED,
        job_id=handed.job_id,
        job_submitted_at=handed.submitted_at,
        submitted_at=handed.submitted_at or now,
        waited_s=0.0,
    )
    return Change(before=item, after=after, tells=Type.ITEM_SUBMITTED)


async def give_back(database: Database, claimed: Claim, keys: Collection[Key]) -> None:
    """Let go of claimed items of which nothing was handed to the scheduler."""
    fresh = {"submission_started_at": None, "nonce": None, "submission": None, "submission_until": None}
    values: dict[str, Any] = fresh if claimed.is_fresh else {"submission_until": func.now()}
    mine = update(ITEMS).where(_are(keys), ITEMS.c.submission == claimed.id, ITEMS.c.state == ItemState.PENDING)
    async with database.transaction() as connection:
        await connection.execute(mine.values(values))


async def releasable(database: Database, cluster: str, *, limit: int) -> dict[Key, str]:
    """Say which held jobs may go: every item of their run is with the scheduler, or has ended."""
    pending = ITEMS.alias("pending")
    waits = exists(
        select(literal(1)).where(pending.c.run_id == ITEMS.c.run_id, pending.c.state == ItemState.PENDING)
    ).correlate(ITEMS)
    held = select(ITEMS.c.run_id, ITEMS.c.task_id, ITEMS.c.job_id).where(
        ITEMS.c.cluster == cluster,
        ITEMS.c.state.not_in([ItemState.PENDING, ItemState.FINAL]),
        ITEMS.c.is_held,
        ITEMS.c.job_id.is_not(None),
        ~waits,
    )
    async with database.transaction() as connection:
        return {(row.run_id, row.task_id): row.job_id for row in await connection.execute(held.limit(limit))}


async def released(database: Database, keys: Collection[Key]) -> None:
    """Note that these jobs are no longer held."""
    async with database.transaction() as connection:
        await connection.execute(update(ITEMS).where(_are(keys)).values(is_held=False))
