"""The bus: publish a message so that it is safe, take messages so that none is lost or burnt.

`memory.MemoryBus` serves one process, `amqp.AmqpBus` is RabbitMQ; `tests/contract` holds both to the same rules.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from scripthut_common.errors import LimitExceeded
from scripthut_common.events import COMMANDS, MAX_EVENT_BYTES, CloudEvent, Type, encode

EVENTS = "scripthut.events"
COMMANDS_EXCHANGE = "scripthut.commands"
_MANDATORY_FAMILIES = ("item.", "run.", "cluster.")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message as it travels. `mandatory`: that nobody is bound to receive it is an error."""

    id: str
    exchange: str
    routing_key: str
    body: bytes
    mandatory: bool


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A durable queue: which exchange it is bound to, for which routing keys."""

    name: str
    exchange: str
    bindings: tuple[str, ...]
    prefetch: int = 200


OUTPUTS_EVENTS = Queue(name="outputs.events", exchange=EVENTS, bindings=("item.#", "run.#", "cluster.#"))
POLLER_COMMANDS = Queue(name="poller.run-requested", exchange=COMMANDS_EXCHANGE, bindings=("run.#",), prefetch=20)
POLLER_ANNOUNCEMENTS = Queue(name="poller.item-submitted", exchange=EVENTS, bindings=(f"{Type.ITEM_SUBMITTED}.#",))

QUEUES = (OUTPUTS_EVENTS, POLLER_COMMANDS, POLLER_ANNOUNCEMENTS)

Take = Callable[[Message], Awaitable[None]]
Bury = Callable[[Queue, Message, str], Awaitable[None]]


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that its queue could not take: why, and since when it is put aside (`None`: nobody noted it)."""

    queue: str
    message: Message
    reason: str
    buried_at: datetime | None


class Disposal(StrEnum):
    """What becomes of a dead letter."""

    KEEP = "keep"
    REPLAY = "replay"
    DROP = "drop"


Dispose = Callable[[DeadLetter], Disposal]


class Burials(Protocol):
    """Where dead letters lie; RabbitMQ's dead-letter queues or a table."""

    async def go_through(self, queue: Queue, dispose: Dispose) -> None:
        """Show every dead letter of a queue to `dispose`, oldest first, and do with it as that says.

        A replayed one goes to its own queue alone, as if new; one is gone from here only once that has it. One that
        is refused again meanwhile stays for the next time.

        Raises:
            BusUnavailable: the rest stays as it was.
        """


class Bus(Protocol):
    """Publish and consume; what each promises.

    `consume` runs until cancelled and calls `take` with one message after another of the queue, several at a
    time up to its prefetch. What `take` raises decides: nothing → acknowledged; `TransientError` → the message
    stays, is tried again in place with backoff, and costs no delivery; `PermanentError` → dead letter with the
    reason; anything else is a bug → delivered again up to the delivery limit, then dead letter.
    """

    async def publish(self, message: Message) -> None:
        """Return when the message is safe (confirmed, or taken).

        Raises:
            BusUnavailable: the broker is away or did not confirm; the message may have arrived all the same.
            Unroutable: it is mandatory and no queue is bound to its key.
            LimitExceeded: an event above `MAX_EVENT_BYTES`.
        """

    async def consume(self, queue: Queue, take: Take) -> None:
        """Take messages until cancelled, reconnecting with backoff through every outage of the broker."""

    async def check(self) -> str | None:
        """Connect where no connection is, then answer as `fault` does."""

    async def close(self) -> None:
        """Let go of the connection."""

    @property
    def fault(self) -> str | None:
        """Why the bus cannot work just now, for `/health/ready`; `None` when it can."""


def check_size(message: Message) -> None:
    """Hold events to their size; commands have parts.

    Raises:
        LimitExceeded: the event is too large.
    """
    if message.exchange == EVENTS and len(message.body) > MAX_EVENT_BYTES:
        raise LimitExceeded(f"event {message.id} has {len(message.body)} bytes; at most {MAX_EVENT_BYTES}")


def message_of(event: CloudEvent) -> Message:
    """Address an event or command."""
    is_command = event.type in COMMANDS
    return Message(
        id=event.id,
        exchange=COMMANDS_EXCHANGE if is_command else EVENTS,
        routing_key=event.routing_key,
        body=encode(event),
        mandatory=is_command or event.type.startswith(_MANDATORY_FAMILIES),
    )
