"""Put the controllers together into the ASGI application."""

from collections.abc import Collection
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, Router
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ASGIApp

from scripthut_common.health import Health
from scripthut_outputs.access import Action
from scripthut_outputs.access.sessions import Sessions
from scripthut_outputs.access.tokens import Tokens
from scripthut_outputs.catalog.creating import Creating
from scripthut_outputs.catalog.login_codes import LoginCodes
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.controllers import login, operations, problems
from scripthut_outputs.controllers.details import Details
from scripthut_outputs.controllers.door import Door, Rules
from scripthut_outputs.controllers.files import Files
from scripthut_outputs.controllers.inlining import MaxInline
from scripthut_outputs.controllers.lanes import Lanes
from scripthut_outputs.controllers.outputs import Outputs
from scripthut_outputs.controllers.pages import errors, routes
from scripthut_outputs.controllers.routing import Guard, asks
from scripthut_outputs.controllers.runs import Runs
from scripthut_outputs.controllers.small import Blobs
from scripthut_outputs.controllers.summaries import Summaries

_MAX_BODY_BYTES = 64 * 1024


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the application is made of; handlers receive these by name."""

    reading: Reading
    creating: Creating
    blobs: Blobs
    clusters: Collection[str]
    login_codes: LoginCodes
    tokens: Tokens
    sessions: Sessions
    health: Health
    max_inline: MaxInline


def build(parts: Parts, rules: Rules) -> ASGIApp:
    """Make the application: the door, files as plain ASGI, everything else by Litestar."""
    guard = Guard(parts.reading)
    litestar = build_litestar(parts, guard)
    return Door(Lanes(litestar, Files(parts.reading, parts.blobs, guard)), parts.tokens, parts.sessions, rules)


def build_litestar(parts: Parts, guard: Guard) -> Litestar:
    """Make the routes; every one asks the guard."""
    return Litestar(
        [
            *(Runs, Details, Outputs, Summaries),
            *(login.enter, login.log_in, login.log_out, login.home),
            *(operations.live, operations.ready, operations.metrics),
            routes.ROUTER,
        ],
        guards=[guard],
        dependencies={name: _given(getattr(parts, name)) for name in parts.__struct_fields__},
        exception_handlers={Exception: _respond},
        request_max_body_size=_MAX_BODY_BYTES,
        openapi_config=OpenAPIConfig(
            title="ScriptHut Outputs",
            version="1",
            openapi_router=Router("/schema", route_handlers=[], opt=asks(Action.READ_SCHEMA)),
            render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
        ),
        logging_config=None,
    )


def _respond(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer an error: people get a page, programs a problem document."""
    is_page = f"{request.url.path}/".startswith("/ui/")
    return errors.respond(request, error) if is_page else problems.respond(request, error)


def _given(part: Any) -> Provide:
    return Provide(lambda: part, use_cache=True, sync_to_thread=False)
