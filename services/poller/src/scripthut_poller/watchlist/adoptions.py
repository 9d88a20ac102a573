"""Jobs that nobody announced and that a scan has found: they join the watchlist as their tags say, or are refused."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ARRAY, Text, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common import database as db
from scripthut_common.database import Database
from scripthut_common.events import ItemState, RunState, Type
from scripthut_common.tasks import MAX_TASKS
from scripthut_poller.tables import CLUSTERS, ITEMS, RUNS

from . import leases
from .items import Item, places
from .leases import Term
from .recording import Change, record


class Foundling(msgspec.Struct, frozen=True, kw_only=True):
    """One job that a scan has found, and where it says that it belongs.

    Args:
        owner: the account that it runs as.
        log_dir: absolute; below it lie its outputs.
        nonce: what its exit record names, if it leaves one.
    """

    run_id: str
    task_id: str
    owner: str
    job_id: str
    submitted_at: datetime | None
    log_dir: str
    nonce: str


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is not watched though it is tagged, and why."""

    job_id: str
    owner: str
    tag: str
    reason: str


async def scanned_at(database: Database, cluster: str) -> datetime | None:
    """Say when a cluster was last scanned as a whole, by its own clock."""
    async with database.transaction() as connection:
        found: datetime | None = await connection.scalar(
            select(CLUSTERS.c.scanned_at).where(CLUSTERS.c.name == cluster)
        )
        return found


async def note_scan(database: Database, term: Term, at: datetime) -> None:
    """Note that all that a scan found is watched or refused; `at` is the cluster's own clock."""
    async with database.transaction() as connection:
        await leases.require(connection, term)
        row = insert(CLUSTERS).values(name=term.cluster, scanned_at=at)
        await connection.execute(row.on_conflict_do_update(index_elements=[CLUSTERS.c.name], set_={"scanned_at": at}))


async def unknown(database: Database, cluster: str, found: Sequence[Foundling]) -> list[Foundling]:
    """Leave out the jobs that are watched already, or were; a job is its id and its time, since ids are used again."""
    ids = bindparam("ids", [one.job_id for one in found], ARRAY(Text))
    known = select(ITEMS.c.job_id, ITEMS.c.run_id, ITEMS.c.task_id, ITEMS.c.state, _LAST_SEEN).where(
        ITEMS.c.cluster == cluster, ITEMS.c.job_id == any_(ids)
    )
    async with database.transaction() as connection:
        rows = [*await connection.execute(known)] if found else []
    by_id: dict[str, list[Any]] = {}
    for row in rows:
        by_id.setdefault(row.job_id, []).append(row)
    return [one for one in found if not any(_is_of(row, one) for row in by_id.get(one.job_id, ()))]


_LAST_SEEN = func.coalesce(ITEMS.c.ended_at, ITEMS.c.entered_at).label("last_seen_at")


def _is_of(row: Any, one: Foundling) -> bool:
    """Say whether an item is this very job: under its own name it always is, else unless it was over before."""
    if row.state != ItemState.FINAL or (row.run_id, row.task_id) == (one.run_id, one.task_id):
        return True
    return one.submitted_at is None or row.last_seen_at is None or one.submitted_at < row.last_seen_at


async def adopt(
    database: Database,
    term: Term,
    found: Sequence[Foundling],
    *,
    identity: str | None = None,
    max_tasks: int = MAX_TASKS,
) -> list[Refusal]:
    """Watch jobs of one account in one run, with their `item.submitted`; say which are refused.

    Args:
        database: where items are kept.
        term: in which the jobs were found.
        found: the jobs, all of one account and one run.
        identity: whose the account is, by the name under which they ask for runs here; the account's own by default.
        max_tasks: how many a run may have.

    Raises:
        LeaseLost: another process holds the cluster now; nothing is written.
    """
    first = found[0]
    async with database.transaction() as connection:
        await leases.require(connection, term)
        run = await _run(connection, term.cluster, first)
        if run.cluster != term.cluster or not await _is_theirs(connection, run, first, identity or first.owner):
            awaited = await _on_their_way(connection, term.cluster, first.run_id)
            strangers = [one for one in found if one.task_id not in awaited]
            return [_refused(one, "the run belongs to somebody else, or to another cluster") for one in strangers]
        joining, refusals = await _sorted_out(connection, found, max_tasks)
        await _insert(connection, term.cluster, run, joining)
        return refusals


async def _run(connection: AsyncConnection, cluster: str, one: Foundling) -> Any:
    fresh = {
        "run_id": one.run_id,
        "name": one.run_id,
        "cluster": cluster,
        "owner": one.owner,
        "log_dir": one.log_dir,
        "state": RunState.PENDING,
    }
    await connection.execute(insert(RUNS).values(fresh).on_conflict_do_nothing())
    known = select(
        RUNS.c.name,
        RUNS.c.cluster,
        RUNS.c.owner,
        RUNS.c.log_dir,
        RUNS.c.document_sha256,
        RUNS.c.cancel_requested_at,
    )
    return (await connection.execute(known.where(RUNS.c.run_id == one.run_id).with_for_update())).one()


async def _is_theirs(connection: AsyncConnection, run: Any, one: Foundling, identity: str) -> bool:
    """Say whether a run is that of an account's owner. Names of accounts and of those who ask here are two things.

    A run that was asked for here belongs to whom asked, or to the account that its jobs run as; another to an account.
    """
    if run.document_sha256 is None:
        return bool(run.owner == one.owner)
    if run.owner == identity:
        return True
    as_it = select(ITEMS.c.task_id).where(ITEMS.c.run_id == one.run_id, ITEMS.c.job_user == one.owner).limit(1)
    return (await connection.execute(as_it)).first() is not None


async def _on_their_way(connection: AsyncConnection, cluster: str, run_id: str) -> set[str]:
    """Name the tasks of a run that may just have been submitted: by us, as the account that we log in as."""
    waiting = select(ITEMS.c.task_id).where(
        ITEMS.c.run_id == run_id, ITEMS.c.cluster == cluster, ITEMS.c.job_id.is_(None)
    )
    return set(await connection.scalars(waiting))


async def _sorted_out(
    connection: AsyncConnection, found: Sequence[Foundling], max_tasks: int
) -> tuple[list[tuple[int, Foundling]], list[Refusal]]:
    """Give what joins the run with its position, and what does not."""
    wanted = select(ITEMS.c.task_id, ITEMS.c.job_id, ITEMS.c.position).where(ITEMS.c.run_id == found[0].run_id)
    rows = (await connection.execute(wanted)).all()
    taken = {row.task_id: row.job_id for row in rows}
    position = max((row.position for row in rows), default=-1)
    joining, refusals = list[tuple[int, Foundling]](), list[Refusal]()
    for one in found:
        if one.task_id in taken:
            # Without a job id it is on its way to the scheduler, and this may be it.
            if taken[one.task_id] not in {None, one.job_id}:
                refusals.append(_refused(one, f"job {taken[one.task_id]} has the same tag"))
        elif len(taken) >= max_tasks:
            refusals.append(_refused(one, f"the run has {max_tasks} tasks, and may have no more"))
        else:
            position += 1
            taken[one.task_id] = one.job_id
            joining.append((position, one))
    return joining, refusals


async def _insert(
    connection: AsyncConnection, cluster: str, run: Any, joining: Sequence[tuple[int, Foundling]]
) -> None:
    if not joining:
        return
    now = await db.now(connection)
    rows = [_row(cluster, position, one, now) for position, one in joining]
    # A run that was cancelled before a job joined it was not meant to cancel that.
    later = {"cancel_sent_at": run.cancel_requested_at}
    await connection.execute(insert(ITEMS), [row | later for row in rows])
    items = [
        msgspec.convert({**row, "run_name": run.name, "owner": run.owner, "log_dir": run.log_dir}, type=Item)
        for row in rows
    ]
    await record(connection, [Change(before=item, after=item, tells=Type.ITEM_SUBMITTED) for item in items])


def _row(cluster: str, position: int, one: Foundling, now: datetime) -> dict[str, Any]:
    return {
        "run_id": one.run_id,
        "task_id": one.task_id,
        "position": position,
        "cluster": cluster,
        "task_name": one.task_id,
        "state": ItemState.SUBMITTED,
        "job_id": one.job_id,
        "job_user": one.owner,
        "job_submitted_at": one.submitted_at,
        "submitted_at": min(one.submitted_at or now, now),
        "entered_at": now,
        "nonce": one.nonce,
        **places(one.log_dir, one.run_id, one.task_id),
    }


def _refused(one: Foundling, reason: str) -> Refusal:
    return Refusal(job_id=one.job_id, owner=one.owner, tag=f"{one.run_id}/{one.task_id}", reason=reason)
