"""Items on their way to the scheduler: claimed before anything runs, so that a crash never leads to a second run.

`submission_started_at` and the nonce are committed with the claim. From then on an item without a job id means:
it may have been submitted; look it up before trying again, with the same nonce.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import and_, bindparam, func, or_, select, true, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common import database as db
from scripthut_common.database import Database
from scripthut_common.events import ItemState, Type
from scripthut_poller.tables import ITEMS, RUNS

from . import leases
from .items import JOB, Item, Job, Key, jobs, not_of, places, query, read
from .leases import Term
from .recording import Change, End, ended, record

_PATHS = ("output_dir", "run_summary_path", "stdout_path", "stderr_path")
_NOTED_AT_ONCE = 1000
# With what stands before it, it must not be cut: it is compared.
_MAX_WHY_CHARACTERS = 1000


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Items that nobody else submits until the lease ends, parents before children.

    `is_fresh`: none of them was ever handed to the scheduler.
    """

    id: UUID
    items: tuple[Item, ...]
    is_fresh: bool


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """What the scheduler gave for an item; `at` is the login node's clock, `submitted_at` the scheduler's own time."""

    job_id: str
    submitted_at: datetime | None = None
    at: datetime | None = None


class Whom(msgspec.Struct, frozen=True, kw_only=True):
    """Whose items: of jobs that run as this account (`None`: as our own), or everybody's."""

    account: str | None = None
    is_everybody: bool = False

    @property
    def condition(self) -> Any:
        """The same for a query."""
        return true() if self.is_everybody else ITEMS.c.job_user.is_not_distinct_from(self.account)


EVERYBODY = Whom(is_everybody=True)


async def accounts(database: Database, cluster: str) -> list[str | None]:
    """Name the accounts of which something waits to be submitted, the one that has waited longest first."""
    waiting = (
        select(ITEMS.c.job_user)
        .join_from(ITEMS, RUNS, ITEMS.c.run_id == RUNS.c.run_id)
        .where(ITEMS.c.cluster == cluster, ITEMS.c.state == ItemState.PENDING, ~ITEMS.c.awaits_ends)
        .group_by(ITEMS.c.job_user)
        .order_by(func.min(RUNS.c.created_at))
    )
    async with database.transaction() as connection:
        return list(await connection.scalars(waiting))


async def let_go(database: Database, term: Term) -> None:
    """Let items that waited for ends be submitted once everything that they depend on has ended.

    The comparison is ours: a run may have thousands of each, and the database would pair them one by one.
    """
    waiting = select(ITEMS.c.run_id, ITEMS.c.task_id, ITEMS.c.task["deps"].label("deps")).where(
        ITEMS.c.cluster == term.cluster, ITEMS.c.state == ItemState.PENDING, ITEMS.c.awaits_ends
    )
    async with database.transaction() as connection:
        await leases.require(connection, term)
        found = (await connection.execute(waiting)).all()
        if not found:
            return
        runs = {row.run_id for row in found}
        living = select(ITEMS.c.run_id, ITEMS.c.task_id).where(
            ITEMS.c.run_id.in_(runs), ITEMS.c.state != ItemState.FINAL
        )
        alive = {(row.run_id, row.task_id) for row in await connection.execute(living)}
        free = [
            (row.run_id, row.task_id) for row in found if not any((row.run_id, dep) in alive for dep in row.deps or ())
        ]
        if free:
            await connection.execute(update(ITEMS).where(are(free)).values(awaits_ends=False))


async def claim(database: Database, term: Term, whom: Whom = EVERYBODY, *, limit: int, lease_s: float) -> Claim:
    """Claim the next items, oldest run first, in their turn: so parents come before or with their children."""
    async with database.transaction() as connection:
        await leases.require(connection, term)
        fresh = _fresh(term.cluster).where(whom.condition).limit(limit)
        items = read(await connection.execute(fresh.with_for_update(of=ITEMS, skip_locked=True)))
        return await _take(connection, items, lease_s, is_fresh=True)


async def claim_unclear(database: Database, term: Term, whom: Whom = EVERYBODY, *, limit: int, lease_s: float) -> Claim:
    """Claim items that may or may not have been submitted: whoever had claimed them has not said within the lease."""
    async with database.transaction() as connection:
        await leases.require(connection, term)
        overdue = _unclear(term.cluster).where(whom.condition, ITEMS.c.submission_until < func.now()).limit(limit)
        items = read(await connection.execute(overdue.with_for_update(of=ITEMS, skip_locked=True)))
        return await _take(connection, items, lease_s, is_fresh=False)


async def unclear(database: Database, cluster: str, whom: Whom = EVERYBODY, *, limit: int) -> list[Item]:
    """Read items that may have been submitted, whoever has claimed them."""
    async with database.transaction() as connection:
        return read(await connection.execute(_unclear(cluster).where(whom.condition).limit(limit)))


async def age_s(database: Database, items: Sequence[Item]) -> float:
    """Say how many seconds ago the first of these may have been submitted: times of day differ between clocks."""
    async with database.transaction() as connection:
        now = await db.now(connection)
    return max((now - item.submission_started_at).total_seconds() for item in items if item.submission_started_at)


def _fresh(cluster: str) -> Any:
    unclear_runs = select(ITEMS.c.run_id).where(_is_unclear(cluster))
    return (
        query(ITEMS.c.task)
        .where(
            ITEMS.c.cluster == cluster,
            ITEMS.c.state == ItemState.PENDING,
            ITEMS.c.submission_started_at.is_(None),
            RUNS.c.cancel_requested_at.is_(None),
            # Children of what may or may not be submitted would only be given back, again and again.
            or_(~ITEMS.c.task.has_key("deps"), ITEMS.c.run_id.not_in(unclear_runs)),
            ~ITEMS.c.awaits_ends,
        )
        .order_by(RUNS.c.created_at, RUNS.c.run_id, ITEMS.c.turn)
    )


def _unclear(cluster: str) -> Any:
    ordered = (ITEMS.c.submission_started_at, ITEMS.c.run_id, ITEMS.c.turn)
    return query(ITEMS.c.task).where(_is_unclear(cluster)).order_by(*ordered)


def _is_unclear(cluster: str) -> Any:
    return and_(
        ITEMS.c.cluster == cluster,
        ITEMS.c.state == ItemState.PENDING,
        ITEMS.c.submission_started_at.is_not(None),
    )


async def _take(connection: AsyncConnection, items: Sequence[Item], lease_s: float, *, is_fresh: bool) -> Claim:
    id_ = uuid4()
    taken = (
        update(ITEMS)
        .where(are([item.key for item in items]))
        .values(
            submission=id_,
            submission_until=func.now() + timedelta(seconds=lease_s),
            submission_started_at=func.coalesce(ITEMS.c.submission_started_at, func.now()),
            nonce=func.coalesce(ITEMS.c.nonce, id_.hex),
        )
    )
    if items:
        await connection.execute(taken)
    marked = (msgspec.structs.replace(item, nonce=item.nonce or id_.hex) for item in items)
    return Claim(id=id_, items=tuple(marked), is_fresh=is_fresh)


async def place(database: Database, items: Sequence[Item], log_dirs: Mapping[str, str]) -> tuple[Item, ...]:
    """Say where the outputs of items lie, now that `~` is known; for good.

    Args:
        database: where the runs are kept.
        items: what is to be placed.
        log_dirs: the expanded log directory of each run.
    """
    async with database.transaction() as connection:
        for run_id, log_dir in sorted(log_dirs.items()):
            unplaced = update(RUNS).where(RUNS.c.run_id == run_id, RUNS.c.log_dir != log_dir)
            await connection.execute(unplaced.values(log_dir=log_dir))
        new = [
            {"of_run": item.run_id, "of_task": item.task_id, **places(log_dirs[item.run_id], item.run_id, item.task_id)}
            for item in items
            if item.output_dir is None
        ]
        if new:
            of_item = and_(ITEMS.c.run_id == bindparam("of_run"), ITEMS.c.task_id == bindparam("of_task"))
            await connection.execute(
                update(ITEMS).where(of_item).values({name: bindparam(name) for name in _PATHS}), new
            )
    return tuple(_placed(item, log_dirs[item.run_id]) for item in items)


def _placed(item: Item, log_dir: str) -> Item:
    return msgspec.structs.replace(item, log_dir=log_dir, **places(log_dir, item.run_id, item.task_id))


async def hand_over(database: Database, term: Term, items: Sequence[Item], fates: Mapping[Key, Handed | End]) -> None:
    """Note which items the scheduler has taken, and which have ended without it; the others are left as they are.

    Raises:
        LeaseLost: another process holds the cluster now, and will look for what was taken.
    """
    async with database.transaction() as connection:
        await leases.require(connection, term)
        now = await db.now(connection)
        known = [(item, fates[item.key]) for item in items if item.key in fates]
        await record(
            connection,
            [ended(item, fate) if isinstance(fate, End) else _submitted(item, fate, now) for item, fate in known],
        )


def _submitted(item: Item, handed: Handed, now: datetime) -> Change:
    after = msgspec.structs.replace(
        item,
        state=ItemState.SUBMITTED,
        job_id=handed.job_id,
        job_submitted_at=handed.submitted_at,
        handed_in_at=handed.at,
        submitted_at=now,
        entered_at=now,
        waited_s=0.0,
        reason=None,
    )
    return Change(before=item, after=after, tells=Type.ITEM_SUBMITTED)


async def note_refusal(database: Database, term: Term, account: str, why: str) -> None:
    """Let what waits for an account that refuses us say so, and since when; what says so already stays as it is."""
    said = f": {db.storable(why, _MAX_WHY_CHARACTERS)}"
    waiting = query().where(
        ITEMS.c.cluster == term.cluster,
        ITEMS.c.state == ItemState.PENDING,
        ITEMS.c.job_user == account,
        ~ITEMS.c.awaits_ends,
        RUNS.c.cancel_requested_at.is_(None),
        or_(ITEMS.c.reason.is_(None), ~ITEMS.c.reason.endswith(said, autoescape=True)),
    )
    async with database.transaction() as connection:
        await leases.require(connection, term)
        items = read(await connection.execute(waiting.limit(_NOTED_AT_ONCE)))
        reason = f"waiting since {await db.now(connection):%Y-%m-%d %H:%M} UTC{said}"
        await record(connection, [_waiting(item, reason) for item in items])


def _waiting(item: Item, reason: str) -> Change:
    after = msgspec.structs.replace(item, reason=reason)
    return Change(before=item, after=after, tells=Type.ITEM_CHANGED)


async def give_back(database: Database, claimed: Claim, keys: Collection[Key]) -> None:
    """Let go of claimed items of which nothing was handed to the scheduler."""
    if not keys:
        return
    fresh = {"submission_started_at": None, "nonce": None, "submission": None, "submission_until": None}
    values: dict[str, Any] = fresh if claimed.is_fresh else {"submission_until": func.now()}
    mine = update(ITEMS).where(are(keys), ITEMS.c.submission == claimed.id, ITEMS.c.state == ItemState.PENDING)
    async with database.transaction() as connection:
        await connection.execute(mine.values(values))


async def releasable(database: Database, cluster: str, *, limit: int, refused: Collection[str] = ()) -> list[Job]:
    """Say which held jobs may go: every item of their run is with the scheduler, has ended, or waits for ends."""
    incomplete = select(ITEMS.c.run_id).where(
        ITEMS.c.cluster == cluster, ITEMS.c.state == ItemState.PENDING, ~ITEMS.c.awaits_ends
    )
    held = select(*JOB).where(
        ITEMS.c.cluster == cluster,
        ITEMS.c.state.not_in([ItemState.PENDING, ItemState.FINAL]),
        ITEMS.c.is_held,
        ITEMS.c.job_id.is_not(None),
        ITEMS.c.run_id.not_in(incomplete),
        not_of(refused),
    )
    async with database.transaction() as connection:
        return jobs(await connection.execute(held.limit(limit)))


async def released(database: Database, term: Term, keys: Collection[Key]) -> None:
    """Note that these jobs are no longer held."""
    async with database.transaction() as connection:
        await leases.require(connection, term)
        await connection.execute(update(ITEMS).where(are(keys)).values(is_held=False))


def are(keys: Collection[Key]) -> Any:
    """Name items in a statement."""
    return tuple_(ITEMS.c.run_id, ITEMS.c.task_id).in_(keys)
