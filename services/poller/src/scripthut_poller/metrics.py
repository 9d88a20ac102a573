"""What the poller counts, for Prometheus."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scripthut_common.events import ItemState

_ROUND_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class ClusterMetrics:
    """What is counted of one cluster."""

    def __init__(self, metrics: "Metrics", cluster: str) -> None:
        self._cluster = cluster
        self._metrics = metrics
        self.round_duration = metrics.round_duration.labels(cluster)
        self.last_good_round = metrics.last_good_round.labels(cluster)
        self.commands_per_minute = metrics.commands_per_minute.labels(cluster)
        self.unparsed_rows = metrics.unparsed_rows.labels(cluster)
        self.lease_held = metrics.lease_held.labels(cluster)
        self.next_round = metrics.next_round.labels(cluster)
        self.adopted_jobs = metrics.adopted_jobs.labels(cluster)
        self.refused_jobs = metrics.refused_jobs.labels(cluster)

    def count_round(self, result: str) -> None:
        """Note how a round went: `reachable`, `degraded` or `unreachable`."""
        self._metrics.rounds.labels(self._cluster, result).inc()

    def show_items(self, by_state: Mapping[ItemState, int]) -> None:
        """Note how many items are watched in which state."""
        for state in ItemState:
            self._metrics.items.labels(self._cluster, state).set(by_state.get(state, 0))


class Metrics:
    """The poller's metrics in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        one, two = ["cluster"], ["cluster", "result"]
        self.rounds = Counter("scripthut_poller_rounds", "Polling rounds, by how they went", two, registry=registry)
        self.round_duration = Histogram(
            "scripthut_poller_round_duration_seconds",
            "How long a polling round took",
            one,
            buckets=_ROUND_S,
            registry=registry,
        )
        self.next_round = Gauge(
            "scripthut_poller_round_interval_seconds",
            "Rest between the last round and the next",
            one,
            registry=registry,
        )
        self.last_good_round = Gauge(
            "scripthut_poller_last_good_round_age_seconds",
            "Seconds since a round in which every source answered; -1 while nothing is watched",
            one,
            registry=registry,
        )
        self.commands_per_minute = Gauge(
            "scripthut_poller_commands_per_minute",
            "Scheduler commands begun in the last minute, submissions apart",
            one,
            registry=registry,
        )
        self.items = Gauge("scripthut_poller_items", "Watched items, by state", ["cluster", "state"], registry=registry)
        self.unparsed_rows = Counter(
            "scripthut_poller_unparsed_rows", "Rows of the scheduler that could not be read", one, registry=registry
        )
        self.adopted_jobs = Counter(
            "scripthut_poller_adopted_jobs", "Jobs that nobody announced and that are watched", one, registry=registry
        )
        self.refused_jobs = Counter(
            "scripthut_poller_refused_jobs",
            "Tagged jobs that are not watched, as each is found for the first time; the log names them",
            one,
            registry=registry,
        )
        self.lease_held = Gauge(
            "scripthut_poller_lease_held",
            "1 while this process is the one that asks the cluster",
            one,
            registry=registry,
        )

    def of(self, cluster: str) -> ClusterMetrics:
        """Give what one cluster's rooms count with."""
        return ClusterMetrics(self, cluster)
