"""One loop for each cluster, so that none waits for another, and one that hears what is wanted."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from scripthut_common.clusters import Cluster
from scripthut_common.database import Database
from scripthut_common.shell import MIB, RemoteShell
from scripthut_common.supervision import Loop
from scripthut_outputs.blobs import BlobStore
from scripthut_outputs.catalog.collections import CHANNEL, Collections
from scripthut_outputs.catalog.keeping import Keeping
from scripthut_outputs.catalog.relying import Relied

from .portions import ClusterCollector
from .trips import Trips

_RELISTEN_S = 1.0


class Collector:
    """Collects from every cluster.

    Args:
        database: the catalog.
        blobs: where contents go.
        clusters: by name.
        shells: the way to each, by name.
        renderer: version of the renderer that documents are wanted for.
        max_batch_bytes: what one transfer carries at most, single larger items apart.
        interval_s: how often each cluster is looked after when nobody calls.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        clusters: Mapping[str, Cluster],
        shells: Mapping[str, RemoteShell],
        *,
        renderer: str,
        max_batch_bytes: int = 2048 * MIB,
        interval_s: float = 1.0,
    ) -> None:
        self._interval_s = interval_s
        self._database = database
        self._wakes = {name: asyncio.Event() for name in clusters}
        self._disks = {name: ThreadPoolExecutor(1, thread_name_prefix=f"blobs-{name}") for name in clusters}
        collections, keeping, relied = Collections(database), Keeping(database, renderer), Relied(database)
        self._clusters = {
            name: ClusterCollector(
                name,
                Trips(cluster, shells[name], blobs, relied, self._disks[name], max_batch_bytes=max_batch_bytes),
                collections,
                keeping,
            )
            for name, cluster in clusters.items()
        }

    def loops(self) -> list[Loop]:
        """What is to run; a cluster looks at once when something of it is wanted."""
        collecting = [
            Loop(name=f"outputs.collect.{name}", step=cluster.step, interval_s=self._interval_s, wake=self._wakes[name])
            for name, cluster in self._clusters.items()
        ]
        return [*collecting, Loop(name="outputs.wanted", step=self._listen, interval_s=_RELISTEN_S, is_server=True)]

    def close(self) -> None:
        """End the threads once they have done what they are doing."""
        for disk in self._disks.values():
            disk.shutdown(wait=True)

    async def _listen(self) -> None:
        await self._database.listen(CHANNEL, self._wake_all, self._wake)

    async def _wake_all(self) -> None:
        for wake in self._wakes.values():
            wake.set()

    async def _wake(self, cluster: str) -> None:
        if cluster in self._wakes:
            self._wakes[cluster].set()
