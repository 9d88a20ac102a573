"""How much is collected at once, how long claims last, when what failed is tried again and when it is given up."""

import msgspec

from scripthut_common.retrying import COLLECTING, Backoff
from scripthut_common.shell import MIB

DAY_S = 86_400.0


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """The collector's measures; tests shorten them.

    Args:
        interval_s: how often each lane of a cluster looks for work when nobody calls.
        spacing_s: after a small portion the next begins so much later at the earliest, so that what becomes due one
            by one is collected together.
        max_items: what one portion has at most.
        large_bytes: an item with more to fetch than this is collected in a transfer of its own, beside the others.
        max_batch_bytes: what one transfer carries at most, single larger items apart.
        settle_every_s: how often what has arrived is made durable and shown while more arrives.
        lease_s: so long after its last sign of life the claims of a dead collector are others' to take.
        retrying: after a failed attempt.
        give_up_after_s: an item whose attempts have been spread over so much time rests as failed; time in which the
            cluster cannot be reached does not count.
        stalled_s: a run of which one item after the other stalls is left out for so long, then twice as long.
        alone_lanes: how many items are collected alone at the same time, beside the others, on each cluster.
        owner_lanes: for how many owners at the same time, on a cluster where each is read as themselves.
    """

    interval_s: float = 1.0
    spacing_s: float = 0.5
    max_items: int = 200
    large_bytes: int = 64 * MIB
    max_batch_bytes: int = 2048 * MIB
    settle_every_s: float = 1.0
    lease_s: float = 30.0
    retrying: Backoff = COLLECTING
    give_up_after_s: float = DAY_S
    stalled_s: float = 60.0
    alone_lanes: int = 2
    owner_lanes: int = 3
