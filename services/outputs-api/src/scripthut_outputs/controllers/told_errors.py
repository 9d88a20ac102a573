"""Which errors each operation answers, for the OpenAPI document: by what its route does, takes and reads."""

from collections.abc import Iterator, Mapping
from typing import Any

from litestar import Litestar
from litestar.routes import HTTPRoute

from scripthut_outputs.access import Action

from .problems import MEDIA_TYPE
from .routing import action_of

Operation = dict[str, Any]
FILE = "/runs/{run_id}/tasks/{task_id}/outputs/file/{path}"
_DESCRIPTIONS: Mapping[int, str] = {
    400: "the request is not one, has a wrong parameter, or a token in its address",
    401: "nobody knows who asks, or what they showed is wrong",
    403: "the caller is known and may not do this, or what they showed is not good for it",
    404: "there is no such thing, or none that the caller may see: the same answer for both",
    408: "the body did not come to its end in time",
    409: "it exists and differs, or nothing is there yet to do this with",
    412: "`If-Match` names something else",
    413: "too large; the limit is in the text",
    416: "nothing of the file lies in the range",
    421: "the service has no such name",
    422: "the document or the cursor is wrong; `errors` names every faulty field",
    429: "too many streams of the caller's, or too many wrong tokens from their address",
    503: "what answers this is away or busy for the moment",
}
_UNSAFE = frozenset({"post", "put", "delete"})
_CONFLICTS = frozenset(
    {("post", "/runs"), ("post", "/tokens"), ("post", "/runs/{run_id}/tasks/{task_id}/outputs/collect")}
)
_SECONDS = {"description": "seconds to wait", "required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}}
_SCHEME = {"description": "how to say who one is", "required": True, "schema": {"type": "string"}}
_HEADERS = {401: {"WWW-Authenticate": _SCHEME}, 429: {"Retry-After": _SECONDS}, 503: {"Retry-After": _SECONDS}}


def actions(app: Litestar) -> Mapping[tuple[str, str], Action]:
    """What every route of the document does, by its method and address."""
    return {
        (method.lower(), route.path_format): action_of(handler)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.include_in_schema
        for method in handler.http_methods
    }


def tell(operation: Operation, method: str, path: str, action: Action, problem: Mapping[str, Any]) -> None:
    """Write into an operation what it answers besides; what it says already of an answer stays."""
    for status in sorted({*_statuses(operation, method, path, action)}):
        told: dict[str, Any] = {"description": _DESCRIPTIONS[status]}
        if status in _HEADERS:
            told["headers"] = _HEADERS[status]
        if method != "head":
            told["content"] = {MEDIA_TYPE: {"schema": problem}}
        operation["responses"].setdefault(str(status), told)
    if action is Action.ENTER:
        operation["security"] = []


def _statuses(operation: Operation, method: str, path: str, action: Action) -> Iterator[int]:
    # Who shows a wrong token is told so even where none is needed.
    yield from (400, 401, 421, 429, 503)
    if action is not Action.ENTER:
        yield 403
    if "{" in path:
        yield 404
    if method in _UNSAFE:
        yield from (408, 413)
    if (method, path) in _CONFLICTS:
        yield 409
    if path == FILE:
        yield from (412, 416)
    takes = {parameter["name"] for parameter in operation.get("parameters", ())}
    if "requestBody" in operation or "cursor" in takes:
        yield 422
