"""What one polling round of one cluster reads and writes."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import and_, func, or_, select

from scripthut_common import database as db
from scripthut_common.database import Database
from scripthut_common.events import Evidence, ItemState, Type
from scripthut_poller.tables import CLUSTERS, ITEMS

from . import clusters
from .clusters import Observed
from .items import Item, query, read
from .recording import Change, record

CORRECTABLE_S = 600.0
CHANGED_EVERY_S = 10.0
_WATCHED = (ItemState.SUBMITTED, ItemState.QUEUED, ItemState.RUNNING, ItemState.SETTLING)


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched on a cluster, by the database's clock."""

    items: tuple[Item, ...]
    now: datetime
    last_good_round_at: datetime | None


async def watched(database: Database, cluster: str) -> Watch:
    """Read the items with the scheduler, and those whose verdict accounting may still correct."""
    correctable = and_(
        ITEMS.c.state == ItemState.FINAL,
        ITEMS.c.evidence == Evidence.EXIT_RECORD,
        ~ITEMS.c.confirmed,
        ITEMS.c.observed_at > func.now() - timedelta(seconds=CORRECTABLE_S),
    )
    wanted = query().where(
        ITEMS.c.cluster == cluster,
        ITEMS.c.job_id.is_not(None),
        or_(ITEMS.c.state.in_(_WATCHED), correctable),
    )
    last_good = select(CLUSTERS.c.last_good_round_at).where(CLUSTERS.c.name == cluster)
    async with database.transaction() as connection:
        return Watch(
            items=tuple(read(await connection.execute(wanted))),
            last_good_round_at=await connection.scalar(last_good),
            now=await db.now(connection),
        )


async def record_round(database: Database, cluster: str, moved: Sequence[tuple[Item, Item]], seen: Observed) -> None:
    """Write what a round has changed, and how it went, at once.

    Args:
        database: where the watchlist is.
        cluster: whose round it was.
        moved: each item as it was read and as it is now.
        seen: how the round went.
    """
    async with database.transaction() as connection:
        now = await db.now(connection)
        await record(connection, [_change(before, after, now) for before, after in moved])
        await clusters.note(connection, cluster, seen)


async def announce(database: Database, cluster: str) -> None:
    """Publish the changes that were held back so as not to publish too many."""
    owed = query().where(
        ITEMS.c.cluster == cluster,
        ITEMS.c.is_unannounced,
        ITEMS.c.announced_at <= func.now() - timedelta(seconds=CHANGED_EVERY_S),
    )
    async with database.transaction() as connection:
        items = read(await connection.execute(owed.with_for_update(of=ITEMS, skip_locked=True)))
        await record(connection, [Change(before=item, after=item, tells=Type.ITEM_CHANGED) for item in items])


def _change(before: Item, after: Item, now: datetime) -> Change:
    """Decide which event tells this change, if it is told now."""
    observed = msgspec.structs.replace(after, observed_at=now)
    tells = _tells(before, after)
    if tells is Type.ITEM_CHANGED and _is_too_soon(before, now):
        return Change(before=before, after=msgspec.structs.replace(observed, is_unannounced=True))
    return Change(before=before, after=observed, tells=tells)


def _tells(before: Item, after: Item) -> Type | None:
    if after.state is ItemState.FINAL:
        is_news = before.state is not ItemState.FINAL or before.revision != after.revision
        return Type.ITEM_COMPLETED if is_news else None
    if after.state is ItemState.RUNNING and (before.started_at is None or before.attempt != after.attempt):
        return Type.ITEM_STARTED
    is_changed = (before.state, before.reason, before.attempt) != (after.state, after.reason, after.attempt)
    return Type.ITEM_CHANGED if is_changed else None


def _is_too_soon(before: Item, now: datetime) -> bool:
    return before.announced_at is not None and (now - before.announced_at).total_seconds() < CHANGED_EVERY_S
