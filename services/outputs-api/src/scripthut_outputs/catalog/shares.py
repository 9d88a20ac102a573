"""Share links: each opens one run to whoever has it, for a while, and only while its maker may read that run."""

import secrets
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert

from scripthut_common.database import Database, now
from scripthut_common.errors import LimitExceeded, NotFound
from scripthut_outputs.tables import RUNS, SHARE_LINKS

from . import auditing
from .auditing import Act
from .changes import ACCESS, Cache, touch, touch_access
from .runs import read_head

DEFAULT_DAYS, MAX_DAYS = 7, 90
MAX_LABEL_CHARACTERS = 200
MAX_OF_A_RUN = 100
_ID_BYTES = 12


class ShareLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link, and whose run it opens. `revoked_at`: since then it opens nothing."""

    share_id: str
    run_id: str
    label: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    owner: str
    visibility: str
    group: str | None

    def is_good_at(self, moment: datetime) -> bool:
        """Whether it was not taken back, and is not too old."""
        return self.revoked_at is None and moment < self.expires_at


_OF_LINK = ("share_id", "run_id", "label", "created_by", "created_at", "expires_at", "revoked_at")
_OF_RUN = ("owner", "visibility", "group")
_COLUMNS = (*(SHARE_LINKS.c[name] for name in _OF_LINK), *(RUNS.c[name] for name in _OF_RUN))


class ShareLinks:
    """The share links.

    Args:
        database: the catalog.
        cache: what readers of this process hold.
    """

    def __init__(self, database: Database, cache: Cache) -> None:
        self._database = database
        self._cache = cache

    async def find(self, share_id: str) -> ShareLink | None:
        """Give a link, good or not; `None` where there is none."""

        async def read() -> ShareLink | None:
            async with self._database.transaction() as connection:
                row = (await connection.execute(_all().where(SHARE_LINKS.c.share_id == share_id))).one_or_none()
            return None if row is None else _link(row)

        return await self._cache.get(ACCESS, ("share", share_id), read)

    async def of_run(self, run_id: str) -> tuple[ShareLink, ...]:
        """Give a run's links that were not taken back, newest first; those that are too old among them."""

        async def read() -> tuple[ShareLink, ...]:
            query = _all().where(SHARE_LINKS.c.run_id == run_id, SHARE_LINKS.c.revoked_at.is_(None))
            async with self._database.transaction() as connection:
                rows = await connection.execute(query.order_by(SHARE_LINKS.c.created_at.desc(), SHARE_LINKS.c.share_id))
                return tuple(map(_link, rows))

        return await self._cache.get(run_id, "shares", read)

    async def create(self, run_id: str, *, by: str, days: int, label: str, act: Act) -> ShareLink:
        """Make a link that is good for some days.

        Args:
            run_id: which run it opens.
            by: whose word it is.
            days: 1 to `MAX_DAYS`.
            label: what its maker calls it.
            act: of the audit log; its target and details are filled in.

        Raises:
            NotFound: there is no such run.
            LimitExceeded: it has as many links as one run may have.
        """
        share_id = secrets.token_urlsafe(_ID_BYTES)
        async with self._database.transaction() as connection:
            # The run's row is the lock under which its links are counted.
            await touch(connection, run_id)
            await read_head(connection, run_id)
            at = await now(connection)
            alive = (SHARE_LINKS.c.revoked_at.is_(None), SHARE_LINKS.c.expires_at > at)
            count = select(func.count()).where(SHARE_LINKS.c.run_id == run_id, *alive)
            if (await connection.scalar(count) or 0) >= MAX_OF_A_RUN:
                raise LimitExceeded(f"a run has at most {MAX_OF_A_RUN} share links: take one back first")
            link = {"share_id": share_id, "run_id": run_id, "label": label, "created_by": by, "created_at": at}
            expires_at = at + timedelta(days=days)
            await connection.execute(insert(SHARE_LINKS).values({**link, "expires_at": expires_at}))
            details = {"expires_at": expires_at.isoformat()}
            await auditing.write(connection, msgspec.structs.replace(act, target=share_id, details=details))
            row = (await connection.execute(_all().where(SHARE_LINKS.c.share_id == share_id))).one()
        self._cache.drop(run_id)
        return _link(row)

    async def revoke(self, run_id: str, share_id: str, *, act: Act) -> None:
        """Take a link back: nothing more is given to whoever has it, at once; one that was taken back stays so.

        Raises:
            NotFound: the run has no such link.
        """
        of_link = (SHARE_LINKS.c.run_id == run_id, SHARE_LINKS.c.share_id == share_id)
        async with self._database.transaction() as connection:
            if (await connection.execute(select(SHARE_LINKS.c.share_id).where(*of_link))).one_or_none() is None:
                raise NotFound("there is no such share link")
            revoke = update(SHARE_LINKS).where(*of_link, SHARE_LINKS.c.revoked_at.is_(None))
            if (await connection.execute(revoke.values(revoked_at=func.now()))).rowcount:
                await auditing.write(connection, msgspec.structs.replace(act, target=share_id))
                await touch(connection, run_id)
                await touch_access(connection)
        self._cache.drop(run_id)
        self._cache.drop(ACCESS)


def _all() -> Select[*tuple[Any, ...]]:
    return select(*_COLUMNS).join(RUNS, RUNS.c.run_id == SHARE_LINKS.c.run_id)


def _link(row: Row[*tuple[Any, ...]]) -> ShareLink:
    return ShareLink(**row._mapping)  # noqa: SLF001  SQLAlchemy's public name for it
