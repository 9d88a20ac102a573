"""Listen to everything that the pair says, as another program that subscribes to its events does."""

import json
from collections import defaultdict
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from scripthut_common import bus as buses
from scripthut_common.events import Type
from tests.testbed.vhosts import Vhosts

K = TypeVar("K")
_QUEUE = "tests.tap"
_ALL_AT_ONCE = 100_000


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """One event as it arrived."""

    id: str
    type: str
    data: dict[str, Any]

    @property
    def fact(self) -> tuple[str, str, str, str, int]:
        """What tells it from every other fact."""
        places = (str(self.data.get(name, "")) for name in ("cluster", "run_id", "task_id"))
        cluster, run_id, task_id = places
        return (self.type, cluster, run_id, task_id, int(self.data["sequence"]))


class Tap:
    """A durable queue bound to all events of one virtual host.

    Args:
        vhosts: of the broker.
        amqp_uri: the virtual host, in which the pair has declared its exchanges.
    """

    def __init__(self, vhosts: Vhosts, amqp_uri: str) -> None:
        self._vhosts = vhosts
        self._vhost = amqp_uri.rpartition("/")[2]
        declared = {"durable": True, "arguments": {"x-queue-type": "quorum"}}
        self._vhosts.manage("PUT", f"queues/{self._vhost}/{_QUEUE}", declared)
        binding = f"bindings/{self._vhost}/e/{quote(buses.EVENTS)}/q/{_QUEUE}"
        self._vhosts.manage("POST", binding, {"routing_key": "#", "arguments": {}})

    def drain(self) -> list[Heard]:
        """Take everything that has arrived."""
        asked = {"count": _ALL_AT_ONCE, "ackmode": "ack_requeue_false", "encoding": "auto"}
        got = self._vhosts.manage("POST", f"queues/{self._vhost}/{_QUEUE}/get", asked)
        return [msgspec.convert(json.loads(message["payload"]), Heard) for message in got]


class Subscriber:
    """A program that keeps what events say, however often and in whatever order they come.

    Attributes:
        items: the last word about every item, by run and task.
        collected: the last `outputs.collected` of every item.
        runs: the last `run.completed` of every run.
        verdicts: every `item.completed`, by run and task, as (attempt, revision, sequence).
    """

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.collected: dict[tuple[str, str], dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.verdicts: dict[tuple[str, str], set[tuple[int, int, int]]] = defaultdict(set)

    def apply(self, event: Heard) -> None:
        """Take one event; what is older than what is known changes nothing."""
        told = event.data
        if event.type == Type.RUN_COMPLETED:
            _keep_later(self.runs, told["run_id"], told)
        if event.type == Type.OUTPUTS_COLLECTED:
            _keep_later(self.collected, (told["run_id"], told["task_id"]), told)
        if event.type.startswith("item."):
            _keep_later(self.items, (told["run_id"], told["task_id"]), told)
        if event.type == Type.ITEM_COMPLETED:
            self.verdicts[told["run_id"], told["task_id"]].add(_order(told))


def _order(told: dict[str, Any]) -> tuple[int, int, int]:
    return (told.get("attempt", 0), told.get("revision", 0), told["sequence"])


def _keep_later(kept: dict[K, dict[str, Any]], key: K, told: dict[str, Any]) -> None:
    if key not in kept or _order(kept[key]) < _order(told):
        kept[key] = told


def contradictions(heard: list[Heard]) -> list[str]:
    """Say where one id stands for two facts, one fact has two ids, or one id is told in two ways."""
    facts, ids, told = defaultdict(set), defaultdict(set), defaultdict(set)
    for event in heard:
        facts[event.id].add(event.fact)
        ids[event.fact].add(event.id)
        told[event.id].add(json.dumps(event.data, sort_keys=True))
    found = [f"id {id_} stands for {sorted(of_id)}" for id_, of_id in facts.items() if len(of_id) > 1]
    found += [f"{fact} has the ids {sorted(of_fact)}" for fact, of_fact in ids.items() if len(of_fact) > 1]
    return found + [f"id {id_} is told in {len(ways)} ways" for id_, ways in told.items() if len(ways) > 1]
