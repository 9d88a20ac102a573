"""The page of personal tokens: made, shown once, revoked; and the end of one's sessions in all browsers."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from scripthut_common import text
from scripthut_common.errors import Conflict, InvalidInput
from scripthut_outputs.access import Action, Actor, Scope
from scripthut_outputs.access.may import may
from scripthut_outputs.access.personal import Wish, new_id
from scripthut_outputs.catalog.access_tokens import State, Token
from scripthut_outputs.controllers.answers import Cursor
from scripthut_outputs.controllers.asking import TEXT
from scripthut_outputs.controllers.door import address_of
from scripthut_outputs.controllers.parts import Parts
from scripthut_outputs.controllers.routing import asks

from . import templating
from .giving import PageRequest
from .readers import reader
from .words import Chip, Tone

HOME = "/ui/tokens"
_A_PAGE = 40
_MAX_FORM_BYTES = 8192
_NO_STORE = {"cache-control": "no-store"}
_Owner = Annotated[str, QueryParameter(**TEXT, description="whose; for admins")]
_CHIPS = {
    State.GOOD: Chip(word="Good", icon="check", tone=Tone.GOOD),
    State.EXPIRED: Chip(word="Expired", icon="clock", tone=Tone.WAITING),
    State.REVOKED: Chip(word="Revoked", icon="stop", tone=Tone.WARNING),
}
_MEANS = {
    Scope.READ: "read runs and their files",
    Scope.COLLECT: "collect again, keep a run's files",
    Scope.SUBMIT: "start and cancel runs",
    Scope.ADMIN: "all else that you may: tokens, sharing, and what admins do",
}


class TokenCard(msgspec.Struct, frozen=True, kw_only=True):
    """A token as a line of the list. `revoke_url` is empty where it is no longer good."""

    token_id: str
    label: str
    chip: Chip
    scopes: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None
    revoke_url: str


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A scope that may be chosen."""

    scope: str
    means: str
    is_chosen: bool


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """The form as it is shown: what stands in it, and what is wrong by field. `token_id`: one form makes one token."""

    token_id: str
    label: str
    choices: tuple[Choice, ...]
    days: str
    max_days: str
    faults: Mapping[str, str]
    problem: str


@get("/tokens", opt=asks(Action.MANAGE_TOKENS), include_in_schema=False)
async def index(
    request: PageRequest, parts: NamedDependency[Parts], owner: _Owner = "", cursor: Cursor = None
) -> Response[str]:
    """List one's tokens, or those of somebody else for admins, with the form for another one."""
    form = _form(request.user, parts, {})
    return await _page(request, parts, form, owner=owner, cursor=cursor)


@post("/tokens", opt=asks(Action.MANAGE_TOKENS), include_in_schema=False, request_max_body_size=_MAX_FORM_BYTES)
async def create(request: PageRequest, parts: NamedDependency[Parts]) -> Response[str]:
    """Make a token and show it: in this answer, which nobody keeps, and nowhere else."""
    said = parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
    wish = Wish(
        label=_first(said, "label").strip(),
        scopes=frozenset(scope for scope in Scope if scope in said.get("scope", ())),
        days=_days(_first(said, "days")),
        token_id=_first(said, "token_id"),
    )
    try:
        made = await parts.access.personal.create(request.user, wish, address_of(request.scope))
    except InvalidInput as error:
        faults = {problem.field: problem.message for problem in error.problems}
        form = _form(request.user, parts, said, faults=faults, problem="Nothing was made: look at what is marked.")
        return await _page(request, parts, form, status=422)
    except Conflict as error:
        form = _form(request.user, parts, {}, problem=f"{str(error)[:1].upper()}{str(error)[1:]}.")
        return await _page(request, parts, form, status=409)
    return await _page(request, parts, _form(request.user, parts, {}), secret=made.secret, label=made.token.label)


@post("/tokens/{token_id:str}/revoke", opt=asks(Action.MANAGE_TOKENS), include_in_schema=False)
async def revoke(request: PageRequest, token_id: FromPath[str], parts: NamedDependency[Parts]) -> Response[str]:
    """Revoke a token at once."""
    token = await parts.access.personal.revoke(request.user, token_id, address_of(request.scope))
    whose = "" if token.owner == request.user.name else f"?owner={quote(token.owner, safe='')}"
    return Response("", status_code=303, headers={"location": f"{HOME}{whose}"})


@post("/sessions/end", opt=asks(Action.MANAGE_TOKENS), include_in_schema=False)
async def end_sessions(request: PageRequest, parts: NamedDependency[Parts]) -> Response[str]:
    """Log out everywhere, here too."""
    actor = request.user
    act = parts.noting.act(request.scope, "sessions.ended")
    await parts.access.session_ends.end(actor.name, datetime.now(UTC), act)
    headers = {"location": "/login", "set-cookie": parts.access.sessions.removal, **_NO_STORE}
    return Response("", status_code=303, headers=headers)


async def _page(
    request: PageRequest,
    parts: Parts,
    form: Form,
    *,
    owner: str = "",
    cursor: str | None = None,
    status: int = 200,
    secret: str = "",
    label: str = "",
) -> Response[Any]:
    actor = request.user
    owner = owner.strip() or actor.name
    found = await parts.access.personal.of(actor, owner, limit=_A_PAGE, cursor=cursor)
    now = datetime.now(UTC)
    whose = "" if owner == actor.name else f"owner={quote(owner, safe='')}"
    html = templating.write(
        "tokens.html",
        **reader(actor),
        owner=text.name(owner),
        is_own=owner == actor.name,
        may_choose_owner=may(actor, Action.ADMINISTER),
        tokens=tuple(_card(token, now) for token in found.tokens),
        form=form,
        secret=secret,
        label=label,
        is_later=cursor is not None,
        first_url=f"{HOME}?{whose}" if whose else HOME,
        next_url=found.next and f"{HOME}?cursor={quote(found.next, safe='')}{'&' if whose else ''}{whose}",
    )
    answer = templating.answer(html, status=status)
    answer.headers["cache-control"] = "no-store"
    return answer


def _card(token: Token, now: datetime) -> TokenCard:
    state = token.state(now)
    return TokenCard(
        token_id=token.token_id,
        label=text.name(token.label),
        chip=_CHIPS[state],
        scopes=", ".join(map(text.name, token.scopes)),
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
        used_at=token.used_at,
        revoke_url=f"{HOME}/{token.token_id}/revoke" if state is State.GOOD else "",
    )


def _form(
    actor: Actor,
    parts: Parts,
    said: Mapping[str, list[str]],
    *,
    faults: Mapping[str, str] | None = None,
    problem: str = "",
) -> Form:
    """The form with what somebody filled in, or as it is at first."""
    personal = parts.access.personal
    chosen = said.get("scope", []) if said else [Scope.READ]
    return Form(
        token_id=new_id(),
        label=_first(said, "label"),
        choices=tuple(
            Choice(scope=scope, means=means, is_chosen=scope in chosen)
            for scope, means in _MEANS.items()
            if scope in actor.scopes
        ),
        days=_first(said, "days") or f"{personal.usual_days:g}",
        max_days=f"{personal.max_days:g}",
        faults=faults or {},
        problem=problem,
    )


def _first(said: Mapping[str, list[str]], name: str) -> str:
    return said.get(name, [""])[0]


def _days(written: str) -> float:
    """Read a number of days; what is none is no number that any token may have."""
    try:
        return float(written)
    except ValueError:
        return math.nan
