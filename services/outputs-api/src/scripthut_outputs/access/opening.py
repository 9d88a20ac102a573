"""Put together who may come in, and how."""

from collections.abc import Callable

import msgspec

from scripthut_common.database import Database
from scripthut_outputs.catalog.changes import Cache
from scripthut_outputs.catalog.identities import Identities

from .callers import BearerWay, Callers
from .directory import Directory, Listed
from .oidc_login import Logins
from .oidc_programs import Programs
from .oidc_provider import Providers
from .policy import Policy
from .proxying import Proxied
from .sessions import Cookies, Sessions
from .tokens import Tokens


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What is this installation's alone: the key that signs what browsers keep, and where people reach us."""

    key: bytes
    url: str


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may come in.

    Args:
        policy: gives the access file as it is now.
        directory: everybody, by name.
        sessions: makes and reads the cookies of browsers.
        callers: finds out who asks.
        logins: lets browsers log in at the OpenID provider.
        identities: takes note of whom that vouches for.
    """

    policy: Callable[[], Policy]
    directory: Directory
    sessions: Sessions
    callers: Callers
    logins: Logins
    identities: Identities


def open_access(
    database: Database, cache: Cache, tokens: Tokens, sessions: Sessions, policy: Callable[[], Policy], own: Own
) -> Access:
    """Make every way in."""
    identities = Identities(database, cache)
    directory = Directory(tokens, identities, policy)
    providers = Providers(policy)
    proxied = Proxied(policy, identities, directory)
    bearers: list[BearerWay] = [Listed(tokens, directory), Programs(providers, identities, directory)]
    return Access(
        policy=policy,
        directory=directory,
        sessions=sessions,
        callers=Callers(bearers, [proxied, Cookies(sessions, directory)], proxied.is_said),
        logins=Logins(providers, own.key, own.url),
        identities=identities,
    )
