"""The loops of every cluster's lanes, so that none waits for another, and one that hears what is wanted."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from prometheus_client import CollectorRegistry

from scripthut_common.clusters import AsWhom, Cluster
from scripthut_common.database import Database
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.supervision import Loop, Step
from scripthut_outputs.blobs import BlobStore
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.catalog.keeping import Keeping
from scripthut_outputs.catalog.quotas import LimitOf, Quotas
from scripthut_outputs.catalog.relying import Relied

from .leases import Leases
from .metrics import Metrics
from .owners import Owners
from .pace import Pace
from .portions import AloneLane, SharedLane
from .stalls import Stalls
from .trips import Trips

_RELISTEN_S = 1.0
_COUNT_EVERY_S = 10.0


class Collector:
    """Collects from every cluster.

    Args:
        database: the catalog.
        blobs: where contents go.
        clusters: by name.
        shells: the ways to each, by name.
        renderer: version of the renderer that documents are wanted for.
        pace: how much at once, how often.
        registry: where it is shown what was counted.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        clusters: Mapping[str, Cluster],
        shells: Mapping[str, AccountShells],
        *,
        renderer: str,
        pace: Pace | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._blobs = blobs
        self._pace = pace or Pace()
        self._metrics = Metrics(registry or CollectorRegistry(), shells)
        self._collections = Collections(database)
        self._quotas = Quotas(database)
        self._keeping, self._relied = Keeping(database, renderer), Relied(database)
        # Writing to disk blocks: each lane has a thread of its own, so that no cluster waits for another's.
        self._disks: list[ThreadPoolExecutor] = []
        self._runners: dict[str, list[_Runner]] = {
            name: self._open(name, cluster, shells[name]) for name, cluster in clusters.items()
        }

    def limit(self, limit_of: LimitOf) -> None:
        """Keep no more of each person from now on than this says."""
        self._quotas.limit(limit_of)

    def loops(self) -> list[Loop]:
        """What is to run; a cluster looks at once when something of it is wanted."""
        collecting = [
            Loop(name=runner.name, step=runner.step, interval_s=self._pace.interval_s, wake=runner.wake)
            for runners in self._runners.values()
            for runner in runners
        ]
        return [
            *collecting,
            Loop(name="outputs.wanted", step=self._listen, interval_s=_RELISTEN_S, is_server=True),
            Loop(name="outputs.due", step=self._count, interval_s=_COUNT_EVERY_S),
            self._quotas.loop,
        ]

    def close(self) -> None:
        """End the threads once they have done what they are doing."""
        for disk in self._disks:
            disk.shutdown(wait=True)

    def _open(self, name: str, cluster: Cluster, shells: AccountShells) -> "list[_Runner]":
        """Make a cluster's lanes; one session at least is left to what is collected together."""
        stalls, metrics = Stalls(self._pace.stalled_s), self._metrics.of(name)
        is_each = cluster.as_whom is not AsWhom.SERVICE
        together, alone = (
            Owners(self._collections, name, is_alone=is_alone, is_each=is_each) for is_alone in (False, True)
        )

        def parts(owners: Owners) -> tuple[Trips, Collections, Owners, Leases, Stalls]:
            held = Leases(name, self._collections, self._keeping, self._pace, metrics)
            return self._trips(cluster, shells), self._collections, owners, held, stalls

        runners = []
        for number in range(min(self._pace.owner_lanes, cluster.max_sessions) if is_each else 1):
            shared = SharedLane(*parts(together), self._pace, metrics)
            more = f".{number + 1}" if number else ""
            runners.append(_Runner(f"outputs.collect.{name}{more}", shared.step, self._pace.spacing_s))
        for number in range(min(self._pace.alone_lanes, max(cluster.max_sessions - 1, 1))):
            lane = AloneLane(*parts(alone), self._pace, metrics)
            runners.append(_Runner(f"outputs.collect.{name}.alone-{number + 1}", lane.step, 0.0))
        return runners

    def _trips(self, cluster: Cluster, shells: AccountShells) -> Trips:
        disk = ThreadPoolExecutor(1, thread_name_prefix=f"blobs-{cluster.name}")
        self._disks.append(disk)
        return Trips(
            cluster,
            shells,
            self._blobs,
            self._relied,
            self._quotas,
            disk,
            self._pace,
        )

    async def _count(self) -> None:
        self._metrics.show_due(await self._collections.due())

    async def _listen(self) -> None:
        await self._collections.listen(self._runners, self._wake_all, self._wake)

    async def _wake_all(self) -> None:
        for cluster in self._runners:
            await self._wake(cluster)

    async def _wake(self, cluster: str) -> None:
        for runner in self._runners.get(cluster, ()):
            runner.call()


class _Runner:
    """One lane as a loop; woken often it begins at most every `spacing_s`, so that it finds more than one item."""

    def __init__(self, name: str, step: Step, spacing_s: float) -> None:
        self.name = name
        self.wake = asyncio.Event()
        self._step = step
        self._spacing_s = spacing_s
        self._began_at = float("-inf")

    async def step(self) -> bool | None:
        """Do one portion."""
        self._began_at = monotonic()
        return await self._step()

    def call(self) -> None:
        """Wake the loop, at once if it has rested."""
        wait_s = self._began_at + self._spacing_s - monotonic()
        asyncio.get_running_loop().call_later(max(wait_s, 0.0), self.wake.set)
