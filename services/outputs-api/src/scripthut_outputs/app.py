"""Put the controllers together into the ASGI application."""

from typing import Any

from litestar import Litestar, Request, Response
from litestar.di import Provide
from litestar.types import ASGIApp

from scripthut_outputs.controllers import bodies, clusters, login, oidc, operations, problems, schema, shares
from scripthut_outputs.controllers.admin import Administration
from scripthut_outputs.controllers.archives import Archived, Archives
from scripthut_outputs.controllers.counting import Counted
from scripthut_outputs.controllers.details import Details
from scripthut_outputs.controllers.door import Door, Rules
from scripthut_outputs.controllers.files import Files
from scripthut_outputs.controllers.lanes import Lanes
from scripthut_outputs.controllers.live import Live, Streamed
from scripthut_outputs.controllers.outputs import Outputs
from scripthut_outputs.controllers.pages import errors, routes
from scripthut_outputs.controllers.parts import Parts
from scripthut_outputs.controllers.routing import Guard
from scripthut_outputs.controllers.runs import Runs
from scripthut_outputs.controllers.summaries import Summaries
from scripthut_outputs.controllers.tokens import AccessTokens


def build(parts: Parts, rules: Rules) -> ASGIApp:
    """Make the application: counted, behind the door; files, archives, streams are plain ASGI, the rest Litestar."""
    guard = Guard(parts.reading, parts.noting)
    litestar = build_litestar(parts, guard)
    lanes = Lanes(
        litestar,
        Files(parts.reading, parts.blobs, guard),
        Archives(parts.reading, parts.blobs, guard, parts.archive_limits),
        Live(parts.hub, guard, parts.stream_limits),
    )
    return Counted(Door(lanes, parts.access, rules), parts.requests)


def build_litestar(parts: Parts, guard: Guard) -> Litestar:
    """Make the routes; every one asks the guard."""
    return Litestar(
        [
            *(Runs, shares.SharesOfRuns, shares.opened, Streamed, Details, Outputs, Archived, Summaries),
            *(AccessTokens, Administration),
            *(login.enter, login.log_in, login.log_out, login.home),
            *(oidc.begin, oidc.come_back),
            *(clusters.index, operations.live, operations.ready, operations.metrics),
            routes.ROUTER,
        ],
        guards=[guard],
        dependencies={"parts": Provide(lambda: parts, use_cache=True, sync_to_thread=False)},
        exception_handlers={Exception: _respond},
        request_max_body_size=bodies.MAX_BYTES,
        openapi_config=schema.config(),
        logging_config=None,
    )


def _respond(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer an error: people get a page, programs a problem document."""
    is_page = f"{request.url.path}/".startswith(("/ui/", shares.SHARED))
    return errors.respond(request, error) if is_page else problems.respond(request, error)
