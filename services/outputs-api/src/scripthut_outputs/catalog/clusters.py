"""How each cluster does, in the poller's words and the collector's."""

from datetime import datetime

from sqlalchemy import exists, func, or_, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.events import ClusterObserved
from scripthut_outputs.tables import CLUSTERS, RUNS

from .asked import Visible
from .changes import touch_clusters
from .views import ClusterView
from .visible import ways

_MAX_ERROR_CHARACTERS = 4000
_MAX_STATE_CHARACTERS = 64
_VIEW = tuple(CLUSTERS.c[name] for name in ClusterView.__struct_fields__)


async def apply(connection: AsyncConnection, told_at: datetime, observed: ClusterObserved) -> None:
    """Keep the poller's word of `told_at` unless a newer one is held, in the caller's transaction.

    Newer is a higher sequence or a later time: the counter starts anew with the poller's database, and a clock may be
    set back. A word that is let in wrongly stands until the next, half a minute.
    """
    seen = {
        "state": observed.state[:_MAX_STATE_CHARACTERS],
        "error": observed.error and observed.error[:_MAX_ERROR_CHARACTERS],
        "last_good_round_at": observed.last_good_round_at,
        "commands_per_minute": observed.commands_per_minute,
        "sequence": observed.sequence,
        "observed_at": told_at,
        "heard_at": func.now(),
    }
    added = insert(CLUSTERS).values(name=observed.cluster, **seen)
    is_newer = or_(
        CLUSTERS.c.observed_at.is_(None),
        CLUSTERS.c.sequence < added.excluded.sequence,
        CLUSTERS.c.observed_at < added.excluded.observed_at,
    )
    kept = added.on_conflict_do_update(index_elements=["name"], set_=seen, where=is_newer)
    if await connection.scalar(kept.returning(CLUSTERS.c.name)):
        await touch_clusters(connection)


async def note_collecting(connection: AsyncConnection, cluster: str, error: str | None) -> None:
    """Keep why a cluster's outputs cannot be collected just now, or that they can, in the caller's transaction."""
    error = error and error[:_MAX_ERROR_CHARACTERS]
    added = insert(CLUSTERS).values(name=cluster, state="unknown", sequence=0, collection_error=error)
    noted = added.on_conflict_do_update(
        index_elements=["name"],
        set_={"collection_error": error},
        where=CLUSTERS.c.collection_error.is_distinct_from(error),
    )
    if await connection.scalar(noted.returning(CLUSTERS.c.name)):
        await touch_clusters(connection)


async def read_all(connection: AsyncConnection) -> dict[str, ClusterView]:
    """Read every cluster that was ever heard of, in the order of their names."""
    rows = await connection.execute(select(*_VIEW).order_by(CLUSTERS.c.name))
    return {row.name: ClusterView(**row._mapping) for row in rows}  # noqa: SLF001  SQLAlchemy's public name for it


async def names_seen_by(connection: AsyncConnection, visible: Visible) -> frozenset[str]:
    """Read the names of the clusters with runs that somebody may see."""
    of_cluster = RUNS.c.cluster == CLUSTERS.c.name
    theirs = true() if visible.is_all else or_(*(exists().where(way, of_cluster) for way in ways(visible)))
    return frozenset(await connection.scalars(select(CLUSTERS.c.name).where(theirs)))
