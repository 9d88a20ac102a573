"""What a person sees when a page cannot be given: the same look, what went wrong, where to go on."""

from typing import Any
from urllib.parse import quote

from litestar import Request, Response

from scripthut_common.errors import NotAllowed, NotAuthenticated
from scripthut_outputs.access import Actor
from scripthut_outputs.controllers import problems

from . import templating
from .readers import reader

# What an HTTP status means to somebody who reads; others keep the words of the standard.
_TITLES = {
    403: "You may not do this",
    404: "Nothing is here",
    409: "Not as things are now",
    413: "That is too much",
    422: "That cannot be done",
    429: "Too much at once",
    500: "This went wrong",
    503: "Not just now",
}


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer an error of a page; who has no session is led to where one begins, guests where they need one."""
    actor: Actor | None = request.scope.get("user")
    is_guest = actor is not None and actor.is_guest
    if isinstance(error, NotAuthenticated) or (is_guest and isinstance(error, NotAllowed)):
        return Response("", status_code=303, headers={"location": f"/login?next={quote(_address(request), safe='/')}"})
    problem = problems.noted(error, request.url.path)
    html = templating.write(
        "error.html",
        status=problem.status,
        title=_TITLES.get(problem.status, problem.title),
        detail=_sentence(problem.detail),
        path=_address(request),
        can_retry=problem.status >= 500,
        **reader(actor),
    )
    return templating.answer(html, status=problem.status)


def _sentence(words: str) -> str:
    """Let what a program is told begin and end as people write."""
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith(('.', '!', '?')) else '.'}"


def _address(request: Request[Any, Any, Any]) -> str:
    """The address that was asked for, without the host."""
    query = request.scope["query_string"].decode("latin-1")
    raw = request.scope["raw_path"].decode("latin-1")
    return f"{raw}?{query}" if query else raw
