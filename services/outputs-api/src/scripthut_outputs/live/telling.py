"""What is said of a run: where it is read, and who puts it into words."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from scripthut_outputs.catalog.updates import Mark, Update
from scripthut_outputs.catalog.views import ClusterView, Item, RunOverview

from .framing import HEARTBEAT


class Batch(msgspec.Struct, frozen=True):
    """Events that belong together, and the run as it was then, which decides who may hear them."""

    run: RunOverview
    pieces: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        """How much it is."""
        return sum(map(len, self.pieces))

    @property
    def is_silent(self) -> bool:
        """Whether it says nothing of the run: a heartbeat, or less."""
        return all(piece == HEARTBEAT for piece in self.pieces)


class Source(Protocol):
    """Where it is read what changed."""

    async def read(self, run_id: str, mark: Mark, *, limit: int) -> Update:
        """A run and up to `limit` of its items that changed after `mark`, all of one moment.

        Raises:
            NotFound: there is no such run.
        """


class Voice(Protocol):
    """Makes events of what the catalog says."""

    def items(self, items: Sequence[Item], after: int, until: int | None) -> bytes:
        """Events of items, and of their outputs, that changed after one version and not after another."""

    def run(self, run: RunOverview, after: int) -> bytes:
        """The end of what is told of the versions after `after`: it says where its receiver stands then."""

    def reset(self, run: RunOverview) -> bytes:
        """Say that what its receiver holds is worth nothing, and where it stands now."""

    def cluster(self, cluster: ClusterView) -> bytes:
        """An event of a cluster as it does now."""
