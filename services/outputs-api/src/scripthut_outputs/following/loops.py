"""A loop for every cluster that lets itself be followed, and one that hears which run somebody opens."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from scripthut_common.clusters import Cluster
from scripthut_common.database import Database
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.supervision import Loop
from scripthut_outputs.blobs import BlobStore
from scripthut_outputs.catalog.following import Following
from scripthut_outputs.catalog.quotas import LimitOf, Quotas
from scripthut_outputs.catalog.relying import Relied

from .follower import Follower
from .pace import Pace
from .trips import Trips

_RELISTEN_S = 1.0


class Followers:
    """Follows what runs on every cluster that lets it.

    Args:
        database: the catalog.
        blobs: where contents go.
        clusters: by name.
        shells: the ways to each, by name.
        renderer: version of the renderer that documents are wanted for.
        grace_s: how long the sweep leaves alone what nobody refers to.
        pace: how closely.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        clusters: Mapping[str, Cluster],
        shells: Mapping[str, AccountShells],
        *,
        renderer: str,
        grace_s: float,
        pace: Pace | None = None,
    ) -> None:
        pace = pace or Pace()
        self._quotas = Quotas(database)
        self._catalog = Following(database, renderer, grace_s=grace_s)
        self._disks: list[ThreadPoolExecutor] = []
        self._followers: list[Follower] = []
        for name, cluster in clusters.items():
            if cluster.follow_every_s is not None:
                disk = ThreadPoolExecutor(1, thread_name_prefix=f"follow-{name}")
                trips = Trips(cluster, shells[name], blobs, Relied(database), disk, max_names=pace.max_names)
                self._disks.append(disk)
                self._followers.append(
                    Follower(cluster, cluster.follow_every_s, trips, self._catalog, self._quotas, pace)
                )

    def limit(self, limit_of: LimitOf) -> None:
        """Follow nobody from now on of whom as much is kept as this says."""
        self._quotas.limit(limit_of)

    def loops(self) -> list[Loop]:
        """What is to run; where nothing may be followed, nothing."""
        looking = [follower.loop() for follower in self._followers]
        listening = Loop(name="outputs.watched", step=self._listen, interval_s=_RELISTEN_S, is_server=True)
        return [*looking, listening] if looking else []

    def close(self) -> None:
        """End the threads once they have done what they are doing."""
        for disk in self._disks:
            disk.shutdown(wait=True)

    async def _listen(self) -> None:
        await self._catalog.listen(self._call_all, self._call)

    async def _call(self, run_id: str) -> None:  # noqa: ARG002  whose cluster that is, the next look asks
        await self._call_all()

    async def _call_all(self) -> None:
        for follower in self._followers:
            follower.call()
