"""For those who run this installation: how clusters do, what is stuck, who holds how much, who did what."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from scripthut_common.errors import InvalidInput, Problem
from scripthut_outputs.access import Action
from scripthut_outputs.catalog.administering import StuckPage
from scripthut_outputs.catalog.auditing import Asked, Page
from scripthut_outputs.catalog.views import ClusterView

from .answers import Cursor, Limit, encoded
from .asking import TEXT
from .parts import Parts
from .routing import asks
from .shapes import ClusterJson, cluster_json

OfRun = Annotated[str, QueryParameter(name="run", **TEXT, description="of this run alone")]
ByActor = Annotated[str, QueryParameter(name="actor", **TEXT, description="of this person alone")]
Since = Annotated[datetime | None, QueryParameter(description="not before; UTC unless it says so")]


class RunClusterJson(ClusterJson, frozen=True, kw_only=True):
    """A cluster for those who run it.

    `commands_per_minute` is what the poller last asked of the scheduler, `budget` what it may; `collection_error` says
    why outputs cannot be fetched. `is_served`: it is in the clusters file of this process.
    """

    is_served: bool
    budget: int | None
    collection_error: str | None
    due: int
    oldest_due_s: float


class ServedClustersJson(msgspec.Struct, frozen=True, kw_only=True):
    """All clusters, by name."""

    clusters: tuple[RunClusterJson, ...]


class HolderJson(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of one person, equal content counted once, as of `measured_at`; `quota_bytes` `null`: no end."""

    owner: str
    files: int
    stored_bytes: int
    quota_bytes: int | None
    is_over: bool
    measured_at: datetime


class HoldersJson(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody of whom something was measured, most first."""

    holders: tuple[HolderJson, ...]


class Administration(Controller):
    """What those see who run this installation."""

    path = "/admin"
    tags = ("administration",)

    @get("/clusters", opt=asks(Action.ADMINISTER), summary="How clusters do, for those who run them")
    async def clusters(self, parts: NamedDependency[Parts]) -> Response[ServedClustersJson]:
        """List all of which anything is known, and all of the clusters file."""
        return encoded(ServedClustersJson(clusters=await clusters_now(parts)))

    @get("/collections", opt=asks(Action.ADMINISTER), summary="Outputs that are not here, though they should be")
    async def collections(
        self, parts: NamedDependency[Parts], cursor: Cursor = None, limit: Limit = 100
    ) -> Response[StuckPage]:
        """List what failed for good, what fails again and again, and what is due since ten minutes."""
        return encoded(await parts.administering.stuck(limit=limit, cursor=cursor))

    @get("/storage", opt=asks(Action.ADMINISTER), summary="Who holds how much")
    async def storage(self, parts: NamedDependency[Parts]) -> Response[HoldersJson]:
        """List everybody; who had something stored is measured within a minute, others within an hour."""
        return encoded(HoldersJson(holders=await holders_now(parts)))

    @get("/audit", opt=asks(Action.ADMINISTER), summary="Who saw or changed what, newest first")
    async def audit(
        self,
        parts: NamedDependency[Parts],
        run: OfRun = "",
        actor: ByActor = "",
        since: Since = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response[Page]:
        """Read the audit log; owners who look at what is theirs are not in it."""
        asked = Asked(run_id=run, actor=actor, since=since and _utc(since))
        return encoded(await parts.audit.read(asked, limit=limit, cursor=cursor))


def _utc(since: datetime) -> datetime:
    """Give a time in UTC; one that says of no zone is taken for UTC.

    Raises:
        InvalidInput: it is before the first or after the last year there.
    """
    try:
        return since.replace(tzinfo=UTC) if since.tzinfo is None else since.astimezone(UTC)
    except OverflowError as error:
        problem = Problem(field="since", message="must lie in the years 1 to 9999, in UTC")
        raise InvalidInput("the address has a wrong parameter", [problem]) from error


async def clusters_now(parts: Parts) -> tuple[RunClusterJson, ...]:
    """Tell how every cluster does."""
    known, now = await parts.reading.clusters(), datetime.now(UTC)
    due = await parts.collections.due()
    found = []
    for name in sorted({*known, *parts.clusters}):
        view = known.get(name) or ClusterView(name=name, state="unknown")
        waiting = due.get(name)
        told = msgspec.structs.asdict(cluster_json(view, parts.bounds, now))
        found.append(
            RunClusterJson(
                **told,
                is_served=name in parts.clusters,
                budget=parts.budgets.get(name),
                collection_error=view.collection_error,
                due=waiting.count if waiting else 0,
                oldest_due_s=waiting.oldest_s if waiting else 0.0,
            )
        )
    return tuple(found)


async def holders_now(parts: Parts) -> tuple[HolderJson, ...]:
    """Tell who holds how much."""
    quotas = parts.access.policy().quotas
    return tuple(
        HolderJson(
            **msgspec.structs.asdict(one),
            quota_bytes=(quota := quotas.of(one.owner)),
            is_over=quota is not None and one.stored_bytes >= quota,
        )
        for one in await parts.holdings.read()
    )
