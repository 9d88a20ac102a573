"""How much is stored of each person, and how much more may be: asked before a batch is fetched, seldom counted.

What somebody holds is measured once a minute while something of theirs is collected, by whichever process comes first,
and kept in `holdings` for all; in between a process adds what it stored itself. What is said is up to a minute old
where several collect at once, and never so where it would leave something out: then it is measured anew.
"""

import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common import text
from scripthut_common.database import Database
from scripthut_common.supervision import Loop
from scripthut_outputs.choosing import Choice, Room
from scripthut_outputs.ledger import FileState, HeldFiles
from scripthut_outputs.tables import FILES, HOLDINGS, RUNS

_FRESH_S = 60.0
# Where it decides, what is known may be so old at most; measuring what has not changed takes a small part of the time.
_SURE_S = 2.0
_REST = 20.0
_SCAN_S = 600.0
_STALE_S = 3600.0
_LOOK_S = 60.0
_LOOK_FOR_S = 10.0
_LOCK = "scripthut-outputs holdings "

LimitOf = Callable[[str], int | None]
"""How many bytes are kept of somebody; `None`: without end."""


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of one person, equal content counted once, as of a moment."""

    owner: str
    files: int
    stored_bytes: int
    measured_at: datetime


_HOLDING = tuple(HOLDINGS.c[name] for name in Holding.__struct_fields__)


class Holdings:
    """The `holdings` table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> list[Holding]:
        """Read what was measured of everybody, most first."""
        query = select(*_HOLDING).order_by(HOLDINGS.c.stored_bytes.desc(), HOLDINGS.c.owner)
        async with self._database.transaction() as connection:
            return [Holding(**row._mapping) for row in await connection.execute(query)]  # noqa: SLF001  its public name

    async def measure(self, owner: str, *, max_age_s: float = 0.0) -> tuple[int, bool]:
        """Tell how many bytes are stored of somebody, measured so long ago at most, unless another is measuring.

        Tells too whether this was measured just now.
        """
        async with self._database.transaction(timeout_s=_SCAN_S) as connection:
            known = await _known(connection, owner, max_age_s) if max_age_s else None
            if known is not None:
                return known, False
            lock = func.hashtextextended(literal(_LOCK + owner), 0)
            if not await connection.scalar(select(func.pg_try_advisory_xact_lock(lock))):
                known = await _known(connection, owner, None)
                if known is not None:
                    return known, False
            return int((await connection.execute(_measured(owner))).scalar_one()), True

    async def stale(self, *, limit: int) -> list[str]:
        """Name owners of runs of whom nothing was measured for an hour."""
        query = (
            select(RUNS.c.owner)
            .distinct()
            .outerjoin(HOLDINGS, HOLDINGS.c.owner == RUNS.c.owner)
            .where(or_(HOLDINGS.c.owner.is_(None), HOLDINGS.c.measured_at < func.now() - timedelta(seconds=_STALE_S)))
            .limit(limit)
        )
        async with self._database.transaction(timeout_s=_SCAN_S) as connection:
            return list(await connection.scalars(query))


async def _known(connection: AsyncConnection, owner: str, max_age_s: float | None) -> int | None:
    query = select(HOLDINGS.c.stored_bytes).where(HOLDINGS.c.owner == owner)
    if max_age_s is not None:
        query = query.where(HOLDINGS.c.measured_at > func.now() - timedelta(seconds=max_age_s))
    found: int | None = await connection.scalar(query)
    return found


def _measured(owner: str) -> Any:
    """Measure; what is shown of running tasks counts once it is collected, so that nothing counts twice then."""
    each = (
        select(func.count().label("files"), func.max(FILES.c.stored_bytes).label("size_bytes"))
        .join(RUNS, RUNS.c.run_id == FILES.c.run_id)
        .where(RUNS.c.owner == owner, FILES.c.state == FileState.STORED, FILES.c.followed_at.is_(None))
        .group_by(FILES.c.sha256)
        .subquery()
    )
    sums = select(
        literal(owner),
        func.coalesce(func.sum(each.c.files), 0).cast(BigInteger),
        func.coalesce(func.sum(each.c.size_bytes), 0).cast(BigInteger),
        func.now(),
    )
    names = list(Holding.__struct_fields__)
    added = insert(HOLDINGS).from_select(names, sums)
    renewed = {name: added.excluded[name] for name in names if name != "owner"}
    return added.on_conflict_do_update(index_elements=["owner"], set_=renewed).returning(HOLDINGS.c.stored_bytes)


class Allowance:
    """How much more may be stored of somebody in one batch; what is chosen takes from it.

    Args:
        owner: whose.
        limit_bytes: how much is kept of theirs; `None`: without end.
        used_bytes: how much is stored.
    """

    def __init__(self, owner: str, limit_bytes: int | None, used_bytes: int = 0) -> None:
        self._owner = owner
        self._limit_bytes = limit_bytes
        self._used_bytes = used_bytes

    def room(self, held: HeldFiles) -> Room | None:
        """Say what there is room for beside what is held of an item already; `None`: for everything."""
        if self._limit_bytes is None:
            return None
        whose, used, limit = text.line(self._owner)[:80], text.size(self._used_bytes), text.size(self._limit_bytes)
        reason = f"over quota: {whose} holds {used} of {limit}; once there is room, have it collected again"
        return Room(left_bytes=self._limit_bytes - self._used_bytes, reason=reason, held=held)

    def take(self, choice: Choice) -> None:
        """Take from it what was chosen for one item."""
        self._used_bytes += choice.added_bytes


def _without_end(_: str) -> None:
    return None


class Quotas:
    """How much more may be stored, for one process.

    Args:
        database: the catalog.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._holdings = Holdings(database)
        self._limit_of: LimitOf = _without_end
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._changed: set[str] = set()

    def limit(self, limit_of: LimitOf) -> None:
        """Keep no more of each person from now on than this says."""
        self._limit_of = limit_of

    async def allow(self, wanted: Mapping[str, int]) -> dict[str, Allowance]:
        """Tell how much more may be stored of these people, of whom about so many bytes are to be fetched.

        Raises:
            DatabaseUnavailable: nobody knows.
        """
        return {owner: await self._allow(owner, size_bytes) for owner, size_bytes in wanted.items()}

    async def exhausted(self, owners: Collection[str]) -> set[str]:
        """Name those of whom nothing more may be stored."""
        found = await self.allow(dict.fromkeys(set(owners), 0))
        return {owner for owner, allowed in found.items() if (room := allowed.room({})) and room.left_bytes <= 0}

    def note(self, owner: str, choice: Choice) -> None:
        """Note that what was chosen is stored."""
        self._changed.add(owner)
        if owner in self._known:
            self._known[owner].added_bytes += choice.added_bytes

    @property
    def loop(self) -> Loop:
        """Measures those of whom something was stored, and, an hour later at most, everybody else."""
        return Loop(name="outputs.holdings", step=self.look, interval_s=_LOOK_S)

    async def look(self) -> None:
        """Measure for a while those of whom what is known is old."""
        until = self._clock() + _LOOK_FOR_S
        changed, self._changed = self._changed, set()
        for owner in [*sorted(changed), *await self._holdings.stale(limit=1000)]:
            if self._clock() > until:
                self._changed |= changed & {owner}
                continue
            await self._holdings.measure(owner, max_age_s=_FRESH_S / 2)

    async def _allow(self, owner: str, wanted_bytes: int) -> Allowance:
        limit_bytes = self._limit_of(owner)
        if limit_bytes is None:
            return Allowance(owner, None)
        known = self._known.get(owner)
        if known is None or self._clock() - known.at > _FRESH_S:
            known = await self._measure(owner, _FRESH_S)
        is_near = known.used_bytes + wanted_bytes > limit_bytes
        if is_near and (known.added_bytes or self._clock() - known.at > known.rest_s):
            known = await self._measure(owner)
        return Allowance(owner, limit_bytes, known.used_bytes)

    async def _measure(self, owner: str, max_age_s: float = 0.0) -> "_Known":
        began = self._clock()
        before = self._known.get(owner)
        added_bytes = before.added_bytes if before else 0
        measured_bytes, is_new = await self._holdings.measure(owner, max_age_s=max_age_s)
        now = self._clock()
        known = _Known(measured_bytes, now, max(_SURE_S, _REST * (now - began)))
        if before is not None:
            # What was stored meanwhile, or after another process measured, may not be among it.
            known.added_bytes = before.added_bytes - (added_bytes if is_new else 0)
        self._known[owner] = known
        return known


class _Known:
    """What one process knows of somebody: measured when, and what it has stored since."""

    __slots__ = ("added_bytes", "at", "measured_bytes", "rest_s")

    def __init__(self, measured_bytes: int, at: float, rest_s: float) -> None:
        self.measured_bytes = measured_bytes
        self.at = at
        self.rest_s = rest_s
        self.added_bytes = 0

    @property
    def used_bytes(self) -> int:
        return self.measured_bytes + self.added_bytes
