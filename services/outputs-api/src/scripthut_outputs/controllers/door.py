"""The door before every route: by which name we were called, which page sent the request, who is asking.

Plain ASGI, since it stands before files too. It says who asks (`scope["user"]`); whether they may is the guard's.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from scripthut_common.errors import LimitExceeded, NotAllowed, NotAuthenticated, TransientError
from scripthut_outputs.access import Actor
from scripthut_outputs.access.addresses import Addresses
from scripthut_outputs.access.callers import Presented
from scripthut_outputs.access.opening import Access
from scripthut_outputs.access.origins import is_allowed_host, is_own_origin

from . import bodies
from .addressed import require_no_token
from .problems import send_problem

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FOR_ANYBODY = ("/health/", "/ui/static/")
_NONE = frozenset[bytes]()
_DOOR = "scripthut.door"
# What a browser says of who made it send a request, where that was a page of ours or a person.
_OWN_SITES = frozenset({b"same-origin", b"none"})
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, DELETE"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, idempotency-key, range, if-none-match, last-event-id",
    ),
    (b"access-control-max-age", b"600"),
    (b"content-length", b"0"),
]


class WrongHost(HTTPException):
    """We were called by a name that is not ours."""

    status_code = 421


class TooManyWrong(HTTPException):
    """Too many wrong tokens came from where this one came from."""

    status_code = 429


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Which names are ours, which other pages may read us with a token, and whose word on senders counts."""

    allowed_hosts: frozenset[str]
    cors_origins: frozenset[bytes]
    addresses: Addresses = Addresses()


class Door:
    """Lets requests in, or answers why not."""

    def __init__(self, app: ASGIApp, access: Access, rules: Rules) -> None:
        self._app = app
        self._callers = access.callers
        self._refusals = access.refusals
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at one request and pass it on."""
        if scope["type"] == ScopeType.HTTP:
            cast("dict[str, Any]", scope)[_DOOR] = self
            headers = dict(scope["headers"])
            origin = headers.get(b"origin")
            if origin in self._rules.cors_origins:
                send = _with_cors(send, origin)
            try:
                self._check_address(scope, headers)
                if origin in self._rules.cors_origins and _is_preflight(scope, headers):
                    await send({"type": "http.response.start", "status": 204, "headers": [*_PREFLIGHT]})
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
                await self._check_caller(scope, headers)
                if scope["method"] not in _SAFE_METHODS:
                    receive = await bodies.taken(scope, headers, receive)
            except (HTTPException, NotAllowed, NotAuthenticated, LimitExceeded, TransientError) as error:
                await send_problem(send, error, scope["path"], is_head=scope["method"] == "HEAD")
                return
        await self._app(scope, receive, send)

    def _check_address(self, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> None:
        """Refuse a name that is not ours, and an address that holds a token."""
        require_no_token(headers, scope["query_string"])
        host = headers.get(b"host", b"").decode("latin-1")
        if not is_allowed_host(host, self._rules.allowed_hosts):
            raise WrongHost(
                detail=f"{host[:200]!r} is not a name of this service; its setting `allowed_hosts` has them"
            )

    async def _check_caller(self, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> None:
        """Say who asks, and refuse what they did not ask for themselves."""
        presented = self._presented(scope, headers)
        try:
            scope["user"] = await self._callers.find(presented)
        except NotAuthenticated as error:
            waits_s = await self._refusals.note(address_of(scope), time.time(), "bearer")
            if waits_s:
                detail = f"too many wrong tokens came from your address; of this one: {error}"
                raise TooManyWrong(detail=detail, headers={"retry-after": str(waits_s)}) from error
            raise
        except TransientError:
            # How we are, and how a page looks that says so, is told to anybody, whoever they may be.
            if not scope["path"].startswith(_FOR_ANYBODY):
                raise
            scope["user"] = None
        if scope["method"] not in _SAFE_METHODS:
            self._check_sender(presented, is_known=bool(scope["user"]))

    def _check_sender(self, presented: Presented, *, is_known: bool) -> None:
        """Refuse what another site's page made a browser send; browsers add cookies unasked, tokens never."""
        headers = presented.headers
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        has_token = not self._callers.is_sent_unasked(presented)
        if has_token and origin in self._rules.cors_origins:
            return
        if site is not None and site not in _OWN_SITES:
            raise NotAllowed("a page of another site may not do this")
        if origin is None:
            if is_known and not has_token:
                raise NotAllowed("a request that changes something needs a token, or must come from our own page")
        elif not is_own_origin(origin.decode("latin-1"), headers.get(b"host", b"").decode("latin-1")):
            raise NotAllowed("a page of another site may not do this")

    async def actor(self, scope: HTTPScope) -> Actor | None:
        """Look who asks, as `actor_now`."""
        return await self._callers.find(self._presented(scope, dict(scope["headers"])))

    def address(self, scope: Scope) -> str:
        """Look where a request came from, as `address_of`."""
        return self._rules.addresses.of(scope)

    def _presented(self, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> Presented:
        peer, listed, repeated = scope.get("client"), cast("Sequence[tuple[bytes, bytes]]", scope["headers"]), _NONE
        if len(headers) != len(listed):
            names = [name for name, _ in listed]
            repeated = frozenset(name for name in headers if names.count(name) > 1)
        return Presented(
            headers=headers,
            address=peer[0] if peer else "",
            sender=self.address(scope),
            now=time.time(),
            repeated=repeated,
        )


def address_of(scope: Scope) -> str:
    """Where a request came from, past proxies that we trust; empty where nobody knows."""
    return _door_of(scope).address(scope)


async def actor_now(scope: HTTPScope) -> Actor | None:
    """Who asks, looked up anew, for answers that take long: a token may be taken away, a session end.

    Raises:
        NotAuthenticated: the token is no longer known.
    """
    return await _door_of(scope).actor(scope)


def _door_of(scope: Scope) -> Door:
    door: Door = cast("dict[str, Any]", scope)[_DOOR]
    return door


def _is_preflight(scope: HTTPScope, headers: Mapping[bytes, bytes]) -> bool:
    """Answer whether a browser asks what a page of another origin may send."""
    return scope["method"] == "OPTIONS" and b"access-control-request-method" in headers


def _with_cors(send: Send, origin: bytes) -> Send:
    """Let a page of a named origin read the answer; credentials are not among what it may send."""
    added = [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", b"etag, content-range, content-disposition, location"),
        (b"vary", b"origin"),
    ]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [header for header in message["headers"] if header[0] != b"cross-origin-resource-policy"]
            # A start may be kept and sent again: it is copied, never changed.
            message = {**message, "headers": [*kept, *added]}
        await send(message)

    return sending
