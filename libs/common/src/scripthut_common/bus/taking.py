"""What becomes of a message: the one place where a consumer's errors turn into a fate, for every bus."""

import asyncio
import time
from enum import Enum, auto

import msgspec
import structlog

from scripthut_common.errors import PermanentError, TimedOut, TransientError
from scripthut_common.retrying import RECONNECTING, Backoff

from . import Bury, Message, Queue, Take

log = structlog.get_logger()


class Fate(Enum):
    """What the bus shall do with a message that was delivered."""

    DONE = auto()
    """Taken or buried: acknowledge it."""
    AGAIN = auto()
    """The consumer has a bug: deliver it again and count."""
    LET_GO = auto()
    """It was held so long that the broker would end the channel: give everything back, count nothing."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a consumer is. RabbitMQ's own patience ends after 30 minutes."""

    delivery_limit: int = 20
    reconnecting: Backoff = RECONNECTING
    retrying: Backoff = RECONNECTING
    redelivering: Backoff = Backoff(first_s=0.05, longest_s=10.0)
    attempt_timeout_s: float = 60.0
    let_go_after_s: float = 20 * 60.0


class Taker:
    """Offers the messages of one queue to its consumer until the fate of each is decided.

    While `take` fails for transient reasons one message alone is tried again, with backoff; the others wait for it.
    """

    def __init__(self, queue: Queue, take: Take, bury: Bury, rules: Rules) -> None:
        self._queue = queue
        self._take = take
        self._bury = bury
        self._rules = rules
        self._failures = 0
        self._probing = asyncio.Lock()
        self.fault: str | None = None

    async def settle(self, message: Message, delivery: int) -> Fate:
        """Decide about one message; `delivery` counts how often it was handed out, this time included."""
        give_up_at = time.monotonic() + self._rules.let_go_after_s
        reason: str | None = None
        while time.monotonic() < give_up_at:
            try:
                await self._attempt(message, reason)
            except TransientError as error:
                self._note_failure(error)
            except Exception as error:
                if isinstance(error, PermanentError) and reason is None:
                    reason = str(error)
                    continue
                log.exception("message_not_taken", queue=self._queue.name, message_id=message.id, delivery=delivery)
                if delivery < self._rules.delivery_limit or reason is not None:
                    await asyncio.sleep(self._rules.redelivering.delay_s(delivery))
                    return Fate.AGAIN
                reason = f"delivered {delivery} times, always: {error!r}"
            else:
                return Fate.DONE
        return Fate.LET_GO

    async def _attempt(self, message: Message, reason: str | None) -> None:
        async with self._probing:
            if self._failures:
                await asyncio.sleep(self._rules.retrying.delay_s(self._failures))
                await self._try_once(message, reason)
                return
        await self._try_once(message, reason)

    async def _try_once(self, message: Message, reason: str | None) -> None:
        try:
            async with asyncio.timeout(self._rules.attempt_timeout_s):
                if reason is None:
                    await self._take(message)
                else:
                    await self._bury(self._queue, message, reason)
        except TimeoutError as error:
            limit_s = self._rules.attempt_timeout_s
            raise TimedOut(f"{self._queue.name} did not take a message within {limit_s:g} s") from error
        if reason is not None:
            log.warning("message_buried", queue=self._queue.name, message_id=message.id, reason=reason)
        self._failures, self.fault = 0, None

    def _note_failure(self, error: TransientError) -> None:
        self._failures += 1
        fault = f"{self._queue.name} waits: {error}"
        if fault != self.fault:
            log.warning("queue_waits", queue=self._queue.name, fault=str(error))
        self.fault = fault
