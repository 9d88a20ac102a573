"""Everybody who may come in, by name: of the tokens file, of an OpenID provider, of a proxy."""

import math
from collections.abc import Callable
from operator import is_

from scripthut_outputs.catalog.identities import Identities, Identity

from . import ALL_SCOPES, Actor, Role, Scope
from .callers import Found
from .policy import Policy
from .tokens import Tokens

_REMEMBERED = 4096
_Key = tuple[str, str, frozenset[Scope]]
_Of = tuple[Actor | None, Identity | None, Policy]


class Directory:
    """Makes actors of names.

    Who was made is remembered together with what they were made of: other words of the files or of the catalog are
    other objects.

    Args:
        tokens: the tokens file, whose word on a role goes first.
        identities: who was vouched for by others.
        policy: gives the access file as it is now.
    """

    def __init__(self, tokens: Tokens, identities: Identities, policy: Callable[[], Policy]) -> None:
        self._tokens = tokens
        self._identities = identities
        self._policy = policy
        self._remembered: dict[_Key, tuple[_Of, Actor]] = {}

    async def actor(
        self,
        name: str,
        *,
        credential: str,
        scopes: frozenset[Scope] = ALL_SCOPES,
        begun_at: float | None = None,
        is_told: bool = False,
    ) -> Actor | None:
        """Give who has this name, as they are now; `None` for nobody, or nobody any more.

        Args:
            name: who.
            credential: what they showed, as `Actor.credential`.
            scopes: what that is good for.
            begun_at: epoch seconds, of a session; one from before they ended all theirs counts no more.
            is_told: a provider or a proxy says so; whoever has the name by the tokens file is somebody else, unless the
                access file trusts them with it.
        """
        listed = self._tokens.actor_named(name)
        if is_told and listed is not None and not self._policy().trusts_listed_names:
            return None
        identity = await self._identities.find(name)
        if identity is not None and (identity.is_disabled or identity.has_ended(begun_at)):
            return None
        if identity is not None and identity.issuer is None:
            # A row of somebody whom the tokens file alone knows, or knew: it vouches for nobody.
            identity = None
        if identity is None and listed is None:
            return None
        made_of = (listed, identity, self._policy())
        key = (name, credential, scopes)
        known = self._remembered.get(key)
        if known is not None and all(map(is_, known[0], made_of)):
            return known[1]
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        actor = _actor(name, made_of, scopes, credential)
        self._remembered[key] = (made_of, actor)
        return actor


def _actor(name: str, made_of: _Of, scopes: frozenset[Scope], credential: str) -> Actor:
    listed, identity, policy = made_of
    is_admin = (
        name in policy.admins
        or (listed is not None and listed.role is Role.ADMIN)
        or (identity is not None and not identity.groups.isdisjoint(policy.admin_groups_of(identity.issuer)))
    )
    return Actor(
        name=name,
        role=Role.ADMIN if is_admin else Role.USER,
        groups=_groups(policy, name, identity),
        scopes=scopes,
        credential=credential,
    )


def _groups(policy: Policy, name: str, identity: Identity | None) -> frozenset[str]:
    told = identity.groups if identity is not None and policy.hears(identity.issuer) else frozenset[str]()
    return told | {group for group, members in policy.groups.items() if name in members}


class Listed:
    """The bearer tokens of the tokens file."""

    def __init__(self, tokens: Tokens, directory: Directory) -> None:
        self._tokens = tokens
        self._directory = directory

    async def bearer(self, token: bytes, now: float, sender: str) -> Found | None:  # noqa: ARG002  good at all times
        """Give whose line has this token."""
        listed = self._tokens.actor_of(token)
        actor = None if listed is None else await self._directory.actor(listed.name, credential="file")
        return None if actor is None else Found(actor, until=math.inf)
