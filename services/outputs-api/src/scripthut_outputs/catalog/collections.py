"""Collections: which task's outputs are wanted, due, leased, failed. What was collected is written by `keeping`.

Who changes several rows begins with documents, then locks items, by run and task, then collections, files, and runs
last. Claiming and renewing lock collections alone, and skip what somebody holds, so that nobody waits in a circle.
"""

from collections.abc import Awaitable, Callable, Collection, Container, Iterable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Double,
    Integer,
    Text,
    any_,
    bindparam,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database, count_present, notify
from scripthut_common.errors import LeaseLost
from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.ledger import MOVING, OutputsState
from scripthut_outputs.tables import COLLECTIONS, ITEMS

from . import claiming, clusters
from .changes import by_run, touch
from .claims import Claim, Key, same_item, take
from .rows import KEYS, unnested

CHANNEL = "outputs_collections"
# Of what is due a process leaves others their part, but takes so many at least: a trip costs the same for one.
_FEWEST = 10


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """What waits on one cluster: how many items are due, and for how long the one that waits longest."""

    count: int
    oldest_s: float


_HAS_SUCCEEDED = func.coalesce(ITEMS.c.outcome == Outcome.SUCCEEDED, false())
# What a wish begins with: nobody has looked yet.
_UNSEEN = {"looks": 0, "first_looked_at": None, "listing_sha256": None, "listed_at": None}


async def want(
    connection: AsyncConnection,
    run_id: str,
    task_id: str,
    attempt: int,
    cluster: str,
    *,
    has_succeeded: bool | None = None,
) -> None:
    """Ask for a task's outputs, now and from the first try on, in the caller's transaction.

    One that is being collected just now keeps its lease; `wanted` tells its collector that it was asked again.
    `has_succeeded` need not be said where the task's row says it.
    """
    of_item = (ITEMS.c.run_id == run_id, ITEMS.c.task_id == task_id)
    succeeded = _HAS_SUCCEEDED if has_succeeded is None else has_succeeded
    await _ask(connection, of_item, attempt, cluster, succeeded=succeeded)


async def want_incomplete(connection: AsyncConnection, run_id: str, cluster: str) -> Sequence[str]:
    """Ask again for the outputs of all ended tasks of a run that are not there whole; tell which they are."""
    in_trouble = exists().where(same_item(), COLLECTIONS.c.failures > 0)
    is_wanting = or_(ITEMS.c.outputs_state.in_([OutputsState.FAILED, OutputsState.INCOMPLETE]), in_trouble)
    is_there = (ITEMS.c.run_id == run_id, ITEMS.c.state == ItemState.FINAL, ITEMS.c.output_dir.is_not(None))
    lock = select(ITEMS.c.task_id).where(*is_there, is_wanting).order_by(ITEMS.c.task_id).with_for_update()
    task_ids = (await connection.scalars(lock)).all()
    if task_ids:
        ids = bindparam("task_ids", list(task_ids), type_=ARRAY(Text))
        of_items = (ITEMS.c.run_id == run_id, ITEMS.c.task_id == any_(ids))
        await _ask(connection, of_items, ITEMS.c.attempt, cluster, succeeded=_HAS_SUCCEEDED)
    return task_ids


async def _ask(
    connection: AsyncConnection,
    of_items: tuple[ColumnElement[bool], ...],
    attempt: int | ColumnElement[int],
    cluster: str,
    *,
    succeeded: bool | ColumnElement[bool],
) -> None:
    """Lock items first, as those do who end their collections, then ask for their outputs."""
    await connection.execute(update(ITEMS).where(*of_items).values(outputs_state=OutputsState.PENDING))
    asked: dict[str, Any] = {
        "attempt": attempt,
        "due_at": func.now(),
        "failures": 0,
        "first_failed_at": None,
        "reason": None,
        "succeeded": succeeded,
        "is_alone": False,
        **_UNSEEN,
    }
    columns = {"run_id": ITEMS.c.run_id, "task_id": ITEMS.c.task_id, "cluster": cluster, **asked}
    chosen = select(*(_column(name, value) for name, value in columns.items())).where(*of_items)
    added = insert(COLLECTIONS).from_select(list(columns), chosen)
    renewed = {name: added.excluded[name] for name in asked}
    again = added.on_conflict_do_update(
        index_elements=["run_id", "task_id"], set_={**renewed, "wanted": COLLECTIONS.c.wanted + 1}
    )
    await connection.execute(again)
    await notify(connection, CHANNEL, cluster)


def _column(name: str, value: Any) -> ColumnElement[Any]:
    if isinstance(value, ColumnElement):
        return value.label(name)
    return cast(literal(value), COLLECTIONS.c[name].type).label(name)


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing of an item may be read just now, and after how long somebody tries again."""

    claim: Claim
    reason: str
    delay_s: float


class Collections:
    """The `collections` table, for those who collect."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # By cluster and lane the run that had the last turn, while there are more than one claim takes from.
        self._turns: dict[tuple[str, bool], str] = {}
        # The same where owners take turns, and whose turn was the last.
        self._owner_turns: dict[tuple[str, bool], tuple[str, str]] = {}

    async def listen(
        self,
        clusters: Iterable[str],
        on_connect: Callable[[], Awaitable[None]],
        on_notify: Callable[[str], Awaitable[None]],
    ) -> None:
        """Hear which cluster has something that is wanted, and be counted among those who collect from these.

        Raises:
            DatabaseUnavailable: the connection is lost; call again.
        """
        presences = [claiming.presence(cluster) for cluster in clusters]
        await self._database.listen(CHANNEL, on_connect, on_notify, presences)

    async def claim_due(
        self,
        cluster: str,
        *,
        limit: int,
        lease_s: float,
        is_alone: bool = False,
        skipped_runs: Collection[str] = (),
    ) -> list[Claim]:
        """Take what is due on one cluster for `lease_s` seconds, in turns over runs, failures first.

        Args:
            cluster: where the items ran.
            limit: how many to take at most; fewer where others look for work too, so that each has its part.
            lease_s: how long they are ours.
            is_alone: take those that are to be collected alone; else the others.
            skipped_runs: of these take nothing.
        """
        lane = claiming.Lane(cluster=cluster, is_alone=is_alone, skipped_runs=tuple(sorted(skipped_runs)))
        async with self._database.transaction() as connection:
            collectors = 1 if is_alone else max(1, await count_present(connection, claiming.presence(cluster)))
            picked = await self._pick(connection, lane, limit, collectors)
            share = min(limit, max(_FEWEST, -(-len(picked) // collectors)))
            return await take(connection, [key for key, is_free in picked if is_free][:share], lease_s)

    async def claim_of_one(
        self,
        cluster: str,
        *,
        limit: int,
        lease_s: float,
        is_alone: bool = False,
        skipped_runs: Collection[str] = (),
        skipped_owners: Collection[str] = (),
    ) -> list[Claim]:
        """Take what is due of one owner, as `claim_due` does; owners take turns, but for those to be skipped."""
        lane = claiming.Lane(cluster=cluster, is_alone=is_alone, skipped_runs=tuple(sorted(skipped_runs)))
        async with self._database.transaction() as connection:
            lane, after = await self._turn_of(connection, lane, skipped_owners)
            if lane.owner is None:
                return []
            collectors = 1 if is_alone else max(1, await count_present(connection, claiming.presence(cluster)))
            query = claiming.pick(lane, runs=limit, items=limit * collectors, after=after, with_leased=collectors > 1)
            picked = (await connection.execute(query)).all()
            share = min(limit, max(_FEWEST, -(-len(picked) // collectors)))
            free = [(run_id, task_id) for run_id, task_id, is_free in picked if is_free]
            return await take(connection, free[:share], lease_s)

    async def _turn_of(
        self, connection: AsyncConnection, lane: claiming.Lane, skipped: Collection[str]
    ) -> tuple[claiming.Lane, str]:
        """Tell whose turn it is among those who have something due in the runs that are looked at this time."""
        start, last = self._owner_turns.get((lane.cluster, lane.is_alone), ("", ""))
        for after in dict.fromkeys((start, "")):
            found = (await connection.execute(claiming.owners(lane, after=after))).all()
            if found:
                break
        is_all = sum(runs for _, runs, _ in found) < claiming.MAX_READ
        waiting = sorted(owner for owner, _, _ in found if owner not in skipped)
        owner = next((one for one in waiting if one > last), waiting[0] if waiting else None)
        following = "" if is_all else max(run_id for _, _, run_id in found)
        self._owner_turns[lane.cluster, lane.is_alone] = following, owner or last
        return msgspec.structs.replace(lane, owner=owner), after

    async def _pick(
        self, connection: AsyncConnection, lane: claiming.Lane, limit: int, collectors: int
    ) -> list[tuple[Key, bool]]:
        """Pick what is next, runs that had no turn yet first; where there are others, with what they hold."""
        after = self._turns.get((lane.cluster, lane.is_alone), "")
        picked: list[tuple[Key, bool]] = []
        for start in dict.fromkeys((after, "")):
            query = claiming.pick(lane, runs=limit, items=limit * collectors, after=start, with_leased=collectors > 1)
            rows = [((run_id, task_id), is_free) for run_id, task_id, is_free in await connection.execute(query)]
            runs = {run_id for (run_id, _), _ in rows}
            picked += [row for row in rows if start == after or row[0][0] <= after]
            if len(runs) >= limit:
                break
        self._turns[lane.cluster, lane.is_alone] = max(runs) if len(runs) >= limit else ""
        return picked

    async def renew(self, claims: Sequence[Claim], *, lease_s: float) -> None:
        """Keep claims for another `lease_s` seconds; it waits for nobody who ends or asks for some of them just now.

        Raises:
            LeaseLost: somebody else has taken all of them over.
        """
        if not claims:
            return
        lease_until = func.now() + timedelta(seconds=lease_s)
        named = (COLLECTIONS.c.run_id, COLLECTIONS.c.task_id)
        free = select(*named).where(_ours(claims)).with_for_update(skip_locked=True).cte("free")
        same = (COLLECTIONS.c.run_id == free.c.run_id) & (COLLECTIONS.c.task_id == free.c.task_id)
        async with self._database.transaction() as connection:
            renewed = await connection.execute(update(COLLECTIONS).where(same).values(lease_until=lease_until))
            is_held = renewed.rowcount or await connection.scalar(select(exists().where(_ours(claims))))
        if not is_held:
            raise LeaseLost(f"{len(claims)} collections: another process has taken them over")

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back untouched: due as before, nothing counted."""
        await self._give_back(claims)

    async def set_aside(self, claims: Sequence[Claim], reason: str | None = None) -> None:
        """Give claims back to be collected each alone, after those that wait for that already; nothing is counted."""
        told = {} if reason is None else {"reason": reason}
        await self._give_back(claims, is_alone=True, due_at=func.now(), **told)

    async def postpone(self, claim: Claim, reason: str, *, delay_s: float) -> None:
        """Count a failed attempt; the next is due after `delay_s`, and made alone."""
        await self._give_back(
            [claim],
            due_at=func.now() + timedelta(seconds=delay_s),
            failures=claim.failures + 1,
            first_failed_at=func.coalesce(COLLECTIONS.c.first_failed_at, func.now()),
            reason=reason,
            is_alone=True,
        )

    async def refuse(self, refused: Sequence[Refusal]) -> None:
        """Count an attempt at items of which nothing may be read; they stand as failed until the next is due."""
        if not refused:
            return
        claims = [one.claim for one in refused]
        types = {"lease": COLLECTIONS.c.lease.type, "wanted": Integer(), "said": Text(), "delay_s": Double()}
        told = unnested(
            {**KEYS, **types},
            [(*one.claim.key, one.claim.lease, one.claim.wanted, one.reason, one.delay_s) for one in refused],
        )
        is_same = COLLECTIONS.c.wanted == told.c.wanted
        values: dict[str, Any] = {
            "due_at": func.now() + func.make_interval(0, 0, 0, 0, 0, 0, told.c.delay_s),
            "failures": COLLECTIONS.c.failures + 1,
            "first_failed_at": func.coalesce(COLLECTIONS.c.first_failed_at, func.now()),
            "reason": told.c.said,
        }
        same = [COLLECTIONS.c[name] == told.c[name] for name in (*KEYS, "lease")]
        kept = {name: case((is_same, value), else_=COLLECTIONS.c[name]) for name, value in values.items()}
        write = update(COLLECTIONS).where(*same).values(lease=None, lease_until=None, **kept)
        async with self._database.transaction() as connection:
            await _lock_items(connection, claims)
            rows = await connection.execute(write.returning(COLLECTIONS.c.run_id, COLLECTIONS.c.task_id, is_same))
            written = [((run_id, task_id), is_unchanged) for run_id, task_id, is_unchanged in rows]
            failed = [key for key, is_unchanged in written if is_unchanged]
            await _show(connection, failed, {*MOVING, OutputsState.FAILED}, OutputsState.FAILED)
            asked = [key for key, is_unchanged in written if not is_unchanged]
            await _show(connection, asked, {OutputsState.COLLECTING}, OutputsState.PENDING)

    async def note_cluster(self, cluster: str, error: str | None) -> None:
        """Say why a cluster's outputs cannot be collected just now, or that they can."""
        async with self._database.transaction() as connection:
            await clusters.note_collecting(connection, cluster, error)

    async def unserved(self, served: Container[str]) -> dict[str, int]:
        """Count the collections that wait on clusters other than these."""
        waiting = select(COLLECTIONS.c.cluster, func.count()).where(COLLECTIONS.c.due_at.is_not(None))
        async with self._database.transaction() as connection:
            rows = (await connection.execute(waiting.group_by(COLLECTIONS.c.cluster))).all()
        return {cluster: count for cluster, count in rows if cluster not in served}

    async def due(self) -> dict[str, Due]:
        """Tell by cluster what is due; clusters on which nothing is do not stand there."""
        oldest_s = func.extract("epoch", func.now() - func.min(COLLECTIONS.c.due_at))
        query = select(COLLECTIONS.c.cluster, func.count(), oldest_s).where(COLLECTIONS.c.due_at <= func.now())
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query.group_by(COLLECTIONS.c.cluster))).all()
        return {cluster: Due(count=count, oldest_s=float(age_s)) for cluster, count, age_s in rows}

    async def _give_back(self, claims: Sequence[Claim], **values: Any) -> None:
        """End leases; what was asked for again meanwhile is due as that said, whatever `values` say."""
        if not claims:
            return
        free = {"lease": None, "lease_until": None}
        named = (COLLECTIONS.c.run_id, COLLECTIONS.c.task_id)
        async with self._database.transaction() as connection:
            await _lock_items(connection, claims)
            given = list(
                await connection.execute(update(COLLECTIONS).where(_ours(claims)).values(free).returning(*named))
            )
            keys = {(run_id, task_id) for run_id, task_id in given}
            unchanged = [(*claim.key, claim.wanted) for claim in claims if claim.key in keys]
            if values.get("is_alone") and unchanged:
                await notify(connection, CHANNEL, claims[0].cluster)
            if values and unchanged:
                same_wish = tuple_(*named, COLLECTIONS.c.wanted).in_(unchanged)
                await connection.execute(update(COLLECTIONS).where(same_wish).values(values))
            await _show(connection, sorted(keys), {OutputsState.COLLECTING}, OutputsState.PENDING)

    async def show_collecting(self, claims: Sequence[Claim]) -> None:
        """Let pages see that files of these are on their way, where they are still ours."""
        if not claims:
            return
        async with self._database.transaction() as connection:
            held = await connection.execute(select(COLLECTIONS.c.run_id, COLLECTIONS.c.task_id).where(_ours(claims)))
            keys = [(run_id, task_id) for run_id, task_id in held]
            await _show(connection, keys, {OutputsState.PENDING}, OutputsState.COLLECTING)


async def _lock_items(connection: AsyncConnection, claims: Sequence[Claim]) -> None:
    lock = select(ITEMS.c.run_id).where(of_items(claims)).order_by(ITEMS.c.run_id, ITEMS.c.task_id)
    await connection.execute(lock.with_for_update())


async def _show(
    connection: AsyncConnection, keys: Sequence[Key], before: Collection[OutputsState], after: OutputsState
) -> None:
    """Change what pages show of items that still stand as `before`; locked in the order in which all lock items."""
    if not keys:
        return
    named = (ITEMS.c.run_id, ITEMS.c.task_id)
    shown = select(*named).where(tuple_(*named).in_(keys), ITEMS.c.outputs_state.in_(sorted(before)))
    held = shown.order_by(*named).with_for_update().cte("held")
    same = (ITEMS.c.run_id == held.c.run_id) & (ITEMS.c.task_id == held.c.task_id)
    change = update(ITEMS).where(same).values(outputs_state=after)
    for run_id, task_ids in by_run(await connection.execute(change.returning(*named))).items():
        await touch(connection, run_id, items=task_ids)


def of_items(claims: Sequence[Claim]) -> ColumnElement[bool]:
    """Match the items of these claims."""
    return tuple_(ITEMS.c.run_id, ITEMS.c.task_id).in_([claim.key for claim in claims])


def _ours(claims: Sequence[Claim]) -> ColumnElement[bool]:
    keys = [(*claim.key, claim.lease) for claim in claims]
    return tuple_(COLLECTIONS.c.run_id, COLLECTIONS.c.task_id, COLLECTIONS.c.lease).in_(keys)
