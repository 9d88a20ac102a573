"""Clusters: how each does, for those who have runs there."""

from datetime import UTC, datetime
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from scripthut_outputs.access import Action, Actor
from scripthut_outputs.access.may import visible
from scripthut_outputs.catalog import cursors

from .answers import Cursor, Limit, encoded
from .parts import Parts
from .routing import asks
from .shapes import ClusterListJson, cluster_json


@get("/clusters", opt=asks(Action.READ_CLUSTERS), tags=["clusters"], summary="List clusters and how they do")
async def index(
    request: Request[Actor, Any, Any],
    parts: NamedDependency[Parts],
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response[ClusterListJson]:
    """List those on which the caller may see runs, by name."""
    after = "" if cursor is None else cursors.read(cursor, tuple[str])[0]
    seen = await parts.reading.cluster_names(visible(request.user))
    found = [one for one in (await parts.reading.clusters()).values() if one.name in seen and one.name > after]
    shown, now = found[:limit], datetime.now(UTC)
    return encoded(
        ClusterListJson(
            clusters=tuple(cluster_json(one, parts.bounds, now) for one in shown),
            next=cursors.write(shown[-1].name) if len(found) > limit else None,
        )
    )
