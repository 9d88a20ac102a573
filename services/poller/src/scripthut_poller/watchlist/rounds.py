"""What one polling round of one cluster reads and writes."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common import database as db
from scripthut_common.database import Database
from scripthut_common.events import ItemState, Type
from scripthut_poller.tables import CLUSTERS, ITEMS

from . import clusters, leases
from .clusters import Observed
from .items import Item, query, read
from .leases import Term
from .recording import Change, record

RECONSIDERED_S = 86_400.0
CHANGED_EVERY_S = 10.0
CHANGES_AT_ONCE = 20_000
_ALIVE = (ItemState.SUBMITTED, ItemState.QUEUED, ItemState.RUNNING, ItemState.SETTLING)


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched on a cluster, by the database's clock.

    `answering_since` is when its queue began to answer without a long gap: now, if it has not for long.
    """

    items: tuple[Item, ...]
    now: datetime
    last_good_round_at: datetime | None
    answering_since: datetime


async def watched(database: Database, cluster: str) -> Watch:
    """Read the items with the scheduler, and those that ended a day ago or less without its own word."""
    unconfirmed = and_(
        ITEMS.c.state == ItemState.FINAL,
        ~ITEMS.c.confirmed,
        ITEMS.c.entered_at > func.now() - timedelta(seconds=RECONSIDERED_S),
    )
    wanted = query().where(
        ITEMS.c.cluster == cluster,
        ITEMS.c.job_id.is_not(None),
        or_(ITEMS.c.state.in_(_ALIVE), unconfirmed),
    )
    known = select(CLUSTERS.c.last_good_round_at, clusters.ANSWERING_SINCE.label("answering_since"))
    async with database.transaction() as connection:
        now = await db.now(connection)
        row = (await connection.execute(known.where(CLUSTERS.c.name == cluster))).first()
        return Watch(
            items=tuple(read(await connection.execute(wanted))),
            last_good_round_at=row and row.last_good_round_at,
            answering_since=row.answering_since if row else now,
            now=now,
        )


async def record_round(database: Database, term: Term, changes: Sequence[Change], seen: Observed) -> None:
    """Write what a round has changed, and how it went; changes that come too fast are told later.

    Up to `CHANGES_AT_ONCE` items are one transaction. A larger round is several, so that none meets its time limit;
    each item is written whole with its event, and how the round went is written last.

    Raises:
        LeaseLost: another process holds the cluster now; nothing is written.
    """
    batches = [changes[first : first + CHANGES_AT_ONCE] for first in range(0, len(changes), CHANGES_AT_ONCE)]
    for batch in batches[:-1]:
        async with database.transaction() as connection:
            await _record(connection, term, batch)
    async with database.transaction() as connection:
        await _record(connection, term, batches[-1] if batches else ())
        await clusters.note(connection, term.cluster, seen)


async def _record(connection: AsyncConnection, term: Term, changes: Sequence[Change]) -> None:
    await leases.require(connection, term)
    now = await db.now(connection)
    await record(connection, [_paced(change, now) for change in changes])


async def announce(database: Database, term: Term) -> None:
    """Publish the changes that were held back so as not to publish too many."""
    owed = query().where(
        ITEMS.c.cluster == term.cluster,
        ITEMS.c.is_unannounced,
        ITEMS.c.announced_at <= func.now() - timedelta(seconds=CHANGED_EVERY_S),
    )
    async with database.transaction() as connection:
        await leases.require(connection, term)
        items = read(await connection.execute(owed.with_for_update(of=ITEMS, skip_locked=True)))
        await record(connection, [Change(before=item, after=item, tells=Type.ITEM_CHANGED) for item in items])


def _paced(change: Change, now: datetime) -> Change:
    told_at = change.before.announced_at
    if change.tells is not Type.ITEM_CHANGED or told_at is None:
        return change
    if now - told_at >= timedelta(seconds=CHANGED_EVERY_S):
        return change
    return Change(before=change.before, after=msgspec.structs.replace(change.after, is_unannounced=True))
