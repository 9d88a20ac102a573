"""The bus on RabbitMQ: confirmed publishing on one connection, one more connection for every consumer."""

import asyncio
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.connection import make_url
from aio_pika.exceptions import ChannelClosed, PublishError

from scripthut_common.errors import BadMessage, BusUnavailable, Error, SettingsError, Unroutable

from . import QUEUES, DeadLetter, Disposal, Dispose, Message, Queue, Take, check_size
from .taking import Fate, Rules, Taker
from .topology import DEAD, DEAD_QUEUE_ARGUMENTS, TOPICS, dead_name, queue_arguments

_ADDRESS_RULE = "the address of RabbitMQ must be as amqp://user:password@host:5672/vhost"
_CONNECT_TIMEOUT_S = 20.0
_CLOSE_TIMEOUT_S = 5.0
_HEARTBEAT_S = 20
# RabbitMQ 3.10 makes a dead queue of one that is declared again while it is being deleted.
_DELETING_S = 1.0
_PUBLISHING = "publishing"
_EXCHANGE_HEADER = "x-scripthut-exchange"
_KEY_HEADER = "x-scripthut-routing-key"
_REASON_HEADER = "x-scripthut-reason"
_MAX_REASON_CHARACTERS = 2000
# RabbitMQ 4 drops from a quorum queue what was given back 20 times.
_GIVEN_BACK_AT_MOST = 10

log = structlog.get_logger()


class AmqpBus:
    """Carries messages through RabbitMQ.

    Args:
        url: `amqp://user:password@host:port/vhost` or `amqps://…`.
        queues: declared, each with its dead-letter queue, on every new connection.
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
        self._publisher: _Link | None = None
        self._opening = asyncio.Lock()
        self._refused_at = 0.0

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
                with _fence():
                    await raw.ack()
            for raw in kept:
                await self._give_back(raw, queue)
        finally:
            await link.close()

    async def _give_back(self, raw: AbstractIncomingMessage, queue: Queue) -> None:
        if _delivery(raw) > _GIVEN_BACK_AT_MOST:
            letter = _letter(raw, queue)
            await self._bury(queue, letter.message, letter.reason)
        with _fence():
            if _delivery(raw) > _GIVEN_BACK_AT_MOST:
                await raw.ack()
            else:
                await raw.reject(requeue=True)

    async def count_dead(self, queues: Iterable[Queue]) -> dict[str, int]:
        """Count the dead letters of those queues that are there and may be looked at; raises `BusUnavailable`."""
        link = await self._publishing_link()
        counts = {queue.name: await link.count(dead_name(queue)) for queue in queues}
        return {name: count for name, count in counts.items() if count is not None}

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

    async def _connect(self, purpose: str) -> "_Link":
        with self._noting_outage(purpose):
            return await _Link.open(self._url, self._queues.values())

    async def _publishing_link(self) -> "_Link":
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

    async def _serve(self, arriving: "_Arriving", queue: Queue, taker: Taker) -> None:
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
        with suppress(BusUnavailable), _fence():
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


_Arriving = asyncio.Queue[AbstractIncomingMessage | None]


class _Link:
    """One connection with one channel, on which the topology stands; the fence against aio-pika's errors."""

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        self._connection = connection
        self._channel = channel
        self._declared_at = 0.0
        self._declaring = asyncio.Lock()

    @classmethod
    async def open(cls, url: str, queues: Iterable[Queue]) -> "_Link":
        """Connect and declare.

        Raises:
            BusUnavailable: with the broker's words.
        """
        with _fence():
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                connection = await aio_pika.connect(url, heartbeat=_HEARTBEAT_S)
                try:
                    link = cls(connection, await connection.channel(publisher_confirms=True, on_return_raises=True))
                    await link.declare(queues)
                except BaseException:
                    await connection.close()
                    raise
        return link

    @property
    def is_open(self) -> bool:
        return not self._channel.is_closed

    async def declare(self, queues: Iterable[Queue], *, unless_since: float = 0.0) -> None:
        """Declare the topology, unless that was done after `unless_since` (monotonic seconds)."""
        async with self._declaring:
            if self._declared_at and self._declared_at > unless_since:
                return
            with _fence():
                for name, arguments in TOPICS.items():
                    await self._channel.declare_exchange(name, "topic", durable=True, arguments={**arguments})
                await self._channel.declare_exchange(DEAD, "direct", durable=True)
                for queue in queues:
                    await self._declare_queue(queue)
            self._declared_at = time.monotonic()

    async def _declare_queue(self, queue: Queue) -> None:
        dead = await self._channel.declare_queue(dead_name(queue), durable=True, arguments={**DEAD_QUEUE_ARGUMENTS})
        await dead.bind(DEAD, queue.name)
        declared = await self._channel.declare_queue(queue.name, durable=True, arguments={**queue_arguments(queue)})
        for binding in queue.bindings:
            await declared.bind(queue.exchange, binding)

    async def publish(
        self, exchange: str, key: str, envelope: aio_pika.Message, timeout_s: float, *, is_mandatory: bool
    ) -> None:
        """Return when the broker has confirmed.

        Raises:
            Unroutable: it is mandatory and no queue took it.
            BadMessage: AMQP cannot carry it, as a routing key of more than 255 bytes.
            BusUnavailable: not confirmed.
        """
        with _fence():
            target = await self._channel.get_exchange(exchange, ensure=False)
            try:
                await target.publish(envelope, key, mandatory=is_mandatory, timeout=timeout_s)
            except PublishError as error:
                raise Unroutable(f"no queue is bound to {key} on {exchange}") from error
            except (ValueError, TypeError) as error:
                raise BadMessage(f"RabbitMQ cannot carry {envelope.message_id}: {error}") from error

    async def queue(self, name: str) -> AbstractQueue:
        """Name a queue that was declared."""
        with _fence():
            return await self._channel.get_queue(name, ensure=False)

    async def count(self, name: str) -> int | None:
        """Count the messages that wait in a queue; `None` when it is not there, or not ours to look at."""
        with _fence():
            async with asyncio.timeout(_CONNECT_TIMEOUT_S), self._connection.channel() as channel:
                with suppress(ChannelClosed):
                    return (await channel.declare_queue(name, passive=True)).declaration_result.message_count
                return None

    async def consume(self, queue: Queue) -> _Arriving:
        """Let messages arrive; `None` follows the last one, when the channel or the queue is gone."""
        arriving: _Arriving = asyncio.Queue()
        with _fence():
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await self._start(queue, arriving)
        return arriving

    async def _start(self, queue: Queue, arriving: "_Arriving") -> None:
        bare = await self._channel.get_underlay_channel()
        bare.on_consumer_cancel_callbacks.add(lambda _: arriving.put_nowait(None))
        self._channel.close_callbacks.add(lambda *_: arriving.put_nowait(None))
        await self._channel.set_qos(prefetch_count=queue.prefetch)
        await (await self._channel.get_queue(queue.name, ensure=False)).consume(arriving.put)

    async def close(self) -> None:
        with suppress(BusUnavailable), _fence():
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._connection.close()


@contextmanager
def _fence() -> Iterator[None]:
    """Translate everything that aio-pika raises."""
    try:
        yield
    except Error:
        raise
    except TimeoutError as error:
        raise BusUnavailable("RabbitMQ did not answer in time") from error
    except Exception as error:
        words = " ".join(str(word) for word in error.args) or type(error).__name__
        raise BusUnavailable(f"RabbitMQ: {words}") from error


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
    with _fence():
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            return await queue.get(fail=False)


def _letter(raw: AbstractIncomingMessage, queue: Queue) -> DeadLetter:
    reason = raw.headers.get(_REASON_HEADER) or "it was delivered too often: whoever took it died each time"
    return DeadLetter(queue=queue.name, message=_message(raw), reason=str(reason), buried_at=raw.timestamp)


def _delivery(raw: AbstractIncomingMessage) -> int:
    """How often the message was delivered, this time included; quorum queues count failures in a header."""
    failures = raw.headers.get("x-delivery-count", 0)
    return 1 + (failures if isinstance(failures, int) else 0)
