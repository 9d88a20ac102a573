"""Login for browsers: by a link that works once, or by pasting a token."""

import time
from typing import Annotated, Any
from urllib.parse import parse_qs

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from scripthut_common.errors import NotAuthenticated
from scripthut_outputs.access import ALL_SCOPES, Action, Actor
from scripthut_outputs.access.sessions import Sessions

from .pages import templating
from .parts import Parts
from .routing import asks

HOME = "/ui/"
_MAX_FORM_BYTES = 4096
_Code = Annotated[str | None, QueryParameter(max_length=200)]
_Next = Annotated[str, QueryParameter(name="next", max_length=2000)]


@get("/login", opt=asks(Action.ENTER), include_in_schema=False)
async def enter(
    parts: NamedDependency[Parts],
    code: _Code = None,
    then: _Next = HOME,
) -> Response[str]:
    """Use the code of a login link, or show the form."""
    if code is None:
        return form_page(parts, None, then)
    actor = await parts.login_codes.use(code)
    if actor is None:
        return form_page(
            parts, "This link was used already, or is too old. Ask for a new one, or paste your token.", then, 403
        )
    return welcome(parts.access.sessions, actor, then)


@post("/login", opt=asks(Action.ENTER), include_in_schema=False, request_max_body_size=_MAX_FORM_BYTES)
async def log_in(request: Request[Actor, Any, Any], parts: NamedDependency[Parts]) -> Response[str]:
    """Begin a session for the bearer of a token."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    then = form.get("next", [HOME])[0]
    try:
        actor = await parts.access.callers.bearer(form.get("token", [""])[0].strip().encode(), time.time())
    except NotAuthenticated:
        return form_page(parts, "This token is not known here. Look whether all of it was copied.", then, 403)
    if actor.scopes != ALL_SCOPES:
        return form_page(parts, "This token is for programs: it is good for less than a session is.", then, 403)
    return welcome(parts.access.sessions, actor.name, then)


@post("/logout", opt=asks(Action.ENTER), include_in_schema=False)
async def log_out(parts: NamedDependency[Parts]) -> Response[str]:
    """End the session in this browser."""
    return Response("", status_code=303, headers={"location": "/login", "set-cookie": parts.access.sessions.removal})


@get("/", opt=asks(Action.ENTER), include_in_schema=False)
async def home() -> Response[str]:
    """Lead to the pages."""
    return Response("", status_code=303, headers={"location": HOME})


def welcome(sessions: Sessions, actor: str, then: str) -> Response[str]:
    """Begin a session, and lead to the page that was asked for."""
    headers = {"location": own_page(then), "set-cookie": sessions.cookie(actor), "cache-control": "no-store"}
    return Response("", status_code=303, headers=headers)


def form_page(parts: Parts, problem: str | None, then: str, status_code: int = 200) -> Response[Any]:
    """Show the form, and why it is shown again."""
    label = parts.access.logins.label
    page = templating.write("login.html", action="/login", problem=problem, next=own_page(then), oidc_label=label)
    return templating.answer(page, status=status_code)


def own_page(then: str) -> str:
    """Lead to a page of ours, never where a link's author would like us to lead."""
    return then if then.startswith(HOME) and then.isascii() and then.isprintable() else HOME
