"""The way in by share links: signed, good for one run each, for reading alone."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from itsdangerous import BadSignature, URLSafeSerializer

from scripthut_outputs.catalog.shares import ShareLink, ShareLinks

from . import Action, Actor, Role, Scope
from .callers import Found, Presented
from .directory import Directory
from .may import may

# Tells our links from other bearer tokens.
PREFIX = "shs_"
_MAX_IN_A_BROWSER = 16
_MAX_CHARACTERS = 4000
_REMEMBERED = 1024


class Shares:
    """Reads and writes what browsers and programs show of share links.

    Args:
        links: the links.
        directory: everybody, by name; a link is worth what its maker may.
        key: signs them.
        is_secure: people reach us by https alone.
    """

    def __init__(self, links: ShareLinks, directory: Directory, key: bytes, *, is_secure: bool) -> None:
        self._links = links
        self._directory = directory
        self._link_signer = _signer(key, "scripthut-share")
        self._cookie_signer = _signer(key, "scripthut-shares-of-a-browser")
        self.is_secure = is_secure
        self._remembered: dict[str, str] = {}
        # Browsers take a name that begins so from us alone, never from a neighbouring host.
        host = "__Host-" if is_secure else ""
        self.cookie_name = f"{host}scripthut_shares_{hashlib.sha256(b'shares name ' + key).hexdigest()[:8]}"
        self._prefix = f"{self.cookie_name}=".encode()

    def signed(self, share_id: str) -> str:
        """What stands in a link's address, and what programs send as bearer token."""
        return f"{PREFIX}{self._link_signer.dumps(share_id)!s}"

    async def open(self, signed: str, now: float) -> ShareLink | None:
        """Give the link whose address this is part of, if it opens anything at `now`, in epoch seconds."""
        share_id = self._read_link(signed)
        return None if share_id is None else await self._good(share_id, now)

    async def bearer(self, token: bytes, now: float, sender: str) -> Found | None:  # noqa: ARG002  good from everywhere
        """Give whoever shows a link as a token: a guest; of a link that opens nothing, one who may see nothing."""
        share_id = self._read_link(token.decode("latin-1"))
        return None if share_id is None else Found(await self._guest([share_id], now))

    async def add(self, found: Found | None, presented: Presented) -> Found | None:
        """Add what the links in a browser's cookie open; a stranger who has some is a guest."""
        share_ids = self.in_cookies(presented.headers.get(b"cookie"))
        if not share_ids:
            return found
        if found is None:
            return Found(await self._guest(share_ids, presented.now))
        shared = await self._shared(share_ids, presented.now)
        return Found(msgspec.structs.replace(found.actor, shared=shared) if shared else found.actor)

    def in_cookies(self, cookies: bytes | None) -> list[str]:
        """Which links a `Cookie` header names, the one opened last first."""
        if cookies is None or self._prefix not in cookies:
            return []
        values = (one.strip() for one in cookies.split(b";"))
        found = next((one[len(self._prefix) :] for one in values if one.startswith(self._prefix)), b"")
        try:
            named = self._cookie_signer.loads(found[:_MAX_CHARACTERS])
        except BadSignature:
            return []
        return [str(one) for one in named] if isinstance(named, list) else []

    def cookie(self, link: ShareLink, cookies: bytes | None, now: float) -> str:
        """The `Set-Cookie` header that keeps a link in a browser beside those that are there."""
        others = [one for one in self.in_cookies(cookies) if one != link.share_id]
        value = str(self._cookie_signer.dumps([link.share_id, *others][:_MAX_IN_A_BROWSER]))
        secure = "; Secure" if self.is_secure else ""
        max_age_s = max(0, int(link.expires_at.timestamp() - now))
        return f"{self.cookie_name}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{secure}"

    def _read_link(self, signed: str) -> str | None:
        if not signed.startswith(PREFIX) or len(signed) > _MAX_CHARACTERS:
            return None
        if signed not in self._remembered:
            try:
                share_id = str(self._link_signer.loads(signed.removeprefix(PREFIX)))
            except BadSignature:
                return None
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[signed] = share_id
        return self._remembered[signed]

    async def _guest(self, share_ids: Sequence[str], now: float) -> Actor:
        name = f"share:{share_ids[0]}"
        shared = await self._shared(share_ids, now)
        return Actor(name=name, role=Role.GUEST, scopes=frozenset({Scope.READ}), credential=name, shared=shared)

    async def _shared(self, share_ids: Sequence[str], now: float) -> dict[str, str]:
        found = [await self._good(share_id, now) for share_id in share_ids]
        return {link.run_id: link.share_id for link in found if link is not None}

    async def _good(self, share_id: str, now: float) -> ShareLink | None:
        link = await self._links.find(share_id)
        if link is None or not link.is_good_at(datetime.fromtimestamp(now, UTC)):
            return None
        maker = await self._directory.actor(link.created_by, credential=f"share:{share_id}")
        return link if may(maker, Action.READ_RUN, link) else None


def _signer(key: bytes, salt: str) -> URLSafeSerializer:
    return URLSafeSerializer(key, salt=salt, signer_kwargs={"digest_method": hashlib.sha256})
