"""The bus on RabbitMQ: confirmed publishing on one connection, one more connection for every consumer."""

import asyncio
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import aio_pika
import structlog
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from aio_pika.connection import make_url

from scripthut_common.errors import BusUnavailable, SettingsError, Unroutable

from . import QUEUES, DeadLetter, Disposal, Dispose, Message, Queue, Take, check_size
from .link import CONNECT_TIMEOUT_S, Arriving, Link, fence
from .taking import Fate, Rules, Taker
from .topology import DEAD, dead_name

_ADDRESS_RULE = "the address of RabbitMQ must be as amqp://user:password@host:5672/vhost"
# RabbitMQ 3.10 makes a dead queue of one that is declared again while it is being deleted.
_DELETING_S = 1.0
_PUBLISHING = "publishing"
_EXCHANGE_HEADER = "x-scripthut-exchange"
_KEY_HEADER = "x-scripthut-routing-key"
_REASON_HEADER = "x-scripthut-reason"
_REPLAYED_HEADER = "x-scripthut-replayed"
_MAX_REASON_CHARACTERS = 2000
# RabbitMQ 4 drops from a quorum queue what was given back 20 times.
_GIVEN_BACK_AT_MOST = 10

log = structlog.get_logger()


class AmqpBus:
    """Carries messages through RabbitMQ.

    Args:
        url: `amqp://user:password@host:port/vhost` or `amqps://…`.
        queues: declared, each with its dead-letter queue, on every new connection, as far as the account may.
        rules: how patient consumers are.
        publish_timeout_s: how long `publish` waits for the broker's confirmation.

    Raises:
        SettingsError: `url` is no such URL.
    """

    def __init__(
        self,
        url: str,
        *,
        queues: Iterable[Queue] = QUEUES,
        rules: Rules = Rules(),  # noqa: B008  frozen
        publish_timeout_s: float = 30.0,
    ) -> None:
        try:
            parsed = make_url(url)
        except ValueError as error:
            raise SettingsError(_ADDRESS_RULE) from error
        if parsed.scheme not in {"amqp", "amqps"} or not parsed.host:
            raise SettingsError(_ADDRESS_RULE)
        self._url = url
        self._queues = {queue.name: queue for queue in queues}
        self._rules = rules
        self._publish_timeout_s = publish_timeout_s
        self._takers: dict[str, Taker] = {}
        self._outages: dict[str, str] = {}
        self._publisher: Link | None = None
        self._opening = asyncio.Lock()
        self._refused_at = 0.0
        self._refused: set[str] = set()

    async def publish(self, message: Message) -> None:
        """See `Bus.publish`."""
        check_size(message)
        await self._send(message.exchange, message.routing_key, _envelope(message), is_mandatory=message.mandatory)

    async def consume(self, queue: Queue, take: Take) -> None:
        """See `Bus.consume`."""
        self._queues[queue.name] = queue
        taker = self._takers[queue.name] = Taker(queue, take, self._bury, self._rules)
        failures = 0
        try:
            while True:
                with suppress(BusUnavailable):
                    link = await self._connect(queue.name)
                    try:
                        arriving = await link.consume(queue)
                        failures = 0
                        await self._serve(arriving, queue, taker)
                    finally:
                        await link.close()
                failures += 1
                delay_s = self._rules.reconnecting.delay_s(failures, random.random())  # noqa: S311  jitter
                await asyncio.sleep(delay_s)
        finally:
            self._takers.pop(queue.name, None)
            self._outages.pop(queue.name, None)

    async def go_through(self, queue: Queue, dispose: Dispose) -> None:
        """See `Burials.go_through`."""
        self._queues[queue.name] = queue
        link = await self._connect("dead letters")
        kept: list[AbstractIncomingMessage] = []
        replayed: set[str] = set()
        try:
            dead = await link.queue(dead_name(queue))
            # What is kept is held until the end: given back at once, it would be the next to come.
            while (raw := await _got(dead)) is not None:
                letter = _letter(raw, queue)
                # One that comes back at once would be replayed for ever.
                disposal = Disposal.KEEP if letter.message.id in replayed else dispose(letter)
                if disposal is Disposal.KEEP:
                    kept.append(raw)
                    continue
                if disposal is Disposal.REPLAY:
                    message = letter.message
                    await self._send("", queue.name, _envelope(message, **_origin(message)), is_mandatory=True)
                    replayed.add(message.id)
                with fence():
                    await raw.ack()
            for raw in kept:
                await self._give_back(raw, queue)
        finally:
            await link.close()

    async def _give_back(self, raw: AbstractIncomingMessage, queue: Queue) -> None:
        if _delivery(raw) > _GIVEN_BACK_AT_MOST:
            letter = _letter(raw, queue)
            await self._bury(queue, letter.message, letter.reason)
        with fence():
            if _delivery(raw) > _GIVEN_BACK_AT_MOST:
                await raw.ack()
            else:
                await raw.reject(requeue=True)

    async def count_dead(self, queues: Iterable[Queue]) -> dict[str, int]:
        """Count the dead letters of those queues that are there and may be looked at; raises `BusUnavailable`."""
        link = await self._publishing_link()
        counts = {queue.name: await link.count(dead_name(queue)) for queue in queues}
        return {name: count for name, count in counts.items() if count is not None}

    async def replay(self, queue: str, batches: AsyncIterable[Sequence[Message]]) -> AsyncIterator[int]:
        """Give messages to one queue alone, in order, marked as said again; yield how many have arrived so far.

        Raises:
            NotFound: there is no such queue; nothing was sent.
            Unroutable: it has been deleted meanwhile.
            BusUnavailable: the rest was not sent.
        """
        link = await self._connect("replaying")
        try:
            await link.require_queue(queue)
            arrived = 0
            async for batch in batches:
                await self._replay(link, queue, batch)
                arrived += len(batch)
                yield arrived
        finally:
            await link.close()

    async def _replay(self, link: Link, queue: str, batch: Sequence[Message]) -> None:
        """Messages on one channel arrive in the order in which they were sent; confirmations are awaited together."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        envelopes = [_envelope(one, **_origin(one), **{_REPLAYED_HEADER: at}) for one in batch]
        try:
            async with asyncio.TaskGroup() as group:
                for one in envelopes:
                    group.create_task(link.publish("", queue, one, self._publish_timeout_s, is_mandatory=True))
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None

    async def check(self) -> str | None:
        """See `Bus.check`."""
        with suppress(BusUnavailable):
            await self._publishing_link()
        return self.fault

    async def close(self) -> None:
        """See `Bus.close`."""
        link, self._publisher = self._publisher, None
        if link is not None:
            await link.close()

    @property
    def fault(self) -> str | None:
        """See `Bus.fault`."""
        faults = [*self._outages.values(), *(taker.fault for taker in self._takers.values() if taker.fault)]
        return "; ".join(dict.fromkeys(faults)) or None

    async def _connect(self, purpose: str) -> Link:
        with self._noting_outage(purpose):
            return await Link.open(self._url, self._queues.values(), self._refused)

    async def _publishing_link(self) -> Link:
        began_at = time.monotonic()
        async with self._opening:
            if self._publisher is not None and self._publisher.is_open:
                return self._publisher
            if self._refused_at > began_at:
                raise BusUnavailable(self._outages.get(_PUBLISHING, "RabbitMQ is away"))
            try:
                self._publisher = await self._connect(_PUBLISHING)
            finally:
                # Those who waited for this attempt share its failure.
                self._refused_at = time.monotonic()
            return self._publisher

    async def _send(self, exchange: str, key: str, envelope: aio_pika.Message, *, is_mandatory: bool) -> None:
        began_at = time.monotonic()
        with self._noting_outage(_PUBLISHING):
            link = await self._publishing_link()
            try:
                await link.publish(exchange, key, envelope, self._publish_timeout_s, is_mandatory=is_mandatory)
            except Unroutable:
                await asyncio.sleep(_DELETING_S)
                await link.declare(self._queues.values(), unless_since=began_at)
                await link.publish(exchange, key, envelope, self._publish_timeout_s, is_mandatory=is_mandatory)

    async def _serve(self, arriving: Arriving, queue: Queue, taker: Taker) -> None:
        """Settle what arrives, until nothing can any more."""
        async with asyncio.TaskGroup() as group:
            serving: set[asyncio.Task[None]] = set()
            while (raw := await arriving.get()) is not None:
                task = group.create_task(self._settle(raw, queue, taker))
                serving.add(task)
                task.add_done_callback(serving.discard)
            for task in serving:
                task.cancel()

    async def _settle(self, raw: AbstractIncomingMessage, queue: Queue, taker: Taker) -> None:
        message = _message(raw)
        fate = await taker.settle(message, _delivery(raw))
        while fate is Fate.LET_GO:
            # Closing the channel would count as a delivery, and so would giving it back; a fresh copy has none.
            with suppress(BusUnavailable):
                await self._send("", queue.name, _envelope(message, **_origin(message)), is_mandatory=True)
                break
            fate = await taker.settle(message, _delivery(raw))
        # Where the acknowledgement is lost with its channel, the broker delivers the message again.
        with suppress(BusUnavailable), fence():
            if fate is Fate.AGAIN:
                await raw.reject(requeue=True)
            else:
                await raw.ack()

    async def _bury(self, queue: Queue, message: Message, reason: str) -> None:
        headers = {**_origin(message), _REASON_HEADER: reason[:_MAX_REASON_CHARACTERS]}
        await self._send(DEAD, queue.name, _envelope(message, **headers), is_mandatory=True)

    @contextmanager
    def _noting_outage(self, purpose: str) -> Iterator[None]:
        try:
            yield
        except BusUnavailable as error:
            if purpose not in self._outages:
                log.warning("bus_away", purpose=purpose, fault=str(error))
            self._outages[purpose] = str(error)
            raise
        if self._outages.pop(purpose, None):
            log.info("bus_back", purpose=purpose)


def _envelope(message: Message, **headers: str) -> aio_pika.Message:
    return aio_pika.Message(
        message.body,
        message_id=message.id,
        content_type="application/cloudevents+json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        timestamp=datetime.now(UTC),
        headers={**headers},
    )


def _origin(message: Message) -> dict[str, str]:
    """Headers that keep where a message came from, on its way through another exchange."""
    return {_EXCHANGE_HEADER: message.exchange, _KEY_HEADER: message.routing_key}


def _message(raw: AbstractIncomingMessage) -> Message:
    return Message(
        id=raw.message_id or "",
        exchange=str(raw.headers.get(_EXCHANGE_HEADER, raw.exchange or "")),
        routing_key=str(raw.headers.get(_KEY_HEADER, raw.routing_key or "")),
        body=raw.body,
        mandatory=False,
    )


async def _got(queue: AbstractQueue) -> AbstractIncomingMessage | None:
    """Take the next message of a queue; `None` when there is none."""
    with fence():
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await queue.get(fail=False)


def _letter(raw: AbstractIncomingMessage, queue: Queue) -> DeadLetter:
    reason = raw.headers.get(_REASON_HEADER) or "it was delivered too often: whoever took it died each time"
    return DeadLetter(queue=queue.name, message=_message(raw), reason=str(reason), buried_at=raw.timestamp)


def _delivery(raw: AbstractIncomingMessage) -> int:
    """How often the message was delivered, this time included; quorum queues count failures in a header."""
    failures = raw.headers.get("x-delivery-count", 0)
    return 1 + (failures if isinstance(failures, int) else 0)
