"""From the outbox to the bus: oldest first, many in flight, no transaction held while publishing."""

import asyncio
from contextlib import suppress

import structlog

from .bus import Bus
from .database import Database
from .errors import BusUnavailable, PermanentError, TransientError
from .outbox import Aside, Leaving, Outbox
from .retrying import RELAYING
from .supervision import Loop

_BATCH = 500
# So long events wait for another process when this one is killed while it publishes them.
_LEASE_S = 15.0
_POLL_S = 5.0
_PRUNE_S = 3600.0

log = structlog.get_logger()


class Relay:
    """Moves what the outbox holds. Publishing twice is harmless, losing is impossible."""

    def __init__(self, database: Database, outbox: Outbox, bus: Bus) -> None:
        self._database = database
        self._outbox = outbox
        self._bus = bus
        self._wake = asyncio.Event()

    def loops(self) -> list[Loop]:
        """The loops that a service with an outbox runs: publish, hear of new events, drop old rows."""
        owner = self._outbox.owner
        return [
            Loop(name=f"{owner}.relay", step=self.step, interval_s=_POLL_S, wake=self._wake),
            Loop(name=f"{owner}.relay-wake-up", step=self._hear, interval_s=_POLL_S, is_server=True),
            Loop(name=f"{owner}.outbox-pruning", step=self._prune, interval_s=_PRUNE_S),
        ]

    async def step(self) -> bool:
        """Publish one batch; `True` when there may be more.

        Raises:
            TransientError: the broker or the database is away; the claimed rows are given back or their
                lease runs out.
        """
        claimed = await self._outbox.claim(self._database, limit=_BATCH, lease_s=_LEASE_S)
        if not claimed:
            return False
        batch = _Batch(claimed)
        try:
            async with asyncio.TaskGroup() as group:
                for leaving in claimed:
                    group.create_task(batch.publish(leaving, self._bus))
        except asyncio.CancelledError:
            with suppress(TransientError):
                await self._settle(batch)
            raise
        await self._settle(batch)
        if batch.waiting:
            raise BusUnavailable(f"{len(batch.waiting)} events wait: {batch.outage or 'not confirmed'}")
        return len(claimed) == _BATCH

    async def check(self) -> str | None:
        """Say which events cannot be published for their own sake."""
        return await self._outbox.stuck(self._database)

    async def _settle(self, batch: "_Batch") -> None:
        await self._outbox.settle(
            self._database, published=batch.published, waiting=sorted(batch.waiting), aside=batch.aside
        )

    async def _hear(self) -> None:
        async def rouse(_: str = "") -> None:
            self._wake.set()

        await self._database.listen(self._outbox.channel, on_connect=rouse, on_notify=rouse)

    async def _prune(self) -> bool:
        return await self._outbox.prune(self._database)


class _Batch:
    """What became of the rows that were claimed together; those not yet published wait."""

    def __init__(self, claimed: list[Leaving]) -> None:
        self.waiting = {leaving.number for leaving in claimed}
        self.published: list[int] = []
        self.aside: list[Aside] = []
        self.outage: str | None = None

    async def publish(self, leaving: Leaving, bus: Bus) -> None:
        try:
            await bus.publish(leaving.message)
        except TransientError as error:
            self.outage = str(error)
            return
        except PermanentError as error:
            self._step_aside(leaving, error)
        else:
            self.published.append(leaving.number)
        self.waiting.discard(leaving.number)

    def _step_aside(self, leaving: Leaving, error: PermanentError) -> None:
        delay_s = RELAYING.delay_s(leaving.failures + 1)
        log.warning("event_not_published", message_id=leaving.message.id, error=str(error), again_in_s=delay_s)
        self.aside.append(Aside(number=leaving.number, error=str(error), delay_s=delay_s))
