"""Collections: which task's outputs are wanted, due, leased, failed. What was collected is written by `keeping`."""

from collections.abc import Container, Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import ColumnElement, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database, UtcTime, notify
from scripthut_common.errors import LeaseLost
from scripthut_outputs.ledger import HeldFiles, OutputsState
from scripthut_outputs.tables import COLLECTIONS, ITEMS, RUNS

from . import clusters
from .changes import touch
from .holding import read_held

CHANNEL = "outputs_collections"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A task whose outputs are ours to collect until the lease ends.

    `wanted` tells one wish from the next, `failures` counts attempts in a row that reached the cluster. What earlier
    looks of the wish have left is in `looks`, `first_looked_at`, `listing_sha256` and `listed_at`; `claimed_at` is by
    the same clock, the database's. `held` is what is stored of the item.
    """

    run_id: str
    task_id: str
    cluster: str
    owner: str
    attempt: int
    wanted: int
    failures: int
    lease: UUID
    looks: int
    first_looked_at: datetime | None
    listing_sha256: str | None
    listed_at: datetime | None
    claimed_at: datetime
    job_id: str | None
    output_dir: str | None
    run_summary_path: str | None
    stdout_path: str | None
    stderr_path: str | None
    collected_at: datetime | None
    held: HeldFiles = {}

    @property
    def key(self) -> tuple[str, str]:
        """What names the item."""
        return self.run_id, self.task_id


_OF_THE_ITEM = ("job_id", "output_dir", "run_summary_path", "stdout_path", "stderr_path", "collected_at")
_OF_THE_LOOKS = ("looks", "first_looked_at", "listing_sha256", "listed_at")
_RETURNED = (
    *(COLLECTIONS.c[name] for name in ("run_id", "task_id", "cluster", "attempt", "wanted", "failures", "lease")),
    *(COLLECTIONS.c[name] for name in _OF_THE_LOOKS),
    *(ITEMS.c[name] for name in _OF_THE_ITEM),
    RUNS.c.owner,
    func.clock_timestamp(type_=UtcTime).label("claimed_at"),
)
# What a wish begins with: nobody has looked yet.
_UNSEEN = {"looks": 0, "first_looked_at": None, "listing_sha256": None, "listed_at": None}


async def want(connection: AsyncConnection, run_id: str, task_id: str, attempt: int, cluster: str) -> None:
    """Ask for a task's outputs, now and from the first try on, in the caller's transaction.

    One that is being collected just now keeps its lease; `wanted` tells its collector that it was asked again.
    """
    asked = {"attempt": attempt, "due_at": func.now(), "failures": 0, "first_failed_at": None, "reason": None} | _UNSEEN
    added = insert(COLLECTIONS).values(run_id=run_id, task_id=task_id, cluster=cluster, **asked)
    again = added.on_conflict_do_update(
        index_elements=["run_id", "task_id"], set_={**asked, "wanted": COLLECTIONS.c.wanted + 1}
    )
    await connection.execute(again)
    of_item = (ITEMS.c.run_id == run_id, ITEMS.c.task_id == task_id)
    await connection.execute(update(ITEMS).where(*of_item).values(outputs_state=OutputsState.PENDING))
    await notify(connection, CHANNEL, cluster)


class Collections:
    """The `collections` table, for those who collect."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim_due(self, cluster: str, *, limit: int, lease_s: float) -> list[Claim]:
        """Take what waits longest on one cluster, for `lease_s` seconds."""
        free = (
            select(COLLECTIONS.c.run_id, COLLECTIONS.c.task_id)
            .where(
                COLLECTIONS.c.cluster == cluster,
                COLLECTIONS.c.due_at <= func.now(),
                or_(COLLECTIONS.c.lease_until.is_(None), COLLECTIONS.c.lease_until < func.now()),
            )
            .order_by(COLLECTIONS.c.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("free")
        )
        claim = (
            update(COLLECTIONS)
            .where(
                COLLECTIONS.c.run_id == free.c.run_id,
                COLLECTIONS.c.task_id == free.c.task_id,
                ITEMS.c.run_id == COLLECTIONS.c.run_id,
                ITEMS.c.task_id == COLLECTIONS.c.task_id,
                RUNS.c.run_id == COLLECTIONS.c.run_id,
            )
            .values(lease=uuid4(), lease_until=func.now() + timedelta(seconds=lease_s))
            .returning(*_RETURNED)
        )
        async with self._database.transaction() as connection:
            rows = (await connection.execute(claim)).all()
            held = await read_held(connection, [(row.run_id, row.task_id) for row in rows if row.collected_at])
        claims = [
            Claim(**row._mapping, held=held.get((row.run_id, row.task_id), {}))  # noqa: SLF001  SQLAlchemy's public name
            for row in rows
        ]
        return sorted(claims, key=lambda claimed: claimed.key)

    async def renew(self, claims: Sequence[Claim], *, lease_s: float) -> None:
        """Keep claims for another `lease_s` seconds.

        Raises:
            LeaseLost: somebody else has taken all of them over.
        """
        if not claims:
            return
        lease_until = func.now() + timedelta(seconds=lease_s)
        async with self._database.transaction() as connection:
            kept = await connection.execute(update(COLLECTIONS).where(_ours(claims)).values(lease_until=lease_until))
        if not kept.rowcount:
            raise LeaseLost(f"{len(claims)} collections: another process has taken them over")

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back untouched: due as before, nothing counted."""
        await self._give_back(claims)

    async def postpone(self, claim: Claim, reason: str, *, delay_s: float) -> None:
        """Count a failed attempt; the next is due after `delay_s`."""
        await self._give_back(
            [claim],
            due_at=func.now() + timedelta(seconds=delay_s),
            failures=claim.failures + 1,
            first_failed_at=func.coalesce(COLLECTIONS.c.first_failed_at, func.now()),
            reason=reason,
        )

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

    async def _give_back(self, claims: Sequence[Claim], **values: object) -> None:
        if not claims:
            return
        give_back = update(COLLECTIONS).where(_ours(claims)).values(lease=None, lease_until=None, **values)
        async with self._database.transaction() as connection:
            await connection.execute(give_back)
        await self._show(claims, OutputsState.COLLECTING, OutputsState.PENDING)

    async def show_collecting(self, claims: Sequence[Claim]) -> None:
        """Let pages see that files of these are on their way."""
        await self._show(claims, OutputsState.PENDING, OutputsState.COLLECTING)

    async def _show(self, claims: Sequence[Claim], before: OutputsState, after: OutputsState) -> None:
        """Change what pages show of items that still stand as `before`."""
        if not claims:
            return
        change = update(ITEMS).where(of_items(claims), ITEMS.c.outputs_state == before).values(outputs_state=after)
        async with self._database.transaction() as connection:
            changed = set(await connection.scalars(change.returning(ITEMS.c.run_id)))
            for run_id in sorted(changed):
                await touch(connection, run_id)


def of_items(claims: Sequence[Claim]) -> ColumnElement[bool]:
    """Match the items of these claims."""
    return tuple_(ITEMS.c.run_id, ITEMS.c.task_id).in_([claim.key for claim in claims])


def _ours(claims: Sequence[Claim]) -> ColumnElement[bool]:
    keys = [(*claim.key, claim.lease) for claim in claims]
    return tuple_(COLLECTIONS.c.run_id, COLLECTIONS.c.task_id, COLLECTIONS.c.lease).in_(keys)
