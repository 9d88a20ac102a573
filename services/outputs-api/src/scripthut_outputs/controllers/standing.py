"""Say how far the word of a cluster holds at a moment. Pure."""

from datetime import datetime, timedelta

import msgspec

from scripthut_outputs.catalog.views import ClusterView

UNKNOWN, UNREACHABLE, DEGRADED = "unknown", "unreachable", "degraded"
_FINE = frozenset({"reachable", UNKNOWN})


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """When a word is stale: nothing was said for `silent_after_s`; no round went well for `unseen_after_s`."""

    silent_after_s: float = 120.0
    unseen_after_s: float = 600.0

    def is_silent(self, cluster: ClusterView, now: datetime) -> bool:
        """Whether the poller has said nothing of a cluster for too long."""
        spoke_at = last_word_at(cluster)
        return spoke_at is None or now - spoke_at > timedelta(seconds=self.silent_after_s)

    def is_unseen(self, at: datetime | None, now: datetime) -> bool:
        """Whether a round that went well at `at` is too long ago."""
        return at is None or now - at > timedelta(seconds=self.unseen_after_s)


def last_word_at(cluster: ClusterView) -> datetime | None:
    """When the poller last spoke of a cluster; a clock of its own that is ahead does not make it younger."""
    return min((at for at in (cluster.observed_at, cluster.heard_at) if at is not None), default=None)


def is_fine(cluster: ClusterView) -> bool:
    """Whether the poller finds nothing wrong with a cluster; `unknown` means that it had no reason to look."""
    return cluster.state in _FINE and cluster.error is None


def is_stale(cluster: ClusterView, bounds: Bounds, now: datetime) -> bool:
    """Whether what is known of a cluster's jobs may be out of date; a cluster that is idle has no rounds to be late."""
    if bounds.is_silent(cluster, now):
        return True
    return not is_fine(cluster) and bounds.is_unseen(cluster.last_good_round_at, now)
