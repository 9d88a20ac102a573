"""A whole poller in this process, on a bus in this process, and what it has published."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from scripthut_common import bus as buses
from scripthut_common import supervision
from scripthut_common.bus import Message
from scripthut_common.bus.memory import MemoryBus
from scripthut_common.clusters import Cluster
from scripthut_common.events import CloudEvent, ItemEvent, Type, decode
from scripthut_common.health import Health
from scripthut_common.shell.opening import open_shell
from scripthut_common.supervision import Pulse
from scripthut_poller import wiring
from scripthut_poller.settings import Settings

QUEUES = (buses.POLLER_COMMANDS, buses.POLLER_ANNOUNCEMENTS, buses.OUTPUTS_EVENTS)


class Ear:
    """Hears every event, and waits for some."""

    def __init__(self) -> None:
        self.told: list[CloudEvent] = []
        self._news = asyncio.Condition()

    async def hear(self, message: Message) -> None:
        told = decode(message.body)
        assert told is not None
        async with self._news:
            self.told.append(told)
            self._news.notify_all()

    async def until(self, happened: Callable[[CloudEvent], bool], *, within_s: float = 90) -> CloudEvent:
        """Wait for an event."""
        async with asyncio.timeout(within_s), self._news:
            await self._news.wait_for(lambda: any(happened(one) for one in self.told))
        return next(one for one in self.told if happened(one))

    def items(self, type_: Type) -> dict[str, ItemEvent]:
        """The last event of a type, by task."""
        return {
            one.data.task_id: one.data for one in self.told if one.type is type_ and isinstance(one.data, ItemEvent)
        }


class House(Ear):
    """A running poller and what it has published."""

    def __init__(self, service: wiring.Service, bus: MemoryBus, pulse: Pulse) -> None:
        super().__init__()
        self.service = service
        self.bus = bus
        self._health = Health(pulse, service.checks, CollectorRegistry(), fresh_s=0)

    async def faults(self) -> dict[str, str]:
        """What the poller says is wrong with it."""
        _, report = await self._health.ready()
        return {one.name: one.fault for one in report.faults}

    async def until_it_says(self, *words: str) -> str:
        """Wait until readiness speaks of all these words."""
        async with asyncio.timeout(60):
            while True:
                said = " ".join(f"{name}: {fault}" for name, fault in (await self.faults()).items())
                if all(word in said for word in words):
                    return said
                await asyncio.sleep(0.2)


@asynccontextmanager
async def running(database_uri: str, clusters_file: Path, shells: wiring.Shells = open_shell) -> AsyncIterator[House]:
    bus, pulse, stop = MemoryBus(queues=QUEUES), Pulse(), asyncio.Event()
    service = wiring.build(Settings(database_url=database_uri, clusters_file=str(clusters_file)), bus, pulse, shells)
    house = House(service, bus, pulse)
    listening = supervision.Loop(
        name="listener", step=lambda: bus.consume(buses.OUTPUTS_EVENTS, house.hear), interval_s=1, is_server=True
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(supervision.run([*service.loops, listening], pulse, stop))
        try:
            yield house
        finally:
            stop.set()
    await service.close()


def write_clusters(path: Path, *clusters: Cluster) -> Path:
    """Write a clusters file as an operator would."""
    lines = []
    for cluster in clusters:
        table = msgspec.to_builtins(cluster)
        lines += _table(f"clusters.{cluster.name}", table | {"name": None})
        for name in ("collection", "patience", "certificates"):
            lines += _table(f"clusters.{cluster.name}.{name}", table[name])
    path.write_text("\n".join(lines) + "\n")
    return path


def _table(name: str, values: Mapping[str, object]) -> list[str]:
    """Write one table; JSON's texts, numbers and lists are TOML's too."""
    plain = {field: value for field, value in values.items() if value is not None and not isinstance(value, dict)}
    return [f"[{name}]", *(f"{field} = {json.dumps(value)}" for field, value in plain.items())]
