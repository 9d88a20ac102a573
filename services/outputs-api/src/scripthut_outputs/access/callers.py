"""Who asks: every way to say so, tried in order."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Protocol

import msgspec

from scripthut_common.errors import NotAuthenticated

from . import Actor

_REMEMBERED = 4096
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


class Found(msgspec.Struct, frozen=True):
    """Who asks.

    Args:
        actor: who.
        until: epoch seconds; until then whoever shows the same bytes is the same, as long as nothing changes of what
            rights rest on. 0: more counts than those bytes.
    """

    actor: Actor
    until: float = 0.0


class Way(Protocol):
    """One way to say who one is."""

    async def find(self, presented: Presented) -> Found | None:
        """Give who asks; `None` when this way says nothing of it.

        Raises:
            NotAuthenticated: what was presented is of this kind, and wrong.
        """


class BearerWay(Protocol):
    """One kind of bearer token."""

    async def bearer(self, token: bytes, now: float, sender: str) -> Found | None:
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

    async def add(self, found: Found | None, presented: Presented) -> Found | None:
        """Give the same somebody with what they may more; a stranger may become a guest."""


class Memory:
    """Who showed what, by the hash of that; all is forgotten as soon as anything changes of what rights rest on.

    Args:
        rests_on: each gives what differs from before once it says something else.
    """

    def __init__(self, *rests_on: Callable[[], object]) -> None:
        self._parts = rests_on
        self._rests_on = [part() for part in rests_on]
        self._known: dict[bytes, Found] = {}

    def now(self) -> dict[bytes, Found]:
        """Give what is remembered, to be taken before somebody is looked for and written to when they are found.

        What was taken before something changed is not what is given after it.
        """
        rests_on = [part() for part in self._parts]
        if rests_on != self._rests_on:
            self._rests_on = rests_on
            self._known = {}
        return self._known


class Callers:
    """Finds out who asks.

    A request with an `Authorization` header counts by it alone: a browser's cookie never helps out a wrong token.
    Who was found is remembered with the hash of what they showed. Refusals are not: each is looked at, and counted.

    Args:
        bearers: the kinds of bearer tokens; the first that knows one decides.
        others: the other ways, in order.
        adding: gives somebody, known or not, what the request shows besides.
        is_proxied: whether a trusted proxy says in a request who asks.
        memory: of who was found; by itself one that remembers nothing.
    """

    def __init__(
        self,
        bearers: Sequence[BearerWay],
        others: Sequence[Way],
        adding: Adding | None = None,
        is_proxied: Callable[[Presented], bool] = lambda _: False,
        memory: Memory | None = None,
    ) -> None:
        self._bearers = bearers
        self._others = others
        self._adding = adding
        self._is_proxied = is_proxied
        self._memory = memory or Memory(object)

    def is_sent_unasked(self, presented: Presented) -> bool:
        """Whether a browser may have sent this for a page of anybody's; a proxy may add a token to what it sends."""
        return b"authorization" not in presented.headers or self._is_proxied(presented)

    async def find(self, presented: Presented) -> Actor | None:
        """Give who asks; `None` for somebody who does not say.

        Raises:
            NotAuthenticated: what was presented is wrong.
        """
        authorization, cookie = presented.headers.get(b"authorization"), presented.headers.get(b"cookie")
        if authorization is not None:
            shown = b"authorization " + authorization
        elif cookie is not None and not self._is_proxied(presented):
            shown = b"cookie " + cookie
        else:
            found = await self._others_say(presented)
            return None if found is None else found.actor
        remembered = self._memory.now()
        key = blake2b(shown).digest()
        found = remembered.get(key)
        if found is None or presented.now >= found.until:
            found = await self._look(authorization, presented)
            if found is not None and found.until:
                if len(remembered) >= _REMEMBERED:
                    remembered.clear()
                remembered[key] = found
        return None if found is None else found.actor

    async def bearer(self, token: bytes, now: float, sender: str) -> Found:
        """Give whose a bearer token is; see `BearerWay`.

        Raises:
            NotAuthenticated: it is nobody's.
        """
        for kind in self._bearers:
            found = await kind.bearer(token, now, sender)
            if found is not None:
                return found
        raise NotAuthenticated(_UNKNOWN)

    async def _look(self, authorization: bytes | None, presented: Presented) -> Found | None:
        if authorization is None:
            return await self._others_say(presented)
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise NotAuthenticated("say who you are as Authorization: Bearer <token>")
        return await self.bearer(token.strip(), presented.now, presented.sender)

    async def _others_say(self, presented: Presented) -> Found | None:
        found = None
        for way in self._others:
            found = await way.find(presented)
            if found is not None:
                break
        return found if self._adding is None else await self._adding.add(found, presented)
