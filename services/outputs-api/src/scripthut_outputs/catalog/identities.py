"""Who was vouched for by an OpenID provider or a proxy, and what they said."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_common.errors import Conflict, NotFound
from scripthut_outputs.tables import ACCESS_TOKENS, IDENTITIES, SHARE_LINKS

from .auditing import Act, write
from .changes import ACCESS, Cache, touch_access
from .owning import NO_CLUSTERS, Clusters, give_runs

_REFUSED_S = 60.0
_REMEMBERED = 1024


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """One of them; `sessions_since` ends the sessions that were begun before."""

    name: str
    issuer: str | None
    subject: str | None
    groups: frozenset[str]
    account: str | None
    seen_at: datetime
    disabled_at: datetime | None
    sessions_since: datetime | None

    @property
    def is_disabled(self) -> bool:
        """Whether nobody comes in under this name."""
        return self.disabled_at is not None

    def has_ended(self, begun_at: float | None) -> bool:
        """Whether a session that was begun then, in epoch seconds, is over."""
        since = self.sessions_since
        return begun_at is not None and since is not None and begun_at < since.timestamp()


class Vouched(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody whom we trust says of a person.

    Args:
        name: what they are called here.
        issuer: who says so.
        subject: what they call the person for ever; `None`: whoever has the name.
        groups: what they belong to; `None`: nothing is said of it.
        account: theirs on clusters; `UNSET`: nothing is said of it.
        at: when it was said. What was said before counts no more.
    """

    name: str
    issuer: str
    subject: str | None
    groups: frozenset[str] | None = None
    account: str | msgspec.UnsetType | None = msgspec.UNSET
    at: datetime

    @property
    def told(self) -> dict[str, Any]:
        """What is said, as columns."""
        groups = {} if self.groups is None else {"groups": sorted(self.groups)}
        account = {} if self.account is msgspec.UNSET else {"account": self.account}
        return {**groups, **account}

    def binds(self, known: Identity) -> bool:
        """Whether the name is from now on that of another subject than before."""
        return self.subject is not None and (known.issuer, known.subject) != (self.issuer, self.subject)

    def adds_to(self, known: Identity | None) -> bool:
        """Whether it says something that is not known."""
        if known is None or known.issuer is None or self.binds(known):
            return True
        kept = {name: getattr(known, name) for name in self.told} | (
            {"groups": sorted(known.groups)} if "groups" in self.told else {}
        )
        return self.told != kept


_RESERVED = (
    "the name {name!r} stands in the tokens file of this service, and is nobody's by the word of others: whoever runs"
    " it takes the line away, or sets `trusts_listed_names` in the access file"
)
_UNSAID: dict[str, Any] = {"groups": [], "account": None}
# What somebody may by what is said of them, and what it is before anything is said.
_NONE = {"groups": frozenset[str](), "account": None}
_COLUMNS = tuple(IDENTITIES.c[name] for name in Identity.__struct_fields__)


class Identities:
    """The identities.

    Args:
        database: the catalog.
        cache: keeps what was read until what somebody may has changed.
        clusters: say which accounts are whose; runs that were nobody's become theirs who come in.
        is_reserved: tells names that nobody may have by the word of others.
    """

    def __init__(
        self,
        database: Database,
        cache: Cache,
        clusters: Clusters = NO_CLUSTERS,
        is_reserved: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._database = database
        self._cache = cache
        self._clusters = clusters
        self._is_reserved = is_reserved
        self._refused: dict[tuple[str, str | None, str | None], tuple[float, str]] = {}

    async def find(self, name: str) -> Identity | None:
        """Give who has this name; `None` for nobody that others vouched for."""

        async def read() -> Identity | None:
            async with self._database.transaction() as connection:
                row = (await connection.execute(select(*_COLUMNS).where(IDENTITIES.c.name == name))).one_or_none()
            return None if row is None else _identity(row)

        return await self._cache.get(ACCESS, ("identity", name), read)

    async def vouch(self, vouched: Vouched, *, credential: str, address: str | None = None) -> None:
        """Take note of what is said of somebody; at the first time their name is bound to issuer and subject for ever.

        Args:
            vouched: what is said.
            credential: by what, as `access.Actor.credential`, for the audit log.
            address: where the request came from.

        Raises:
            Conflict: the name is somebody else's, or they have another name here; that stands in the audit log, once
                a minute for those who insist.
        """
        key = (vouched.name, vouched.issuer, vouched.subject)
        refused_at, refusal = self._refused.get(key, (0.0, None))
        if refusal is not None and time.monotonic() - refused_at < _REFUSED_S:
            raise Conflict(refusal)
        async with self._database.transaction() as connection:
            act = Act(act="identity.changed", actor=vouched.name, credential=credential, address=address)
            if self._is_reserved(vouched.name):
                refusal = _RESERVED.format(name=vouched.name)
            else:
                refusal = await self._note(connection, vouched, act)
            if refusal is not None:
                details = {"reason": refusal, "issuer": vouched.issuer, "subject": vouched.subject}
                await write(connection, msgspec.structs.replace(act, act="login.refused", details=details))
        if refusal is not None:
            if len(self._refused) >= _REMEMBERED:
                self._refused.clear()
            self._refused[key] = (time.monotonic(), refusal)
            raise Conflict(refusal)
        # Others hear of it; who asked here is answered as things are now.
        self._cache.drop(ACCESS)

    async def unbind(self, name: str, act: Act) -> None:
        """Let another subject have a name: all that was made under it ends, and nothing that was said of it counts.

        Raises:
            NotFound: nobody was vouched for by that name.
        """
        bound = {"issuer": None, "subject": None, **_UNSAID, "sessions_since": func.now()}
        unbound = update(IDENTITIES).where(IDENTITIES.c.name == name).values(bound).returning(IDENTITIES.c.name)
        theirs = (
            (ACCESS_TOKENS, ACCESS_TOKENS.c.owner == name),
            (SHARE_LINKS, SHARE_LINKS.c.created_by == name),
        )
        async with self._database.transaction() as connection:
            if (await connection.execute(unbound)).one_or_none() is None:
                raise NotFound(f"nobody was vouched for by the name {name!r}")
            for table, is_theirs in theirs:
                is_good = and_(is_theirs, table.c.revoked_at.is_(None))
                await connection.execute(update(table).where(is_good).values(revoked_at=func.now()))
            await write(connection, act)
            await touch_access(connection)
        self._cache.drop(ACCESS)

    async def _note(self, connection: AsyncConnection, vouched: Vouched, act: Act) -> str | None:
        """Write it; give why it may not be."""
        bound = {"name": vouched.name, "issuer": vouched.issuer, "subject": vouched.subject}
        fresh = {**bound, **vouched.told, "seen_at": vouched.at}
        added = insert(IDENTITIES).values(fresh).on_conflict_do_nothing().returning(IDENTITIES.c.name)
        if (await connection.execute(added)).one_or_none() is not None:
            await self._tell(connection, vouched, None, act)
            return None
        is_meant = IDENTITIES.c.name == vouched.name
        if vouched.subject is not None:
            is_theirs = and_(IDENTITIES.c.issuer == vouched.issuer, IDENTITIES.c.subject == vouched.subject)
            is_meant = or_(is_meant, is_theirs)
        about = select(*_COLUMNS).where(is_meant).order_by(IDENTITIES.c.name)
        known = [_identity(row) for row in await connection.execute(about.with_for_update())]
        refusal = _refusal(vouched, known)
        if refusal is not None or known[0].seen_at > vouched.at:
            return refusal
        changed = {**vouched.told, "seen_at": vouched.at}
        if vouched.binds(known[0]):
            # What was said of whoever had the name before is not said of them.
            changed = {**bound, **_UNSAID, **changed}
        elif known[0].issuer is None:
            changed["issuer"] = vouched.issuer
        await connection.execute(update(IDENTITIES).where(IDENTITIES.c.name == vouched.name).values(changed))
        if vouched.adds_to(known[0]):
            await self._tell(connection, vouched, known[0], act)
        return None

    async def _tell(self, connection: AsyncConnection, vouched: Vouched, before: Identity | None, act: Act) -> None:
        """Tell every process that somebody may more or less, write it, and give them what has waited for them."""
        await touch_access(connection)
        about = select(*_COLUMNS).where(IDENTITIES.c.name == vouched.name)
        after = _identity((await connection.execute(about)).one())
        changed = [name for name, none in _NONE.items() if getattr(after, name) != getattr(before, name, none)]
        if changed:
            await write(connection, msgspec.structs.replace(act, details={"changed": changed}))
        await give_runs(connection, self._clusters, vouched.name, after.account, act)


def _refusal(vouched: Vouched, known: Sequence[Identity]) -> str | None:
    """Say why nobody may come in so; `known` has whoever bears the name, and whoever is the subject."""
    if vouched.subject is None:
        return None
    for one in known:
        if one.name != vouched.name:
            return (
                f"you are known here as {one.name!r}, and are called {vouched.name!r} now: whoever runs this service"
                " decides which of them you are"
            )
        if one.subject is not None and (one.issuer, one.subject) != (vouched.issuer, vouched.subject):
            return f"the name {vouched.name!r} is somebody else's here: whoever runs this service can look who has it"
    return None


def _identity(row: Any) -> Identity:
    return Identity(**{**row._mapping, "groups": frozenset(row.groups)})  # noqa: SLF001  SQLAlchemy's name
