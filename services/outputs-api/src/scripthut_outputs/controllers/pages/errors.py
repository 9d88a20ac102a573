"""What a person sees when a page cannot be given: the same look, what went wrong, where to go on."""

from typing import Any
from urllib.parse import quote

from litestar import Request, Response

from scripthut_common.errors import NotAuthenticated
from scripthut_outputs.controllers import problems

from . import templating


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer an error of a page; who has no session is led to where one begins."""
    if isinstance(error, NotAuthenticated):
        return Response("", status_code=303, headers={"location": f"/login?next={quote(_address(request), safe='/')}"})
    problem = problems.noted(error, request.url.path)
    html = templating.write(
        "error.html",
        status=problem.status,
        title=problem.title,
        detail=problem.detail,
        path=_address(request),
        can_retry=problem.status >= 500,
        viewer=getattr(request.scope.get("user"), "name", None),
    )
    return templating.answer(html, status=problem.status)


def _address(request: Request[Any, Any, Any]) -> str:
    """The address that was asked for, without the host."""
    query = request.scope["query_string"].decode("latin-1")
    raw = request.scope["raw_path"].decode("latin-1")
    return f"{raw}?{query}" if query else raw
