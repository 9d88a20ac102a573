"""People whom a reverse proxy vouches for: from its addresses alone, with its secret, its signed word, or both.

What a request says of itself counts for nothing here but what the proxy proves. The address is the peer's, as the
kernel has it: `X-Forwarded-For` is what somebody says.
"""

import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import structlog

from scripthut_common.errors import Conflict, NotAuthenticated, SettingsError, TransientError
from scripthut_outputs.catalog.identities import Identities, Vouched

from . import jwts
from .callers import Found, Presented
from .directory import Directory
from .names import NAME
from .oidc_asking import Asking
from .oidc_claims import is_group, name_in
from .oidc_kept import Kept
from .oidc_provider import read_keys
from .policy import PROXY, Policy, Proxy, read_secret
from .watched import WatchedFile

_MAX_GROUPS_BYTES = 16 * 1024

log = structlog.get_logger()


class _Trust:
    """What one proxy must show.

    Raises:
        SettingsError: a file of its cannot be read.
    """

    def __init__(self, proxy: Proxy, clock: Callable[[], float]) -> None:
        self.proxy = proxy
        self._networks = proxy.networks
        self._secret = None if proxy.secret_file is None else WatchedFile(Path(proxy.secret_file), read_secret)
        self._verifier = jwts.Verifier()
        self._keys: Kept[jwts.Keys] | None = None
        if proxy.assertion_keys_url is not None:
            asking, url = Asking(proxy.ca_file), proxy.assertion_keys_url
            self._keys = Kept("keys of the proxy", lambda: read_keys(asking, url), clock)
        self.name_header = _raw(proxy.name_header)
        self.groups_header = None if proxy.groups_header is None else _raw(proxy.groups_header)
        self.assertion_header = None if proxy.assertion_header is None else _raw(proxy.assertion_header)
        self._secret_header = _raw(proxy.secret_header)
        named = (self.name_header, self.groups_header, self.assertion_header, self._secret_header)
        self._headers = frozenset(header for header in named if header is not None)

    def is_from(self, address: str) -> bool:
        """Whether the peer is where the proxy is."""
        peer = _peer(address)
        return peer is not None and any(peer in network for network in self._networks)

    def is_said(self, presented: Presented) -> bool:
        """Whether the request says who asks in a header of the proxy's."""
        if self.assertion_header is not None and presented.headers.get(self.assertion_header):
            return True
        return bool(presented.headers.get(self.name_header))

    async def name(self, presented: Presented) -> str:
        """Give who asks.

        Raises:
            NotAuthenticated: what the proxy must show is missing or wrong.
            TransientError: the keys of its assertions are not to be had.
        """
        if not presented.repeated.isdisjoint(self._headers):
            raise NotAuthenticated("the proxy's headers come twice: it must replace those that a browser sends")
        if self._secret is not None:
            shown = presented.headers.get(self._secret_header, b"")
            if not hmac.compare_digest(shown, self._secret.now().encode()):
                raise NotAuthenticated("a proxy says who asks, without the secret that it shares with this service")
        if self.assertion_header is not None:
            return await self._asserted(presented.headers.get(self.assertion_header, b""), presented.now)
        name = presented.headers[self.name_header].decode("latin-1")
        if not NAME.fullmatch(name):
            raise NotAuthenticated(
                f"the proxy calls somebody {name[:128]!r}; names here are up to 128 letters, digits and . _ @ -"
            )
        return name

    def groups(self, presented: Presented) -> frozenset[str] | None:
        """Give the groups that the proxy names; `None` where it was not asked to.

        Raises:
            NotAuthenticated: they are too many.
        """
        if self.groups_header is None:
            return None
        said = presented.headers.get(self.groups_header, b"")
        if len(said) > _MAX_GROUPS_BYTES:
            raise NotAuthenticated(f"the proxy names groups in {len(said)} bytes; up to {_MAX_GROUPS_BYTES} are read")
        listed = (one.strip() for one in said.decode("utf-8", "replace").split(","))
        return frozenset(one for one in listed if is_group(one))

    async def _asserted(self, token: bytes, now: float) -> str:
        proxy = self.proxy
        if self._keys is None or not token:
            raise NotAuthenticated("a proxy says who asks, without the signed assertion that must come with it")
        parts = jwts.take_apart(token)
        issuer, audience = proxy.assertion_issuer or "", proxy.assertion_audience or ""
        jwts.check(parts, jwts.Expected(issuer=issuer, audiences=frozenset({audience}), now=now))
        self._verifier.verify(parts, await self._keys.get(lambda keys: keys.has(parts.kid)))
        return name_in(parts.claims, proxy.assertion_name_claim, must_say_verified=False)


class Proxied:
    """The way in by a proxy's word.

    Args:
        policy: gives the access file.
        identities: takes note of whom it vouches for.
        directory: makes actors of names.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        policy: Callable[[], Policy],
        identities: Identities,
        directory: Directory,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._identities = identities
        self._directory = directory
        self._clock = clock
        self._trust: _Trust | None = None

    def is_said(self, presented: Presented) -> bool:
        """Whether a proxy says in this request who asks, be that so or not: its browser asked for a page."""
        trust = self._trusted(presented)
        return trust is not None and trust.is_said(presented)

    async def find(self, presented: Presented) -> Found | None:
        """Give whom the proxy names.

        Raises:
            NotAuthenticated: a request from its address says who asks and does not prove it.
            TransientError: the keys of its assertions are not to be had.
        """
        trust = self._trusted(presented)
        if trust is None or not trust.is_said(presented):
            return None
        try:
            name = await trust.name(presented)
            await self._note(trust, presented, name)
        except (NotAuthenticated, Conflict) as error:
            log.warning("proxy_refused", address=presented.sender, peer=presented.address, reason=str(error))
            raise NotAuthenticated(str(error)) from error
        actor = await self._directory.actor(name, credential="proxy", is_told=True)
        if actor is None:
            raise NotAuthenticated(f"{name!r} may not come in here")
        return Found(actor)

    async def _note(self, trust: _Trust, presented: Presented, name: str) -> None:
        groups = trust.groups(presented)
        vouched = Vouched(
            name=name,
            issuer=PROXY,
            subject=None if trust.proxy.shares_names else name,
            groups=groups,
            at=datetime.fromtimestamp(presented.now, UTC),
        )
        known = await self._identities.find(name)
        if vouched.adds_to(known):
            await self._identities.vouch(vouched, credential="proxy", address=presented.sender or None)

    def _trusted(self, presented: Presented) -> _Trust | None:
        proxy = self._policy().proxy
        if proxy is None:
            return None
        if self._trust is None or self._trust.proxy != proxy:
            try:
                self._trust = _Trust(proxy, self._clock)
            except SettingsError as error:
                raise TransientError(f"what this service needs to know its proxy cannot be read: {error}") from error
        return self._trust if self._trust.is_from(presented.address) else None


@lru_cache(maxsize=1024)
def _peer(address: str) -> IPv4Address | IPv6Address | None:
    try:
        peer = ip_address(address)
    except ValueError:
        return None
    return (peer.ipv4_mapped or peer) if isinstance(peer, IPv6Address) else peer


def _raw(name: str) -> bytes:
    return name.lower().encode()
