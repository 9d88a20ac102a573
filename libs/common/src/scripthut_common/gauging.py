"""What every service with a database tells of itself besides its own work: connections, and events that must leave."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .database import Database
from .outbox import Outbox
from .supervision import Loop

_EVERY_S = 10.0


class Pools(Collector):
    """The connections of a service's databases, read when they are asked for.

    Args:
        service: the first word of the metrics' names, after ours.
        databases: by what they are for.
    """

    def __init__(self, service: str, databases: Mapping[str, Database]) -> None:
        self._prefix = f"scripthut_{service}_database"
        self._databases = databases

    def collect(self) -> Iterable[Metric]:
        """Give the figures."""
        connections = GaugeMetricFamily(
            f"{self._prefix}_connections", "Connections to the database, in_use or idle", labels=["pool", "state"]
        )
        most = GaugeMetricFamily(f"{self._prefix}_max_connections", "As many are opened at most", labels=["pool"])
        for name, database in self._databases.items():
            pool = database.pool()
            connections.add_metric([name, "in_use"], pool.in_use)
            connections.add_metric([name, "idle"], pool.idle)
            most.add_metric([name], pool.most)
        return [connections, most]


class Lag:
    """How far the relay is behind: the events of a service that were not published yet.

    Args:
        database: of the service.
        outbox: of the service.
        registry: where it is shown.
    """

    def __init__(self, database: Database, outbox: Outbox, registry: CollectorRegistry) -> None:
        self._database = database
        self._outbox = outbox
        prefix = f"scripthut_{outbox.owner}_outbox"
        self._waiting = Gauge(f"{prefix}_waiting_events", "Events that were not published yet", registry=registry)
        self._oldest = Gauge(
            f"{prefix}_oldest_age_seconds",
            "For how long the event has waited that waits longest; 0 when none does",
            registry=registry,
        )

    @property
    def loop(self) -> Loop:
        """Counts."""
        return Loop(name=f"{self._outbox.owner}.outbox-lag", step=self.step, interval_s=_EVERY_S)

    async def step(self) -> None:
        """Count once."""
        waiting, oldest_s = await self._outbox.lag(self._database)
        self._waiting.set(waiting)
        self._oldest.set(oldest_s)
