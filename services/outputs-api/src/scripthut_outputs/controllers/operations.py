"""For operators and their programs: does it live, is it ready, what did it count."""

from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from prometheus_client import CONTENT_TYPE_LATEST

from scripthut_common.health import Report
from scripthut_outputs.access import Action, Actor
from scripthut_outputs.access.may import may

from .answers import JSON
from .parts import Parts
from .routing import asks

# The framework adds the charset itself.
_PLAIN = CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8")


@get("/health/live", opt=asks(Action.ENTER), tags=["operations"], summary="Does the process live")
async def live(parts: NamedDependency[Parts]) -> Response[Report]:
    """503 when a loop was silent too long: restart the process."""
    status, report = parts.health.live()
    return _report(status, report)


@get("/health/ready", opt=asks(Action.ENTER), tags=["operations"], summary="Can it work just now")
async def ready(request: Request[Actor, Any, Any], parts: NamedDependency[Parts]) -> Response[Report]:
    """503 with the names of what does not work just now; admins are told in words what is wrong."""
    status, report = await parts.health.ready()
    # Words name hosts, ports and accounts. Strangers are nobody: the scope has no user.
    is_admin = may(request.scope.get("user"), Action.READ_METRICS)
    return _report(status, report if is_admin else report.without_words())


@get("/metrics", media_type=_PLAIN, opt=asks(Action.READ_METRICS), tags=["operations"], summary="What it counted")
async def metrics(parts: NamedDependency[Parts]) -> Response[str]:
    """All metrics in Prometheus's text format."""
    counted: Response[Any] = Response(parts.health.metrics(), media_type=_PLAIN)
    return counted


def _report(status: int, report: Report) -> Response[Any]:
    body = msgspec.json.encode(report)
    return Response(body, status_code=int(status), media_type=JSON, headers={"cache-control": "no-store"})
