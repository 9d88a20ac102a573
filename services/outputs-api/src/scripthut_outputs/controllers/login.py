"""Login for browsers: by a link that works once, or by pasting a token of the tokens file."""

import time
from typing import Annotated, Any
from urllib.parse import parse_qs

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from scripthut_common.errors import NotAuthenticated
from scripthut_outputs.access import Action, Actor
from scripthut_outputs.access.sessions import Sessions
from scripthut_outputs.access.tokens import line_of
from scripthut_outputs.catalog.auditing import Act

from .door import address_of
from .pages import templating
from .parts import Parts
from .routing import asks

HOME = "/ui/"
_MAX_FORM_BYTES = 4096
_FILE = "file"
_Code = Annotated[str | None, QueryParameter(max_length=200)]
_Next = Annotated[str, QueryParameter(name="next", max_length=2000)]


@get("/login", opt=asks(Action.ENTER), include_in_schema=False)
async def enter(
    request: Request[Actor, Any, Any],
    parts: NamedDependency[Parts],
    code: _Code = None,
    then: _Next = HOME,
) -> Response[str]:
    """Use the code of a login link, or show the form."""
    if code is None:
        return form_page(parts, None, then)
    address, now = address_of(request.scope), time.time()
    # A code is asked of the database: while too many wrong ones come, none is.
    waits_s = parts.access.refusals.wait_s(address, now, "code")
    if waits_s:
        return busy(parts, waits_s, then)
    actor = await parts.login_codes.use(code)
    # A link was made for whoever has a line, and its session ends with that.
    lines = [] if actor is None else parts.access.tokens.lines_of(actor)
    if actor is None or not lines:
        waits_s = await parts.access.refusals.note(address, now, "code")
        said = "This link was used already, or is too old. Ask for a new one, or paste your token."
        return busy(parts, waits_s, then) if waits_s else form_page(parts, said, then, 403)
    await parts.audit.did(Act(act="login", actor=actor, credential="code", address=address or None))
    return welcome(parts.access.sessions, actor, then, lines[0])


@post("/login", opt=asks(Action.ENTER), include_in_schema=False, request_max_body_size=_MAX_FORM_BYTES)
async def log_in(request: Request[Actor, Any, Any], parts: NamedDependency[Parts]) -> Response[str]:
    """Begin a session for the bearer of a token.

    A session may all that its owner may, for days: it begins with a line of the tokens file alone, never with a token
    that is good for less, or that may be taken back in the meantime.
    """
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    then = form.get("next", [HOME])[0]
    address, now = address_of(request.scope), time.time()
    try:
        token = form.get("token", [""])[0].strip().encode()
        actor = (await parts.access.callers.bearer(token, now, address)).actor
    except NotAuthenticated as error:
        waits_s = await parts.access.refusals.note(address, now, "form")
        said = str(error)
        said = f"{said[:1].upper()}{said[1:]}."
        return busy(parts, waits_s, then) if waits_s else form_page(parts, said, then, 403)
    if actor.credential != _FILE:
        said = "This token is for programs. Sign in with the one that you have from whoever runs this."
        return form_page(parts, said, then, 403)
    await parts.audit.did(parts.noting.act(request.scope, "login", actor=actor))
    return welcome(parts.access.sessions, actor.name, then, line_of(token))


@post("/logout", opt=asks(Action.ENTER), include_in_schema=False)
async def log_out(parts: NamedDependency[Parts]) -> Response[str]:
    """End the session in this browser."""
    return Response("", status_code=303, headers={"location": "/login", "set-cookie": parts.access.sessions.removal})


@get("/", opt=asks(Action.ENTER), include_in_schema=False)
async def home() -> Response[str]:
    """Lead to the pages."""
    return Response("", status_code=303, headers={"location": HOME})


def welcome(sessions: Sessions, actor: str, then: str, line: bytes | None = None) -> Response[str]:
    """Begin a session, and lead to the page that was asked for; it ends with the `line` of the tokens file."""
    headers = {"location": own_page(then), "set-cookie": sessions.cookie(actor, line), "cache-control": "no-store"}
    return Response("", status_code=303, headers=headers)


def busy(parts: Parts, waits_s: int, then: str) -> Response[Any]:
    """Answer an address from which too much came that was wrong."""
    said = (
        "Too many wrong tokens, links or logins came from your address. A right token works at once, everything else in"
        f" {waits_s} s."
    )
    answer = form_page(parts, said, then, 429)
    answer.headers["retry-after"] = str(waits_s)
    return answer


def form_page(parts: Parts, problem: str | None, then: str, status_code: int = 200) -> Response[Any]:
    """Show the form, and why it is shown again."""
    label = parts.access.logins.label
    page = templating.write("login.html", action="/login", problem=problem, next=own_page(then), oidc_label=label)
    return templating.answer(page, status=status_code)


def own_page(then: str) -> str:
    """Lead to a page of ours, never where a link's author would like us to lead."""
    return then if then.startswith(HOME) and then.isascii() and then.isprintable() else HOME
