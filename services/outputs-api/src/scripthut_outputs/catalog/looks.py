"""Who looked at what: noted in memory once in ten minutes for each reader, run, kind and address, written every second.

Nobody who reads waits for this, and nobody is refused because of it: while the database is away, what was noted waits,
so much of it; what finds no room is counted and said.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from scripthut_common.database import Database
from scripthut_common.errors import TransientError
from scripthut_common.supervision import Loop

from .auditing import Act, write_at

log = structlog.get_logger()
Look = tuple[str, str, str | None, str, str]
"""Who, by which credential, which run, what of it, from where."""

_EVERY_S = 600.0
_MAX_REMEMBERED = 100_000
_MAX_WAITING = 10_000
_PORTION = 1000
_FLUSH_S = 1.0


def _now() -> datetime:
    return datetime.now(UTC)


class Looks:
    """What was looked at, until it is written.

    Args:
        database: the catalog.
        max_waiting: so many looks wait for the database.
        max_remembered: so many are known not to be noted again; a forgotten one is noted twice.
        clock: monotonic seconds.
        now: the time that is written.
    """

    def __init__(
        self,
        database: Database,
        *,
        max_waiting: int = _MAX_WAITING,
        max_remembered: int = _MAX_REMEMBERED,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._database = database
        self._max_waiting = max_waiting
        self._max_remembered = max_remembered
        self._clock = clock
        self._now = now
        self._noted: OrderedDict[Look, float] = OrderedDict()
        self._waiting: deque[tuple[datetime, Act]] = deque()
        self._untold = 0
        self.written = 0
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many are not written yet."""
        return len(self._waiting)

    @property
    def loop(self) -> Loop:
        """Writes what waits."""
        return Loop(name="outputs.audit", step=self.flush, interval_s=_FLUSH_S)

    def note(self, look: Look) -> None:
        """Note a look, unless the same was noted a short while ago."""
        now = self._clock()
        noted_at = self._noted.get(look)
        if noted_at is not None and now - noted_at < _EVERY_S:
            return
        if len(self._waiting) >= self._max_waiting:
            # Not remembered: the next look at the same is noted, once there is room.
            self.dropped += 1
            self._untold += 1
            return
        self._noted[look] = now
        self._noted.move_to_end(look)
        self._forget(now)
        actor, credential, run_id, kind, address = look
        act = Act(act=kind, actor=actor, credential=credential, address=address or None, run_id=run_id)
        self._waiting.append((self._now(), act))

    async def flush(self) -> bool:
        """Write a portion of what waits; `True` when there is more.

        Raises:
            DatabaseUnavailable: it waits on.
        """
        if self._untold:
            log.warning("audit_looks_dropped", dropped=self._untold, waiting=len(self._waiting))
            self._untold = 0
        portion = [self._waiting.popleft() for _ in range(min(_PORTION, len(self._waiting)))]
        if not portion:
            return False
        try:
            async with self._database.transaction() as connection:
                await write_at(connection, portion)
        except BaseException:
            self._waiting.extendleft(reversed(portion))
            raise
        self.written += len(portion)
        return bool(self._waiting)

    async def close(self) -> None:
        """Write what waits, if the database takes it; say what is lost if not."""
        try:
            while await self.flush():
                pass
        except TransientError as error:
            log.warning("audit_looks_lost", lost=len(self._waiting), fault=str(error))

    def _forget(self, now: float) -> None:
        """Forget looks that may be noted again, and the oldest where there are too many."""
        while self._noted:
            oldest, noted_at = next(iter(self._noted.items()))
            if now - noted_at < _EVERY_S and len(self._noted) <= self._max_remembered:
                return
            del self._noted[oldest]
