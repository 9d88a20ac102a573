"""Programs that bring a JWT of the OpenID provider as their bearer token."""

import hashlib

import msgspec

from scripthut_common.errors import Conflict, NotAuthenticated
from scripthut_outputs.catalog.identities import Identities

from . import Scope, jwts
from .callers import Found
from .directory import Directory
from .oidc_claims import scopes_in, vouched
from .oidc_provider import Provider, Providers

_REMEMBERED = 4096


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A token that was checked, and with which keys; it counts until its end as long as those are the issuer's."""

    keys: jwts.Keys
    name: str
    scopes: frozenset[Scope]
    made_at: float


class Programs:
    """The way in by a JWT.

    Args:
        providers: gives the provider.
        identities: takes note of whom it vouches for.
        directory: makes actors of names.
    """

    def __init__(self, providers: Providers, identities: Identities, directory: Directory) -> None:
        self._providers = providers
        self._identities = identities
        self._directory = directory
        self._seen: dict[bytes, _Seen] = {}

    async def bearer(self, token: bytes, now: float, sender: str) -> Found | None:
        """Give whose a JWT is.

        Raises:
            NotAuthenticated: it does not count here; says why.
            TransientError: the provider's keys are not to be had.
        """
        provider = self._providers.now()
        if provider is None or not jwts.is_one(token):
            return None
        audiences = frozenset(provider.oidc.audiences)
        if not audiences:
            raise NotAuthenticated("tokens of the provider are not taken here: the access file names no `audiences`")
        parts = jwts.take_apart(token)
        jwts.check(parts, jwts.Expected(issuer=provider.oidc.issuer, audiences=audiences, now=now))
        keys = await provider.keys(parts.kid)
        digest = hashlib.sha256(token).digest()
        seen = self._seen.get(digest)
        if seen is None or seen.keys is not keys:
            seen = await self._look(provider, parts, keys, now, sender)
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen[digest] = seen
        actor = await self._directory.actor(
            seen.name, credential="jwt", scopes=seen.scopes, begun_at=seen.made_at, is_told=True
        )
        if actor is None:
            raise NotAuthenticated("whoever this token is of may not come in, or ended all their sessions since")
        return Found(actor)

    async def _look(self, provider: Provider, parts: jwts.Parts, keys: jwts.Keys, now: float, sender: str) -> _Seen:
        jwts.verify(parts, keys)
        made_at = jwts.made_at(parts.claims)
        # A clock of theirs that is ahead must not make a later login count as earlier.
        who = vouched(provider.oidc, parts.claims, at=min(made_at, now), is_login=False)
        try:
            await self._identities.vouch(who, credential="jwt", address=sender or None)
        except Conflict as error:
            raise NotAuthenticated(str(error)) from error
        return _Seen(
            keys=keys,
            name=who.name,
            scopes=scopes_in(provider.oidc, parts.claims),
            made_at=made_at,
        )
