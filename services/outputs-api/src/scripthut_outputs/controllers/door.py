"""The door before every route: by which name we were called, which page sent the request, who is asking.

Plain ASGI, since it stands before files too. It says who asks (`scope["user"]`); whether they may is the guard's.
"""

import time
from functools import partial
from typing import Any, cast

import msgspec
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from scripthut_common.errors import NotAllowed, NotAuthenticated, TransientError
from scripthut_outputs.access import Actor
from scripthut_outputs.access.callers import Callers, Presented
from scripthut_outputs.access.origins import is_allowed_host, is_own_origin

from .problems import send_problem

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_ASKS_AGAIN = "scripthut.asks_again"
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


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Which names are ours, and which other pages may read us with a token."""

    allowed_hosts: frozenset[str]
    cors_origins: frozenset[bytes]


class Door:
    """Lets requests in, or answers why not."""

    def __init__(self, app: ASGIApp, callers: Callers, rules: Rules) -> None:
        self._app = app
        self._callers = callers
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at one request and pass it on."""
        if scope["type"] == ScopeType.HTTP:
            headers = dict(scope["headers"])
            origin = headers.get(b"origin")
            if origin in self._rules.cors_origins:
                send = _with_cors(send, origin)
                if b"access-control-request-method" in headers and scope["method"] == "OPTIONS":
                    await send({"type": "http.response.start", "status": 204, "headers": [*_PREFLIGHT]})
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
            try:
                await self._check(scope, headers)
            except (HTTPException, NotAllowed, NotAuthenticated, TransientError) as error:
                await send_problem(send, error, scope["path"], is_head=scope["method"] == "HEAD")
                return
        await self._app(scope, receive, send)

    async def _check(self, scope: HTTPScope, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        if not is_allowed_host(host, self._rules.allowed_hosts):
            raise WrongHost(
                detail=f"{host[:200]!r} is not a name of this service; its setting `allowed_hosts` has them"
            )
        peer = scope.get("client")
        address = peer[0] if peer else ""
        repeated = frozenset[bytes]()
        if len(headers) != len(listed := [name for name, _ in scope["headers"]]):
            repeated = frozenset(name for name in headers if listed.count(name) > 1)
        presented = Presented(headers=headers, address=address, now=time.time(), repeated=repeated)
        scope["user"] = await self._callers.find(presented)
        cast("dict[str, Any]", scope)[_ASKS_AGAIN] = partial(self._actor, presented)
        if scope["method"] not in _SAFE_METHODS:
            is_asked_by_page = bool(scope["user"]) and self._callers.is_sent_unasked(presented)
            self._check_origin(headers.get(b"origin"), host, needs_one=is_asked_by_page)

    def _check_origin(self, origin: bytes | None, host: str, *, needs_one: bool) -> None:
        """Refuse what another site's page made a browser send; browsers add cookies unasked, tokens never."""
        if origin is None:
            if needs_one:
                raise NotAllowed("a request that changes something needs a token, or must come from our own page")
        elif not is_own_origin(origin.decode("latin-1"), host) and origin not in self._rules.cors_origins:
            raise NotAllowed("a page of another site may not do this")

    async def _actor(self, presented: Presented) -> Actor | None:
        return await self._callers.find(msgspec.structs.replace(presented, now=time.time()))


async def actor_now(scope: HTTPScope) -> Actor | None:
    """Who asks, looked up anew, for answers that take long: a token may be taken away, a session end.

    Raises:
        NotAuthenticated: the token is no longer known.
    """
    found: Actor | None = await cast("dict[str, Any]", scope)[_ASKS_AGAIN]()
    return found


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
