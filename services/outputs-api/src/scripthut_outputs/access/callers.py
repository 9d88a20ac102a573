"""Who asks: every way to say so, tried in order."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from scripthut_common.errors import NotAuthenticated

from . import Actor

_UNKNOWN = "this token is not known here, is too old, or was taken back"


class Presented(msgspec.Struct, frozen=True, kw_only=True):
    """What a request shows of who sent it.

    Args:
        headers: by lower-case name; of repeated ones the last.
        repeated: the names that stand there more than once.
        address: of the peer, without its port; empty where there is none. It tells whether a proxy is ours.
        sender: where the request came from, past proxies that we trust; empty where nobody knows. For the audit log.
        now: epoch seconds.
    """

    headers: Mapping[bytes, bytes]
    address: str
    sender: str
    now: float
    repeated: frozenset[bytes] = frozenset()


class Way(Protocol):
    """One way to say who one is."""

    async def find(self, presented: Presented) -> Actor | None:
        """Give who asks; `None` when this way says nothing of it.

        Raises:
            NotAuthenticated: what was presented is of this kind, and wrong.
        """


class BearerWay(Protocol):
    """One kind of bearer token."""

    async def bearer(self, token: bytes, now: float, sender: str) -> Actor | None:
        """Give whose a token is; `None` when it is not of this kind.

        Args:
            token: as it was shown.
            now: epoch seconds.
            sender: as `Presented.sender`.

        Raises:
            NotAuthenticated: it is of this kind, and wrong, too old or taken back.
        """


class Adding(Protocol):
    """What a request shows besides who sent it."""

    async def add(self, actor: Actor | None, presented: Presented) -> Actor | None:
        """Give the same somebody with what they may more; a stranger may become a guest."""


class Callers:
    """Finds out who asks.

    A request with an `Authorization` header counts by it alone: a browser's cookie never helps out a wrong token.

    Args:
        bearers: the kinds of bearer tokens; the first that knows one decides.
        others: the other ways, in order.
        adding: gives somebody, known or not, what the request shows besides.
        is_proxied: whether a trusted proxy says in a request who asks.
    """

    def __init__(
        self,
        bearers: Sequence[BearerWay],
        others: Sequence[Way],
        adding: Adding | None = None,
        is_proxied: Callable[[Presented], bool] = lambda _: False,
    ) -> None:
        self._bearers = bearers
        self._others = others
        self._adding = adding
        self._is_proxied = is_proxied

    def is_sent_unasked(self, presented: Presented) -> bool:
        """Whether a browser may have sent this for a page of anybody's; a proxy may add a token to what it sends."""
        return b"authorization" not in presented.headers or self._is_proxied(presented)

    async def find(self, presented: Presented) -> Actor | None:
        """Give who asks; `None` for somebody who does not say.

        Raises:
            NotAuthenticated: what was presented is wrong.
        """
        authorization = presented.headers.get(b"authorization")
        if authorization is not None:
            scheme, _, token = authorization.partition(b" ")
            if scheme.lower() != b"bearer":
                raise NotAuthenticated("say who you are as Authorization: Bearer <token>")
            return await self.bearer(token.strip(), presented.now, presented.sender)
        actor = None
        for way in self._others:
            actor = await way.find(presented)
            if actor is not None:
                break
        return actor if self._adding is None else await self._adding.add(actor, presented)

    async def bearer(self, token: bytes, now: float, sender: str) -> Actor:
        """Give whose a bearer token is; see `BearerWay`.

        Raises:
            NotAuthenticated: it is nobody's.
        """
        for kind in self._bearers:
            actor = await kind.bearer(token, now, sender)
            if actor is not None:
                return actor
        raise NotAuthenticated(_UNKNOWN)
