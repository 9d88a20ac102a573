"""One connection to RabbitMQ: what stands on it is declared there, and aio-pika's errors end here."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import ChannelClosed, PublishError
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity

from scripthut_common import text
from scripthut_common.errors import BadMessage, BusUnavailable, Error, NotFound, Unroutable

from . import Queue
from .topology import DEAD, DEAD_QUEUE_ARGUMENTS, TOPICS, dead_name, queue_arguments

CONNECT_TIMEOUT_S = 20.0
_CLOSE_TIMEOUT_S = 5.0
_HEARTBEAT_S = 20
_EXCHANGES = "exchanges"

log = structlog.get_logger()

Arriving = asyncio.Queue[AbstractIncomingMessage | None]


class Link:
    """One connection with one channel, on which the topology stands; the fence against aio-pika's errors."""

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel, refused: set[str]) -> None:
        self._connection = connection
        self._channel = channel
        self._refused = refused
        self._declared_at = 0.0
        self._declaring = asyncio.Lock()

    @classmethod
    async def open(cls, url: str, queues: Iterable[Queue], refused: set[str]) -> "Link":
        """Connect and declare what this account may; what it may not is noted in `refused` and tried no more.

        Raises:
            BusUnavailable: with the broker's words.
        """
        with fence():
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connection = await aio_pika.connect(url, heartbeat=_HEARTBEAT_S)
                try:
                    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                    link = cls(connection, channel, refused)
                    await link.declare(queues)
                except BaseException:
                    # A broker that no longer answers does not say good-bye either.
                    with suppress(Exception):
                        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                            await connection.close()
                    raise
        _end_if_cancelled()
        return link

    @property
    def is_open(self) -> bool:
        """Whether the channel can be used."""
        return not self._channel.is_closed

    async def declare(self, queues: Iterable[Queue], *, unless_since: float = 0.0) -> None:
        """Declare the topology, unless that was done after `unless_since` (monotonic seconds)."""
        async with self._declaring:
            if self._declared_at and self._declared_at > unless_since:
                return
            with fence():
                await self._unless_refused(_EXCHANGES, _declare_exchanges)
                for queue in queues:
                    await self._unless_refused(queue.name, partial(_declare_queue, queue))
            self._declared_at = time.monotonic()

    async def _unless_refused(self, what: str, declare: Callable[[AbstractChannel], Awaitable[None]]) -> None:
        """Declare on a channel of its own, since a refusal closes it; an account of few rights uses what is there."""
        if what in self._refused:
            return
        channel = await self._connection.channel()
        try:
            await declare(channel)
        except ChannelAccessRefused as error:
            self._refused.add(what)
            log.info("left_to_others_to_declare", what=what, reason=str(error))
        else:
            await channel.close()

    async def publish(
        self, exchange: str, key: str, envelope: aio_pika.Message, timeout_s: float, *, is_mandatory: bool
    ) -> None:
        """Return when the broker has confirmed.

        Raises:
            Unroutable: it is mandatory and no queue took it.
            BadMessage: AMQP cannot carry it, as a routing key of more than 255 bytes.
            BusUnavailable: not confirmed.
        """
        with fence():
            target = await self._channel.get_exchange(exchange, ensure=False)
            try:
                await target.publish(envelope, key, mandatory=is_mandatory, timeout=timeout_s)
            except PublishError as error:
                raise Unroutable(f"no queue is bound to {key} on {exchange}") from error
            except (ValueError, TypeError) as error:
                raise BadMessage(f"RabbitMQ cannot carry {envelope.message_id}: {error}") from error

    async def require_queue(self, name: str) -> None:
        """See that a queue is there, without declaring it.

        Raises:
            NotFound: there is none of this name.
            BusUnavailable: the broker is away.
        """
        with fence():
            channel = await self._connection.channel()
            try:
                await channel.declare_queue(name, passive=True)
            except ChannelNotFoundEntity as error:
                raise NotFound(f"RabbitMQ has no queue {text.name(name)} here") from error
            await channel.close()

    async def count(self, name: str) -> int | None:
        """Count the messages that wait in a queue; `None` when it is not there, or not ours to look at."""
        with fence():
            async with asyncio.timeout(CONNECT_TIMEOUT_S), self._connection.channel() as channel:
                try:
                    found = await channel.declare_queue(name, passive=True)
                except ChannelClosed:
                    return None
                return found.declaration_result.message_count

    async def queue(self, name: str) -> AbstractQueue:
        """Name a queue that was declared."""
        with fence():
            return await self._channel.get_queue(name, ensure=False)

    async def consume(self, queue: Queue) -> Arriving:
        """Let messages arrive; `None` follows the last one, when the channel or the queue is gone."""
        arriving: Arriving = asyncio.Queue()
        with fence():
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._start(queue, arriving)
        _end_if_cancelled()
        return arriving

    async def _start(self, queue: Queue, arriving: "Arriving") -> None:
        bare = await self._channel.get_underlay_channel()
        bare.on_consumer_cancel_callbacks.add(lambda _: arriving.put_nowait(None))
        self._channel.close_callbacks.add(lambda *_: arriving.put_nowait(None))
        await self._channel.set_qos(prefetch_count=queue.prefetch)
        await (await self._channel.get_queue(queue.name, ensure=False)).consume(arriving.put)

    async def close(self) -> None:
        """Let go of the connection."""
        with suppress(BusUnavailable), fence():
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._connection.close()


async def _declare_exchanges(channel: AbstractChannel) -> None:
    for name, arguments in TOPICS.items():
        await channel.declare_exchange(name, "topic", durable=True, arguments={**arguments})
    await channel.declare_exchange(DEAD, "direct", durable=True)


async def _declare_queue(queue: Queue, channel: AbstractChannel) -> None:
    dead = await channel.declare_queue(dead_name(queue), durable=True, arguments={**DEAD_QUEUE_ARGUMENTS})
    await dead.bind(DEAD, queue.name)
    declared = await channel.declare_queue(queue.name, durable=True, arguments={**queue_arguments(queue)})
    for binding in queue.bindings:
        await declared.bind(queue.exchange, binding)


@contextmanager
def fence() -> Iterator[None]:
    """Translate everything that aio-pika raises."""
    try:
        yield
    except Error:
        raise
    except TimeoutError as error:
        raise BusUnavailable("RabbitMQ did not answer in time") from error
    except Exception as error:
        _end_if_cancelled()
        words = " ".join(str(word) for word in error.args) or type(error).__name__
        raise BusUnavailable(f"RabbitMQ: {words}") from error


def _end_if_cancelled() -> None:
    """Let whoever was cancelled end: aio-pika answers a cancelled call with a fault of its own, or not at all."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
