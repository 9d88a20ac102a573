"""Listen to everything that the pair says, as another program that subscribes to its events does."""

import json
from collections import defaultdict
from typing import Any
from urllib.parse import quote

import msgspec

from scripthut_common import bus as buses
from tests.testbed.vhosts import Vhosts

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
