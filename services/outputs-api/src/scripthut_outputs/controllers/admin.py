"""For those who run this installation: who did what."""

from datetime import UTC, datetime
from typing import Annotated

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from scripthut_outputs.access import Action
from scripthut_outputs.catalog.auditing import Asked, Page

from .answers import Cursor, Limit, encoded
from .parts import Parts
from .routing import asks

OfRun = Annotated[str, QueryParameter(name="run", description="of this run alone", max_length=200)]
ByActor = Annotated[str, QueryParameter(name="actor", description="of this person alone", max_length=200)]
Since = Annotated[datetime | None, QueryParameter(description="not before; UTC unless it says so")]


class Administration(Controller):
    """What those see who run this installation."""

    path = "/admin"
    tags = ("administration",)

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
        if since is not None and since.tzinfo is None:
            since = since.replace(tzinfo=UTC)
        asked = Asked(run_id=run, actor=actor, since=since)
        return encoded(await parts.audit.read(asked, limit=limit, cursor=cursor))
