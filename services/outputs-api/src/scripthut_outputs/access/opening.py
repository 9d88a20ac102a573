"""Put together who may come in, and how."""

from collections.abc import Callable
from functools import partial

import msgspec

from scripthut_common.database import Database
from scripthut_outputs.catalog.access_tokens import AccessTokens
from scripthut_outputs.catalog.auditing import Audit
from scripthut_outputs.catalog.changes import ACCESS, Cache
from scripthut_outputs.catalog.ending import SessionEnds
from scripthut_outputs.catalog.identities import Identities
from scripthut_outputs.catalog.owning import NO_CLUSTERS, Clusters
from scripthut_outputs.catalog.shares import ShareLinks

from .callers import BearerWay, Callers, Memory
from .directory import Directory, Listed
from .oidc_login import Logins
from .oidc_programs import Programs
from .oidc_provider import Providers
from .personal import DEFAULT_MAX_DAYS, Personal
from .policy import Policy
from .proxying import Proxied
from .refusals import Refusals
from .seals import Seal
from .sessions import Cookies, Sessions
from .shares import Shares
from .tokens import Tokens


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What is this installation's.

    Args:
        url: where people reach us.
        token_max_days: how long a personal token is good at most.
        clusters: say which accounts on them are whose.
    """

    url: str
    token_max_days: float = DEFAULT_MAX_DAYS
    clusters: Clusters = NO_CLUSTERS


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may come in.

    Args:
        policy: gives the access file as it is now.
        tokens: the tokens file.
        directory: everybody, by name.
        sessions: makes and reads the cookies of browsers.
        session_ends: ends the sessions of one person everywhere.
        personal: personal tokens.
        refusals: counts who showed something wrong.
        shares: makes and reads share links.
        callers: finds out who asks.
        logins: lets browsers log in at the OpenID provider.
        identities: takes note of whom that vouches for.
    """

    policy: Callable[[], Policy]
    tokens: Tokens
    directory: Directory
    sessions: Sessions
    session_ends: SessionEnds
    personal: Personal
    refusals: Refusals
    shares: Shares
    callers: Callers
    logins: Logins
    identities: Identities


def open_access(
    database: Database, cache: Cache, tokens: Tokens, sessions: Sessions, policy: Callable[[], Policy], own: Own
) -> Access:
    """Make every way in."""
    identities = Identities(
        database,
        cache,
        own.clusters,
        is_reserved=lambda name: tokens.actor_named(name) is not None and not policy().trusts_listed_names,
    )
    directory = Directory(tokens, identities, policy)
    seal = Seal(sessions.key_for(b"personal tokens"))
    personal = Personal(AccessTokens(database, cache), directory, seal, max_days=own.token_max_days)
    links = ShareLinks(database, cache)
    shares = Shares(links, directory, sessions.key_for(b"share links"), is_secure=sessions.is_secure)
    providers = Providers(policy)
    proxied = Proxied(policy, identities, directory)
    programs = Programs(providers, identities, directory)
    memory = Memory(tokens.now, policy, partial(cache.generation, ACCESS))
    bearers: list[BearerWay] = [Listed(tokens, directory), personal, shares, programs]
    return Access(
        policy=policy,
        tokens=tokens,
        directory=directory,
        sessions=sessions,
        session_ends=SessionEnds(database, cache),
        personal=personal,
        refusals=Refusals(Audit(database)),
        shares=shares,
        callers=Callers(bearers, [proxied, Cookies(sessions, directory, tokens)], shares, proxied.is_said, memory),
        logins=Logins(providers, sessions.key_for(b"logins"), own.url),
        identities=identities,
    )
