"""Put together who may come in, and how."""

from collections.abc import Callable

import msgspec

from scripthut_common.database import Database
from scripthut_outputs.catalog.access_tokens import AccessTokens
from scripthut_outputs.catalog.auditing import Audit
from scripthut_outputs.catalog.changes import Cache
from scripthut_outputs.catalog.ending import SessionEnds
from scripthut_outputs.catalog.identities import Identities
from scripthut_outputs.catalog.shares import ShareLinks

from .callers import BearerWay, Callers
from .directory import Directory, Listed
from .personal import DEFAULT_MAX_DAYS, Personal
from .policy import Policy
from .refusals import Refusals
from .seals import Seal
from .sessions import Cookies, Sessions
from .shares import Shares
from .tokens import Tokens


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may come in.

    Args:
        policy: gives the access file as it is now.
        directory: everybody, by name.
        sessions: makes and reads the cookies of browsers.
        session_ends: ends the sessions of one person everywhere.
        personal: personal tokens.
        refusals: counts who showed something wrong.
        shares: makes and reads share links.
        callers: finds out who asks.
    """

    policy: Callable[[], Policy]
    directory: Directory
    sessions: Sessions
    session_ends: SessionEnds
    personal: Personal
    refusals: Refusals
    shares: Shares
    callers: Callers


def open_access(
    database: Database,
    cache: Cache,
    tokens: Tokens,
    sessions: Sessions,
    policy: Callable[[], Policy],
    *,
    token_max_days: float = DEFAULT_MAX_DAYS,
) -> Access:
    """Make every way in."""
    directory = Directory(tokens, Identities(database, cache), policy)
    seal = Seal(sessions.key_for(b"personal tokens"))
    personal = Personal(AccessTokens(database, cache), directory, seal, max_days=token_max_days)
    links = ShareLinks(database, cache)
    shares = Shares(links, directory, sessions.key_for(b"share links"), is_secure=sessions.is_secure)
    bearers: list[BearerWay] = [Listed(tokens, directory), personal, shares]
    return Access(
        policy=policy,
        directory=directory,
        sessions=sessions,
        session_ends=SessionEnds(database, cache),
        personal=personal,
        refusals=Refusals(Audit(database)),
        shares=shares,
        callers=Callers(bearers, [Cookies(sessions, directory)], shares),
    )
