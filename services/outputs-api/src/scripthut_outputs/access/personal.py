"""Personal tokens: made, shown once, checked on every request, taken back."""

import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from scripthut_common.errors import DatabaseUnavailable, InvalidInput, NotAllowed, NotAuthenticated, NotFound, Problem
from scripthut_outputs.catalog.access_tokens import AccessTokens, NewToken, State, Token, TokenList
from scripthut_outputs.catalog.auditing import Act

from . import Action, Actor, Scope
from .callers import Found
from .directory import Directory
from .may import may
from .seals import PREFIX, Seal

DEFAULT_MAX_DAYS = 90.0
USUAL_DAYS = 30.0
MAX_LABEL_CHARACTERS = 100
_ID = re.compile(r"[0-9a-f]{16}")
_MANAGE = "/ui/tokens"
_SCOPES = {scope.value: scope for scope in Scope}
_USED_AGAIN_S = 60.0
_REMEMBERED = 4096


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A token that somebody wants. `token_id`: what it is to be called, so that one form makes one token."""

    label: str
    scopes: frozenset[Scope]
    days: float
    token_id: str


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A token that was just made, with the only sight of it."""

    secret: str
    token: Token

    def __repr__(self) -> str:
        return f"Made({self.token.token_id})"


def new_id() -> str:
    """An id for a token; it opens nothing."""
    return secrets.token_hex(8)


class Personal:
    """Personal tokens, as a way in and for those whose they are.

    Args:
        tokens: what is kept of them.
        directory: everybody, by name.
        seal: makes them, and tells guesses from them.
        max_days: how long one may be good.
    """

    def __init__(self, tokens: AccessTokens, directory: Directory, seal: Seal, *, max_days: float) -> None:
        self._tokens = tokens
        self._directory = directory
        self._seal = seal
        self._used: OrderedDict[str, float] = OrderedDict()
        self.max_days = max_days

    @property
    def usual_days(self) -> float:
        """How long a token is good when nobody says how long."""
        return min(USUAL_DAYS, self.max_days)

    async def bearer(self, token: bytes, now: float, sender: str) -> Found | None:  # noqa: ARG002  good from everywhere
        """Give whose a token is, with the scopes that it has.

        Raises:
            NotAuthenticated: it looks like one, and was not made here, is too old, or was taken back.
        """
        if not token.startswith(PREFIX.encode()):
            return None
        if not self._seal.is_ours(token):
            raise NotAuthenticated("this token was not made here: look whether all of it was copied")
        found = await self._tokens.find(hashlib.sha256(token).digest())
        if found is None:
            raise NotAuthenticated(f"this token is no longer known here: make a new one at {_MANAGE}")
        _require_good(found, now)
        # A word that this version does not know is good for nothing here.
        scopes = frozenset(_SCOPES[word] for word in found.scopes if word in _SCOPES)
        actor = await self._directory.actor(found.owner, credential=f"token:{found.token_id}", scopes=scopes)
        if actor is None:
            raise NotAuthenticated("whose token this is may no longer come in")
        await self._note(found.token_id, now)
        return Found(actor, until=min(found.expires_at.timestamp(), now + _USED_AGAIN_S))

    async def create(self, actor: Actor, wish: Wish, address: str) -> Made:
        """Make a token.

        Raises:
            NotAllowed: it would be good for more than what the actor showed.
            InvalidInput: names every faulty field.
            Conflict: one of this id was made before, or the actor has too many.
        """
        _require(wish, self.max_days)
        beyond = sorted(wish.scopes - actor.scopes)
        if beyond:
            own = ", ".join(sorted(actor.scopes))
            raise NotAllowed(f"what you showed is good for {own}, and cannot make a token for {', '.join(beyond)}")
        secret = self._seal.issue()
        scopes = tuple(scope.value for scope in Scope if scope in wish.scopes)
        new = NewToken(
            token_id=wish.token_id,
            sha256=hashlib.sha256(secret.encode()).digest(),
            owner=actor.name,
            label=wish.label,
            scopes=scopes,
            days=wish.days,
        )
        details = {"label": wish.label, "scopes": scopes, "days": wish.days}
        token = await self._tokens.create(new, _act("token.created", actor, address, wish.token_id, details))
        return Made(secret=secret, token=token)

    async def of(self, actor: Actor, owner: str, *, limit: int, cursor: str | None = None) -> TokenList:
        """List somebody's tokens, newest first.

        Raises:
            NotAllowed: they are another's, and the actor is no admin.
        """
        if owner != actor.name and not may(actor, Action.ADMINISTER):
            raise NotAllowed("only admins may see whose tokens others have")
        return await self._tokens.of(owner, limit=limit, cursor=cursor)

    async def revoke(self, actor: Actor, token_id: str, address: str) -> Token:
        """End a token at once, everywhere.

        Raises:
            NotFound: there is none, or it is another's and the actor is no admin.
        """
        if not _ID.fullmatch(token_id):
            raise NotFound("there is no such token")
        token = await self._tokens.get(token_id)
        if token.owner != actor.name and not may(actor, Action.ADMINISTER):
            raise NotFound("there is no such token")
        details = {"label": token.label, "owner": token.owner}
        return await self._tokens.revoke(token_id, _act("token.revoked", actor, address, token_id, details))

    async def _note(self, token_id: str, now: float) -> None:
        """Note that a token is used, at most once a minute; a request does not fail for it."""
        if now - self._used.get(token_id, 0.0) < _USED_AGAIN_S:
            return
        self._used[token_id] = now
        self._used.move_to_end(token_id)
        if len(self._used) > _REMEMBERED:
            self._used.popitem(last=False)
        try:
            await self._tokens.used(token_id)
        except DatabaseUnavailable:
            # Who reads from memory is served while the database is away; when it is back, the next use is noted.
            del self._used[token_id]


def _require_good(token: Token, now: float) -> None:
    match token.state(datetime.fromtimestamp(now, UTC)):
        case State.REVOKED:
            raise NotAuthenticated(f"this token was revoked{_when(token.revoked_at)}: make a new one at {_MANAGE}")
        case State.EXPIRED:
            raise NotAuthenticated(f"this token expired{_when(token.expires_at)}: make a new one at {_MANAGE}")


def _when(at: datetime | None) -> str:
    return "" if at is None else f" on {at.astimezone(UTC):%Y-%m-%d at %H:%M} UTC"


def _require(wish: Wish, max_days: float) -> None:
    problems = []
    if not 0 < len(wish.label.strip()) <= MAX_LABEL_CHARACTERS or not wish.label.isprintable():
        message = f"must be 1 to {MAX_LABEL_CHARACTERS} printable characters that say what the token is for"
        problems.append(Problem(field="label", message=message))
    if not wish.scopes:
        problems.append(Problem(field="scopes", message=f"must name at least one of {', '.join(Scope)}"))
    if not _ID.fullmatch(wish.token_id):
        problems.append(Problem(field="token_id", message="must be 16 hexadecimal digits"))
    if not 0 < wish.days <= max_days:
        problems.append(Problem(field="days", message=f"must be more than 0 and at most {max_days:g}"))
    if problems:
        raise InvalidInput("this is no token that can be made", problems)


def _act(act: str, actor: Actor, address: str, token_id: str, details: Mapping[str, object]) -> Act:
    return Act(
        act=act,
        actor=actor.name,
        credential=actor.credential,
        address=address or None,
        target=token_id,
        details=details,
    )
