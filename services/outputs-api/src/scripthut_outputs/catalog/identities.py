"""Who was vouched for by an OpenID provider or a proxy, and what they said."""

from datetime import datetime

import msgspec
from sqlalchemy import select

from scripthut_common.database import Database
from scripthut_outputs.tables import IDENTITIES

from .changes import ACCESS, Cache


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """One of them; `sessions_since` ends the sessions that were begun before."""

    name: str
    issuer: str | None
    subject: str | None
    is_admin: bool
    groups: frozenset[str]
    account: str | None
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


_COLUMNS = tuple(IDENTITIES.c[name] for name in Identity.__struct_fields__)


class Identities:
    """The identities.

    Args:
        database: the catalog.
        cache: keeps what was read until what somebody may has changed.
    """

    def __init__(self, database: Database, cache: Cache) -> None:
        self._database = database
        self._cache = cache

    async def find(self, name: str) -> Identity | None:
        """Give who has this name; `None` for nobody that others vouched for."""

        async def read() -> Identity | None:
            async with self._database.transaction() as connection:
                row = (await connection.execute(select(*_COLUMNS).where(IDENTITIES.c.name == name))).one_or_none()
            if row is None:
                return None
            return Identity(**{**row._mapping, "groups": frozenset(row.groups)})  # noqa: SLF001  SQLAlchemy's name

        return await self._cache.get(ACCESS, ("identity", name), read)
