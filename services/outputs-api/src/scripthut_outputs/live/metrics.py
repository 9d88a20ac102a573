"""What the live stream counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """The live stream's metrics in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.streams = Gauge("scripthut_outputs_live_streams", "Streams that are open", registry=registry)
        self.reads = Counter(
            "scripthut_outputs_live_reads",
            "Queries for changes: one for each batch, and one for each viewer who comes back with an older version",
            registry=registry,
        )
        self.batches = Counter(
            "scripthut_outputs_live_batches", "Batches of events, each told to all viewers of a run", registry=registry
        )
        self.dropped = Counter(
            "scripthut_outputs_live_dropped",
            "Streams ended because their reader took nothing: too much waited (full), or for too long (stalled)",
            ["reason"],
            registry=registry,
        )
