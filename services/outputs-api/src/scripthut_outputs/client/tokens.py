"""List, make and revoke personal tokens."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from scripthut_common import text

from .answers import read
from .api import Api
from .exits import Exit
from .screen import Column, Screen

_A_PAGE = 500
_COLUMNS = (
    Column(title="id"),
    Column(title="state"),
    Column(title="label", is_elastic=True, rank=1),
    Column(title="scopes", rank=2),
    Column(title="expires", rank=3),
    Column(title="last used", rank=4),
    Column(title="made", rank=5),
)


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token without what makes it one."""

    token_id: str
    owner: str
    label: str
    scopes: tuple[str, ...]
    state: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None


class Made(Token, frozen=True, kw_only=True):
    """A token that was just made, with the only sight of it."""

    token: str


class TokenList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of tokens."""

    tokens: tuple[Token, ...]
    next: str | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A token to be made; `days` is `None` for what is usual there."""

    label: str
    scopes: tuple[str, ...]
    days: float | None


async def listed(api: Api, screen: Screen, owner: str | None) -> Exit:
    """Print the tokens of the caller, or for admins those of somebody else, newest first."""
    found: list[Any] = []
    cursor: str | None = None
    while True:
        answer = await api.get("/tokens", owner=owner, limit=_A_PAGE, cursor=cursor)
        cursor = read(answer, TokenList).next
        found += answer["tokens"]
        if cursor is None:
            break
    if screen.is_json:
        screen.tell({"tokens": found})
    elif found:
        screen.table(_COLUMNS, [_row(read(token, Token)) for token in found])
    else:
        screen.note("There are no tokens.")
    return Exit.FINE


async def create(api: Api, screen: Screen, wanted: Wanted) -> Exit:
    """Make a token; it alone is printed on standard output, and nowhere else ever again."""
    body = {"label": wanted.label, "scopes": wanted.scopes, "days": wanted.days}
    answer = await api.post("/tokens", msgspec.json.encode(body))
    made = read(answer, Made)
    if screen.is_json:
        screen.tell(answer)
        return Exit.FINE
    screen.note(
        f"Token {text.name(made.token_id)}, good for {_words(made.scopes)} until {_day(made.expires_at)}."
        " It is shown here and never again:"
    )
    screen.say(text.name(made.token))
    return Exit.FINE


async def revoke(api: Api, screen: Screen, token_id: str) -> Exit:
    """Revoke a token, by its id."""
    answer = await api.delete(f"/tokens/{quote(token_id, safe='')}")
    if screen.is_json:
        screen.tell(answer)
    else:
        token = read(answer, Token)
        screen.say(f"revoked {text.name(token.token_id)} of {text.name(token.owner)}, {text.name(token.label)!r}")
    return Exit.FINE


def _row(token: Token) -> tuple[str, ...]:
    return (
        text.name(token.token_id),
        text.name(token.state),
        text.name(token.label),
        _words(token.scopes),
        _day(token.expires_at),
        "never" if token.used_at is None else _day(token.used_at),
        _day(token.created_at),
    )


def _words(scopes: Sequence[str]) -> str:
    return ", ".join(map(text.name, scopes))


def _day(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"
