"""From the outbox to the bus: oldest first, many in flight, no transaction held while publishing."""

import asyncio

import structlog

from .bus import Bus
from .database import Database
from .errors import BusUnavailable, PermanentError, TransientError
from .outbox import Leaving, Outbox
from .retrying import RELAYING

_BATCH = 200
_LEASE_S = 60.0

log = structlog.get_logger()


class Relay:
    """Moves what the outbox holds. Publishing twice is harmless, losing is impossible."""

    def __init__(self, database: Database, outbox: Outbox, bus: Bus) -> None:
        self._database = database
        self._outbox = outbox
        self._bus = bus

    async def step(self) -> bool:
        """Publish one batch; `True` when there may be more.

        Raises:
            TransientError: the broker or the database is away; the claimed rows are given back or their
                lease runs out.
        """
        claimed = await self._outbox.claim(self._database, limit=_BATCH, lease_s=_LEASE_S)
        results = await asyncio.gather(*(self._publish(leaving) for leaving in claimed))
        published = [leaving.number for leaving, fault in zip(claimed, results, strict=True) if fault is None]
        waiting = [
            leaving.number for leaving, fault in zip(claimed, results, strict=True) if isinstance(fault, TransientError)
        ]
        await self._outbox.mark_published(self._database, published)
        await self._outbox.release(self._database, waiting)
        for leaving, fault in zip(claimed, results, strict=True):
            if isinstance(fault, PermanentError):
                await self._step_aside(leaving, fault)
        if waiting:
            raise BusUnavailable(f"{len(waiting)} events wait for the broker: {self._bus.fault or 'not confirmed'}")
        return len(claimed) == _BATCH

    async def _publish(self, leaving: Leaving) -> TransientError | PermanentError | None:
        try:
            await self._bus.publish(leaving.message)
        except (TransientError, PermanentError) as error:
            return error
        return None

    async def _step_aside(self, leaving: Leaving, fault: PermanentError) -> None:
        delay_s = RELAYING.delay_s(leaving.failures + 1)
        log.warning("event_not_published", message_id=leaving.message.id, error=str(fault), again_in_s=delay_s)
        await self._outbox.step_aside(self._database, leaving.number, error=str(fault), delay_s=delay_s)
