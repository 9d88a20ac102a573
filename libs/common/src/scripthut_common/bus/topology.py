"""What stands on the broker: exchanges, queues and what becomes of their dead letters. Valid on RabbitMQ 3.10 and 4.

`scripthut.events` and `scripthut.commands` are topics. An event that nobody is bound to goes on to
`scripthut.unrouted`, where an admin may bind a queue. Every queue NAME has a queue NAME.dead behind it.
"""

from . import COMMANDS_EXCHANGE, EVENTS, Queue

DEAD = "scripthut.dead"
UNROUTED = "scripthut.unrouted"

# exchange → arguments, in an order in which each finds what it names
TOPICS: dict[str, dict[str, str]] = {
    UNROUTED: {},
    EVENTS: {"alternate-exchange": UNROUTED},
    COMMANDS_EXCHANGE: {},
}

# Far above `taking.Rules.delivery_limit`, which counts errors: this one ends messages that kill the process.
_BROKER_DELIVERY_LIMIT = 100

DEAD_QUEUE_ARGUMENTS: dict[str, str | int] = {"x-queue-type": "quorum"}


def dead_name(queue: Queue) -> str:
    """The queue that holds what `queue` could not take."""
    return f"{queue.name}.dead"


def queue_arguments(queue: Queue) -> dict[str, str | int]:
    """How `queue` is declared: replicated, with dead letters that survive the loss of a node on their way.

    Source: https://www.rabbitmq.com/docs/quorum-queues, "at-least-once dead lettering".
    """
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": _BROKER_DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-routing-key": queue.name,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
