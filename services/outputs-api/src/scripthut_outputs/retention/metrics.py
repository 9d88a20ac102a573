"""What keeping and removing counts, for Prometheus."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from scripthut_outputs.catalog.retention import Holding


class Metrics:
    """The figures of retention in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        one = ["cluster"]
        self._stored_bytes = Gauge(
            "scripthut_outputs_stored_bytes",
            "Bytes of stored files, equal content of one cluster counted once",
            one,
            registry=registry,
        )
        self._stored_files = Gauge("scripthut_outputs_stored_files", "Files that are stored", one, registry=registry)
        self.removed_files = Counter(
            "scripthut_outputs_removed_files",
            "Files that retention removed, by age or total_size",
            ["cluster", "removal"],
            registry=registry,
        )
        self.swept_blobs = Counter(
            "scripthut_outputs_swept_blobs", "Blobs removed that no file referred to", registry=registry
        )
        self.swept_bytes = Counter("scripthut_outputs_swept_bytes", "Their bytes", registry=registry)

    def show(self, holdings: Iterable[Holding]) -> None:
        """Show what is stored of every cluster."""
        self._stored_bytes.clear()
        self._stored_files.clear()
        for holding in holdings:
            self._stored_bytes.labels(holding.cluster).set(holding.stored_bytes)
            self._stored_files.labels(holding.cluster).set(holding.files)
