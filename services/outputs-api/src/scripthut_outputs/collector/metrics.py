"""What the collector counts, for Prometheus."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from scripthut_common.shell.accounts import AccountShells
from scripthut_outputs.catalog.collections import Due
from scripthut_outputs.catalog.keeping import Result

_NOTHING = Due(count=0, oldest_s=0.0)


class ClusterMetrics:
    """What is counted of one cluster."""

    def __init__(self, metrics: "Metrics", cluster: str) -> None:
        self._metrics = metrics
        self._cluster = cluster

    def count_kept(self, results: Iterable[Result]) -> None:
        """Note what was written."""
        for result in results:
            self._metrics.items.labels(self._cluster, result.state).inc()
            self._metrics.files.labels(self._cluster).inc(len(result.stored))
            self._metrics.stored_bytes.labels(self._cluster).inc(sum(row.stored_bytes or 0 for row in result.stored))

    def count_fault(self, fault: Exception) -> None:
        """Note an attempt that failed, by what went wrong."""
        self._metrics.faults.labels(self._cluster, type(fault).__name__).inc()


class Metrics:
    """The collector's metrics in one registry.

    Args:
        shells: whose commands are the round trips, by the names of their clusters.
    """

    def __init__(self, registry: CollectorRegistry, shells: Mapping[str, AccountShells]) -> None:
        self._shells = shells
        one = ["cluster"]
        self.items = Counter(
            "scripthut_outputs_collected_items",
            "Looks at items that ended, by outputs_state; after partial another follows",
            ["cluster", "state"],
            registry=registry,
        )
        self.files = Counter("scripthut_outputs_collected_files", "Files stored", one, registry=registry)
        self.stored_bytes = Counter("scripthut_outputs_collected_bytes", "Bytes stored", one, registry=registry)
        self.faults = Counter(
            "scripthut_outputs_collection_faults",
            "Portions and items that could not be collected, by what went wrong",
            ["cluster", "fault"],
            registry=registry,
        )
        self.due = Gauge("scripthut_outputs_due_items", "Items that wait to be collected", one, registry=registry)
        self.oldest = Gauge(
            "scripthut_outputs_oldest_due_age_seconds",
            "For how long the item has been due that waits longest; 0 when none does",
            one,
            registry=registry,
        )
        registry.register(_RoundTrips(shells))

    def of(self, cluster: str) -> ClusterMetrics:
        """Give what one cluster's lanes count with."""
        return ClusterMetrics(self, cluster)

    def show_due(self, due: Mapping[str, Due]) -> None:
        """Note what waits."""
        for cluster in self._shells:
            waiting = due.get(cluster, _NOTHING)
            self.due.labels(cluster).set(waiting.count)
            self.oldest.labels(cluster).set(waiting.oldest_s)


class _RoundTrips(Collector):
    """The shells' own counts, read when they are asked for."""

    def __init__(self, shells: Mapping[str, AccountShells]) -> None:
        self._shells = shells

    def collect(self) -> Iterable[Metric]:
        trips = CounterMetricFamily(
            "scripthut_outputs_round_trips", "Programs run on a cluster to collect from it", labels=["cluster"]
        )
        for cluster, shell in self._shells.items():
            trips.add_metric([cluster], shell.commands_run)
        return [trips]
