"""Put together who may come in, and how."""

from collections.abc import Callable

import msgspec

from scripthut_common.database import Database
from scripthut_outputs.catalog.changes import Cache
from scripthut_outputs.catalog.identities import Identities
from scripthut_outputs.catalog.shares import ShareLinks

from .callers import BearerWay, Callers
from .directory import Directory, Listed
from .policy import Policy
from .sessions import Cookies, Sessions
from .shares import Shares
from .tokens import Tokens


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may come in.

    Args:
        policy: gives the access file as it is now.
        directory: everybody, by name.
        sessions: makes and reads the cookies of browsers.
        shares: makes and reads share links.
        callers: finds out who asks.
    """

    policy: Callable[[], Policy]
    directory: Directory
    sessions: Sessions
    shares: Shares
    callers: Callers


def open_access(
    database: Database, cache: Cache, tokens: Tokens, sessions: Sessions, policy: Callable[[], Policy]
) -> Access:
    """Make every way in."""
    directory = Directory(tokens, Identities(database, cache), policy)
    shares = Shares(ShareLinks(database, cache), directory, sessions.key, is_secure=sessions.is_secure)
    bearers: list[BearerWay] = [Listed(tokens, directory), shares]
    return Access(
        policy=policy,
        directory=directory,
        sessions=sessions,
        shares=shares,
        callers=Callers(bearers, [Cookies(sessions, directory)], shares),
    )
