"""The words of the live stream: events in the shapes of the other endpoints."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from scripthut_outputs.catalog.views import ClusterView, Item, RunOverview
from scripthut_outputs.live import event

from .shapes import ClusterToldJson, OutputsToldJson, RunToldJson, item_json
from .standing import Bounds, is_stale

T = TypeVar("T", bound=msgspec.Struct)


class Telling:
    """Makes the events that browsers and programs are sent.

    Args:
        bounds: when the word of a cluster is stale.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds

    def items(self, items: Sequence[Item], after: int, until: int | None) -> bytes:
        """`item` and `outputs`, each for what changed after one version, and not after another."""
        told = []
        for item in items:
            if (item.version > after or not after) and (until is None or item.version <= until):
                told.append(event("item", item_json(item)))
            if item.outputs_version > after and (until is None or item.outputs_version <= until):
                told.append(event("outputs", _told(OutputsToldJson, item)))
        return b"".join(told)

    def run(self, run: RunOverview, after: int) -> bytes:
        """`summary` if it changed, then `run` with the version as its id."""
        summary = event("summary", {}) if run.summary_version > after else b""
        return summary + event("run", _told(RunToldJson, run), version=run.version)

    def reset(self, run: RunOverview) -> bytes:
        """`reset`, then `run`: who does not reload goes on from there."""
        return event("reset", {}) + self.run(run, run.version)

    def cluster(self, cluster: ClusterView) -> bytes:
        """`cluster`."""
        stale = is_stale(cluster, self._bounds, datetime.now(UTC))
        return event("cluster", ClusterToldJson(name=cluster.name, state=cluster.state, stale=stale))


def _told(shape: type[T], of: object) -> T:
    return shape(**{name: getattr(of, name) for name in shape.__struct_fields__})
