"""What each account may do on RabbitMQ, and what is declared for it, as definitions that a broker imports."""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from scripthut_common.bus import (
    COMMANDS_EXCHANGE,
    EVENTS,
    OUTPUTS_EVENTS,
    POLLER_ANNOUNCEMENTS,
    POLLER_COMMANDS,
    Queue,
)
from scripthut_common.bus import QUEUES as OUR_QUEUES
from scripthut_common.bus.topology import DEAD, DEAD_QUEUE_ARGUMENTS, TOPICS, dead_name, queue_arguments
from scripthut_common.events import COMMANDS, Type
from scripthut_common.layout import CLUSTER_NAME_PATTERN

EVENT_TYPES = tuple(kind.value for kind in Type if kind not in COMMANDS)
_ANYTHING, _NOTHING = ".*", "^$"
_DEFAULT_EXCHANGE = "amq.default"  # as rights name the exchange without a name
_DELIVERIES = 20
_QUEUE_BYTES, _DEAD_BYTES = 2**30, 2**28
_LIMITS = {"max-connections": 20, "max-channels": 100}


class Rights(NamedTuple):
    """What an account may: regular expressions over names, and over routing keys by topic exchange."""

    account: str
    configure: str
    write: str
    read: str
    topics: dict[str, tuple[str, str]]


def services() -> list[Rights]:
    """The accounts of our own processes: each declares and reads its own queues only.

    The nameless exchange is for what goes to one queue alone: a replay, a dead letter tried again.
    """
    to_poller = _named(*_with_dead(POLLER_COMMANDS, POLLER_ANNOUNCEMENTS))
    to_outputs = _named(*_with_dead(OUTPUTS_EVENTS))
    ours = _any_of([rf"{re.escape(family)}\..+" for family in ("item", "run", "cluster")])
    collected, commands = re.escape(Type.OUTPUTS_COLLECTED) + r"\..+", _any_of(_keys(sorted(COMMANDS), ()))
    return [
        Rights(
            account="scripthut-poller",
            configure=_whole(to_poller),
            write=_whole(_any_of([_named(EVENTS, DEAD, _DEFAULT_EXCHANGE), to_poller])),
            read=_whole(_any_of([_named(EVENTS, COMMANDS_EXCHANGE, DEAD), to_poller])),
            topics={
                EVENTS: (_whole(ours), _binding(POLLER_ANNOUNCEMENTS)),
                COMMANDS_EXCHANGE: (_NOTHING, _binding(POLLER_COMMANDS)),
            },
        ),
        Rights(
            account="scripthut-outputs",
            configure=_whole(to_outputs),
            write=_whole(_any_of([_named(EVENTS, COMMANDS_EXCHANGE, DEAD, _DEFAULT_EXCHANGE), to_outputs])),
            read=_whole(_any_of([_named(EVENTS, DEAD), to_outputs])),
            topics={
                EVENTS: (_whole(collected), _binding(OUTPUTS_EVENTS)),
                COMMANDS_EXCHANGE: (_whole(commands), _NOTHING),
            },
        ),
        Rights(
            account="scripthut-collector",
            configure=_NOTHING,
            write=_whole(_named(EVENTS, COMMANDS_EXCHANGE)),
            read=_NOTHING,
            topics={EVENTS: (_whole(collected), _NOTHING), COMMANDS_EXCHANGE: (_whole(commands), _NOTHING)},
        ),
    ]


def subscriber(name: str, types: Sequence[str], clusters: Sequence[str], *, may_declare: bool) -> Rights:
    """An account with queues `sub.NAME.…` of its own, which it may bind to these events and no others.

    RabbitMQ compares the binding's key, wildcards and all, with the expression: so `item.#` is no way around it.
    """
    own = rf"sub\.{re.escape(name)}\..+"
    return Rights(
        account=f"sub.{name}",
        configure=_whole(own) if may_declare else _NOTHING,
        write=_whole(own),
        read=_whole(_any_of([own, _named(EVENTS)])),
        topics={EVENTS: (_NOTHING, _whole(allowed_keys(types, clusters)))},
    )


def allowed_keys(types: Sequence[str], clusters: Sequence[str]) -> str:
    """The expression for the keys by which queues may be bound to events of these types and clusters; none: of all."""
    if not types and not clusters:
        return _ANYTHING
    return _any_of([*_keys(types, clusters), *([] if types else _any_type(clusters))])


def bound_keys(types: Sequence[str], clusters: Sequence[str]) -> list[str]:
    """The keys by which a queue gets all of these events and no others."""
    if not types:
        return [f"*.*.{cluster}" for cluster in clusters] or ["#"]
    return [f"{kind}.{cluster}" for kind in types for cluster in clusters or ["*"]]


def definitions(vhost: str, rights: Iterable[Rights], passwords: dict[str, str]) -> dict[str, Any]:
    """What RabbitMQ imports: accounts with these passwords (those without one keep theirs) and their rights."""
    rights = list(rights)
    return {
        "vhosts": [{"name": vhost}],
        "users": [
            {
                "name": account,
                "password_hash": hashed(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "",
                "limits": _LIMITS if account.startswith("sub.") else {},
            }
            for account, password in passwords.items()
        ],
        "permissions": [
            {"user": one.account, "vhost": vhost, "configure": one.configure, "write": one.write, "read": one.read}
            for one in rights
        ],
        "topic_permissions": [
            {"user": one.account, "vhost": vhost, "exchange": exchange, "write": write, "read": read}
            for one in rights
            for exchange, (write, read) in one.topics.items()
        ],
    }


def topology(vhost: str) -> dict[str, Any]:
    """The exchanges, queues and bindings of both services."""
    exchanges = [(name, "topic", arguments) for name, arguments in TOPICS.items()] + [(DEAD, "direct", {})]
    queues = {queue.name: queue_arguments(queue) for queue in OUR_QUEUES}
    queues |= {dead_name(queue): DEAD_QUEUE_ARGUMENTS for queue in OUR_QUEUES}
    bound = [(queue.exchange, key, queue.name) for queue in OUR_QUEUES for key in queue.bindings]
    bound += [(DEAD, queue.name, dead_name(queue)) for queue in OUR_QUEUES]
    return {
        "exchanges": [
            {**_lasting(vhost), "name": name, "type": kind, "internal": False, "arguments": arguments}
            for name, kind, arguments in exchanges
        ],
        **_queues(vhost, queues, bound),
    }


def own_queues(vhost: str, name: str, types: Sequence[str], clusters: Sequence[str]) -> dict[str, Any]:
    """A subscriber's queue `sub.NAME.events`, bound to its events, the queue of its dead letters, and their limits.

    Limits stand in policies: those hold for queues that a subscriber declares itself, too, and spare it the right to
    publish, which naming an exchange for dead letters takes. What is too much is dropped from the head: a queue that
    refused messages instead would keep everybody's from being confirmed.
    """
    queue, dead = f"sub.{name}.events", f"sub.{name}.dead"
    rest = {"max-length-bytes": _QUEUE_BYTES, "overflow": "drop-head", "delivery-limit": _DELIVERIES}
    letters = {"dead-letter-exchange": "", "dead-letter-routing-key": dead}
    quorum: dict[str, str | int] = {"x-queue-type": "quorum"}
    lasting = {"vhost": vhost, "apply-to": "queues", "priority": 10}
    return {
        "policies": [
            {**lasting, "name": f"sub.{name}", "pattern": _own(name, r"(?!dead\z).+"), "definition": rest | letters},
            {
                **lasting,
                "name": dead,
                "pattern": _own(name, "dead"),
                "definition": {"max-length-bytes": _DEAD_BYTES, "overflow": "drop-head"},
            },
        ],
        **_queues(vhost, {queue: quorum, dead: quorum}, [(EVENTS, key, queue) for key in bound_keys(types, clusters)]),
    }


def _own(name: str, rest: str) -> str:
    return _whole(rf"sub\.{re.escape(name)}\.{rest}")


def _lasting(vhost: str) -> dict[str, Any]:
    return {"vhost": vhost, "durable": True, "auto_delete": False}


def _queues(
    vhost: str, queues: Mapping[str, dict[str, str | int]], bound: Iterable[tuple[str, str, str]]
) -> dict[str, Any]:
    """Queues with their arguments, and bindings as exchange, key and queue."""
    to_queue = {"vhost": vhost, "destination_type": "queue", "arguments": {}}
    return {
        "queues": [{**_lasting(vhost), "name": name, "arguments": arguments} for name, arguments in queues.items()],
        "bindings": [
            {**to_queue, "source": exchange, "routing_key": key, "destination": queue} for exchange, key, queue in bound
        ],
    }


def hashed(password: str) -> str:
    """As RabbitMQ keeps passwords. Source: https://www.rabbitmq.com/docs/passwords."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _whole(pattern: str) -> str:
    return rf"\A(?:{pattern})\z"


def _any_of(patterns: Iterable[str]) -> str:
    return "|".join(patterns)


def _named(*names: str) -> str:
    return _any_of(map(re.escape, names))


def _with_dead(*queues: Queue) -> list[str]:
    return [name for queue in queues for name in (queue.name, dead_name(queue))]


def _binding(queue: Queue) -> str:
    return _whole(_named(*queue.bindings))


def _keys(types: Sequence[str], clusters: Sequence[str]) -> list[str]:
    """The keys of these types; of any cluster, also by the wildcards that stand for one."""
    where = _any_of(map(re.escape, clusters)) if clusters else rf"{CLUSTER_NAME_PATTERN.pattern}|\*|\#"
    return [rf"{re.escape(kind)}\.(?:{where})" for kind in types]


def _any_type(clusters: Sequence[str]) -> list[str]:
    return [rf"(?:{_named(*EVENT_TYPES)}|(?:item|run|\*)\.\*)\.(?:{_named(*clusters)})"] if clusters else []
