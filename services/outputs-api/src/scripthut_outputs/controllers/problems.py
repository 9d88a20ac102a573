"""Errors as `application/problem+json`: the one place where a kind of error becomes an HTTP status.

Source: RFC 9457.
"""

from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.enums import ParamType
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Send

from scripthut_common.errors import (
    Conflict,
    DatabaseUnavailable,
    InvalidInput,
    LimitExceeded,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    PermanentError,
    Problem,
    TransientError,
)

from .places import TooManyOfYours

MEDIA_TYPE = "application/problem+json"
_STATUSES: dict[type[Exception], HTTPStatus] = {
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    NotAllowed: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    LimitExceeded: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    PermanentError: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooManyOfYours: HTTPStatus.TOO_MANY_REQUESTS,
    TransientError: HTTPStatus.SERVICE_UNAVAILABLE,
}
_HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"www-authenticate": 'Bearer realm="scripthut"'},
    HTTPStatus.TOO_MANY_REQUESTS: {"retry-after": "5"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"retry-after": "5"},
}
# One text for all that is not there and all that is not yours: the answers must not tell them apart.
_NOT_FOUND = "there is no such thing here, or none that you may see"
# Where the database is, and what its driver says of it, is for the log and for `/health/ready`.
_NO_DATABASE = "this service cannot reach its database just now; it goes on by itself when that is back"

log = structlog.get_logger()


class LeftOut(NotFound):
    """A file that stands in the ledger and not in our store; told to those alone who may see the task."""


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an error answers. `errors` names every faulty field of an input."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    errors: tuple[Problem, ...] = ()


def describe(error: Exception) -> ProblemDocument:
    """Turn any error into what its receiver is told."""
    status = _status_of(error)
    if status is None:
        return ProblemDocument(
            title="Internal Server Error", status=500, detail="a fault of ours; the log of the service says more"
        )
    return ProblemDocument(
        title=status.phrase,
        status=status,
        detail=_detail_of(error, status),
        errors=_faulty_fields(error),
    )


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer an error raised while a Litestar handler ran."""
    problem = noted(error, request.url.path)
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=_headers_of(error, problem),
    )


async def send_problem(send: Send, error: Exception, path: str, *, is_head: bool = False) -> None:
    """Answer an error raised outside of Litestar."""
    problem = noted(error, path)
    body = msgspec.json.encode(problem)
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), "x-content-type-options": "nosniff"}
    headers |= {"cache-control": "no-store", **_headers_of(error, problem)}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if is_head else body, "more_body": False})


def _faulty_fields(error: Exception) -> tuple[Problem, ...]:
    if isinstance(error, InvalidInput):
        return error.problems
    if isinstance(error, ValidationException) and isinstance(error.extra, list) and not _is_of_path(error):
        return tuple(Problem(field=str(one.get("key", "")), message=str(one.get("message", ""))) for one in error.extra)
    return ()


def _status_of(error: Exception) -> HTTPStatus | None:
    if isinstance(error, ValidationException) and _is_of_path(error):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, HTTPException):
        return HTTPStatus(error.status_code)
    return next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), None)


def _is_of_path(error: ValidationException) -> bool:
    """Answer whether the address itself names nothing that there is."""
    faults = error.extra if isinstance(error.extra, list) else []
    return any(fault.get("source") == ParamType.PATH for fault in faults)


def _detail_of(error: Exception, status: HTTPStatus) -> str:
    match error:
        case ValidationException() if error.extra and status is not HTTPStatus.NOT_FOUND:
            return "the address has a wrong parameter"
        case HTTPException() if status is not HTTPStatus.NOT_FOUND:
            return error.detail
        case DatabaseUnavailable():
            return _NO_DATABASE
        case _ if status is HTTPStatus.NOT_FOUND and not isinstance(error, LeftOut):
            return _NOT_FOUND
        case _:
            return str(error)


def _headers_of(error: Exception, problem: ProblemDocument) -> dict[str, str]:
    of_error = error.headers if isinstance(error, HTTPException) else None
    return {**_HEADERS.get(HTTPStatus(problem.status), {}), **(of_error or {})}


def noted(error: Exception, path: str) -> ProblemDocument:
    """Describe an error, and log it when it is a fault of ours."""
    problem = describe(error)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request_failed", path=path, exc_info=error)
    return problem
