"""How closely running items are followed; what each cluster's operator decides is in the clusters file."""

import msgspec

from scripthut_common.shell import MIB


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """The followers' measures; tests shorten them.

    Args:
        spacing_s: looks at what was opened just now are so far apart at least.
        lease_s: so long after its last sign of life the clusters of a dead follower are others' to take.
        max_names: so many files are listed with one look; what is left is first in the next one.
        resting_bytes: a file rests after it was sent: one tick for each so many bytes of it.
        stalled_ticks: an item of which the file system did not answer is left alone for so many ticks.
        told_every_s: of files that do not change it is said so often as of when they are shown.
        accounts_at_once: as so many accounts one cluster is looked at at the same time, where each is read as itself.
    """

    spacing_s: float = 1.0
    lease_s: float = 30.0
    max_names: int = 20_000
    resting_bytes: int = MIB
    stalled_ticks: int = 10
    told_every_s: float = 60.0
    accounts_at_once: int = 4
