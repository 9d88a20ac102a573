"""Personal tokens: list, make, revoke."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from scripthut_common.errors import InvalidInput, Problem
from scripthut_common.tasks import told
from scripthut_outputs.access import Action, Actor, Scope
from scripthut_outputs.access.personal import MAX_LABEL_CHARACTERS, Wish, new_id
from scripthut_outputs.catalog.access_tokens import State, Token

from .answers import Cursor, Limit, encoded
from .asking import TEXT
from .door import address_of
from .parts import Parts
from .routing import asks

Owner = Annotated[str, QueryParameter(**TEXT, description="whose; without it yours. Others' are for admins")]


class TokenJson(msgspec.Struct, frozen=True, kw_only=True):
    """A token without what makes it one. `used_at`: within a minute or so."""

    token_id: str
    owner: str
    label: str
    scopes: tuple[str, ...]
    state: State
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None


class MadeJson(TokenJson, frozen=True, kw_only=True):
    """A token that was just made; `token` is shown here and never again."""

    token: str


class TokenListJson(msgspec.Struct, frozen=True, kw_only=True):
    """A page of tokens, newest first."""

    tokens: tuple[TokenJson, ...]
    next: str | None


class TokenDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token as asked for. `days`: how long it is good; the installation says how long at most."""

    label: Annotated[str, told(minLength=1, maxLength=MAX_LABEL_CHARACTERS)]
    scopes: Annotated[tuple[Scope, ...], told(minItems=1)]
    days: Annotated[float, told(exclusiveMinimum=0)] | None = None


class AccessTokens(Controller):
    """What programs show of whose they are."""

    path = "/tokens"
    tags = ("tokens",)

    @get(opt=asks(Action.MANAGE_TOKENS), summary="List your tokens, newest first")
    async def index(
        self,
        request: Request[Actor, Any, Any],
        parts: NamedDependency[Parts],
        owner: Owner = "",
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response[TokenListJson]:
        """List them, good or not; the tokens themselves are nowhere kept."""
        actor = request.user
        found = await parts.access.personal.of(actor, owner or actor.name, limit=limit, cursor=cursor)
        now = datetime.now(UTC)
        return encoded(TokenListJson(tokens=tuple(token_json(one, now) for one in found.tokens), next=found.next))

    @post(opt=asks(Action.MANAGE_TOKENS), status_code=201, summary="Make a token; it is shown in this answer alone")
    async def create(self, request: Request[Actor, Any, Any], parts: NamedDependency[Parts]) -> Response[MadeJson]:
        """Make one that is good for what the caller's own token or session is good for, or less."""
        personal = parts.access.personal
        asked = _read(await request.body())
        days = personal.usual_days if asked.days is None else asked.days
        wish = Wish(label=asked.label, scopes=frozenset(asked.scopes), days=days, token_id=new_id())
        made = await personal.create(request.user, wish, address_of(request.scope))
        told = token_json(made.token, datetime.now(UTC))
        return encoded(
            MadeJson(**msgspec.structs.asdict(told), token=made.secret),
            status_code=201,
            **{"cache-control": "no-store"},
        )

    @delete("/{token_id:str}", opt=asks(Action.MANAGE_TOKENS), status_code=200, summary="Revoke a token, at once")
    async def revoke(
        self, request: Request[Actor, Any, Any], token_id: FromPath[str], parts: NamedDependency[Parts]
    ) -> Response[TokenJson]:
        """Revoke one of yours; admins anybody's."""
        token = await parts.access.personal.revoke(request.user, token_id, address_of(request.scope))
        return encoded(token_json(token, datetime.now(UTC)))


def token_json(token: Token, now: datetime) -> TokenJson:
    """A token as it is at `now`."""
    return TokenJson(**msgspec.structs.asdict(token), state=token.state(now))


def _read(body: bytes) -> TokenDocument:
    """Read what is asked for.

    Raises:
        InvalidInput: it cannot be read; names the first faulty field.
    """
    try:
        return msgspec.json.decode(body, type=TokenDocument)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("this is no token that can be made", [Problem(field="", message=str(error))]) from error
