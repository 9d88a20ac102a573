"""What is known of each cluster as a whole: what `~` means there, and how its last round went."""

from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import case, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common import database as db
from scripthut_common.database import Database
from scripthut_common.events import ClusterObserved, ItemState, Type, event
from scripthut_poller.tables import CLUSTERS, ITEMS

from . import leases
from .items import SOURCE, is_extending
from .leases import Term
from .recording import outbox

TELL_EVERY_S = 30.0
GAP_S = 600.0
# Whatever came to an end before a gap in the answers has a new beginning after it.
ANSWERING_SINCE = case(
    (CLUSTERS.c.answered_at >= func.now() - timedelta(seconds=GAP_S), CLUSTERS.c.answering_since), else_=func.now()
)


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """How a round went. `has_answered`: the queue did; `is_good`: every source that was asked did, completely."""

    state: str
    error: str | None = None
    is_good: bool = False
    has_answered: bool = False
    commands_per_minute: float = 0.0


async def home(database: Database, cluster: str) -> str | None:
    """Say what `~` means on a cluster; `None` while nobody has asked it."""
    async with database.transaction() as connection:
        found: str | None = await connection.scalar(select(CLUSTERS.c.home).where(CLUSTERS.c.name == cluster))
        return found


async def keep_home(database: Database, cluster: str, path: str) -> None:
    """Note what `~` means on a cluster."""
    async with database.transaction() as connection:
        row = insert(CLUSTERS).values(name=cluster, home=path)
        await connection.execute(row.on_conflict_do_update(index_elements=[CLUSTERS.c.name], set_={"home": path}))


async def observe(database: Database, term: Term, seen: Observed) -> None:
    """Note how a round went; tell it when it differs from before, or nothing was told for half a minute."""
    async with database.transaction() as connection:
        await leases.require(connection, term)
        await note(connection, term.cluster, seen)


async def note(connection: AsyncConnection, cluster: str, seen: Observed) -> None:
    """Do what `observe` does, in the caller's transaction. What a cluster complained of need not be text."""
    error = None if seen.error is None else db.storable(seen.error)
    await connection.execute(insert(CLUSTERS).values(name=cluster).on_conflict_do_nothing())
    is_news = or_(
        CLUSTERS.c.state != seen.state,
        CLUSTERS.c.error.is_distinct_from(error),
        CLUSTERS.c.published_at.is_(None),
        CLUSTERS.c.published_at <= func.now() - timedelta(seconds=TELL_EVERY_S),
    )
    written = (
        update(CLUSTERS)
        .where(CLUSTERS.c.name == cluster)
        .values(
            state=seen.state,
            error=error,
            last_good_round_at=func.now() if seen.is_good else CLUSTERS.c.last_good_round_at,
            answering_since=ANSWERING_SINCE if seen.has_answered else CLUSTERS.c.answering_since,
            answered_at=func.now() if seen.has_answered else CLUSTERS.c.answered_at,
            sequence=CLUSTERS.c.sequence + case((is_news, 1), else_=0),
            published_at=case((is_news, func.now()), else_=CLUSTERS.c.published_at),
        )
        .returning(
            CLUSTERS.c.sequence,
            CLUSTERS.c.last_good_round_at,
            (CLUSTERS.c.published_at == func.now()).label("is_news"),
        )
    )
    row = (await connection.execute(written)).one()
    if row.is_news:
        told = ClusterObserved(
            cluster=cluster,
            state=seen.state,
            sequence=row.sequence,
            error=error,
            last_good_round_at=row.last_good_round_at,
            commands_per_minute=round(seen.commands_per_minute, 2),
        )
        await outbox.add(connection, [event(Type.CLUSTER_OBSERVED, told, source=SOURCE, at=await db.now(connection))])


async def unserved(database: Database, served: Collection[str]) -> dict[str, int]:
    """Count the items that wait, or whose lists wait to be read, on clusters other than these."""
    waiting = (
        select(ITEMS.c.cluster, func.count().label("items"))
        .where(or_(ITEMS.c.state != ItemState.FINAL, is_extending()), ITEMS.c.cluster.not_in(served))
        .group_by(ITEMS.c.cluster)
    )
    async with database.transaction() as connection:
        return {row.cluster: row.items for row in await connection.execute(waiting)}


async def clock(database: Database) -> datetime:
    """Say what time the database has."""
    async with database.transaction() as connection:
        return await db.now(connection)
