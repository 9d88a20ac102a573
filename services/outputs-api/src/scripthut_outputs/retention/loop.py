"""Once in a while, in one process at a time: remove what retention says, sweep, heal, measure."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

import msgspec
import structlog
from prometheus_client import CollectorRegistry

from scripthut_common import supervision
from scripthut_common.clusters import Cluster
from scripthut_common.database import Database
from scripthut_common.supervision import Loop
from scripthut_outputs.blobs import Sized
from scripthut_outputs.catalog.relying import Relied
from scripthut_outputs.catalog.retention import Retained
from scripthut_outputs.catalog.sweeping import Sweep
from scripthut_outputs.catalog.verifying import Verified

from .mending import Mender
from .metrics import Metrics
from .removing import Remover, Taken

log = structlog.get_logger()
_MEND_S = 60.0
_LOOK_S = 60.0


class Blobs(Sized, Protocol):
    """What clearing away asks of the blob store."""

    async def remove(self, sha256: str) -> None:
        """Remove a blob that may be gone already.

        Raises:
            StoreUnavailable: not now.
        """


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """When: every `interval_s`, for the first time after `delay_s`; blobs touched in the last `grace_s` stay."""

    interval_s: float = 3600.0
    delay_s: float = 300.0
    grace_s: float = 86_400.0


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass did, or would do: `removed` by run, and what the sweep took.

    A dry pass tells what nobody refers to already, not what its own removals would leave.
    """

    removed: tuple[Taken, ...] = ()
    swept_blobs: int = 0
    swept_bytes: int = 0


class Keeper:
    """Keeps what is to be kept, and no more.

    Args:
        database: the catalog.
        blobs: where contents are.
        clusters: by name, with their retention.
        terms: when.
        registry: where figures are shown.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        clusters: Mapping[str, Cluster],
        terms: Terms,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._retained = Retained(database)
        self._sweep = Sweep(database, grace_s=terms.grace_s)
        self._mender = Mender(Verified(database), Relied(database), blobs)
        self._blobs = blobs
        self._clusters = clusters
        self._terms = terms
        self._metrics = Metrics(registry)
        self._clock = clock
        self._due_at = clock() + terms.delay_s

    def loops(self) -> list[Loop]:
        """What is to run."""
        looks_s = min(self._terms.interval_s, _LOOK_S)
        return [
            Loop(name="outputs.retention", step=self.step, interval_s=looks_s),
            Loop(name="outputs.mending", step=self.mend, interval_s=_MEND_S),
        ]

    async def step(self) -> None:
        """Do a pass if one is due."""
        if self._clock() < self._due_at:
            return
        if await self.work() is None:
            log.info("retention_elsewhere")
        self._metrics.show(await self._retained.measure())
        self._due_at = self._clock() + self._terms.interval_s

    async def work(self) -> Done | None:
        """Do one pass now; `None` when another process is at it."""
        async with self._retained.alone() as is_ours:
            if not is_ours:
                return None
            removed = [taken async for taken in self._removed(is_dry=False)]
            for taken in removed:
                self._metrics.removed_files.labels(taken.cluster, taken.removal).inc(taken.files)
            return await self._swept(tuple(removed))

    async def preview(self) -> Done:
        """Tell what a pass would do."""
        removed = [taken async for taken in self._removed(is_dry=True)]
        swept = await self._sweep.count()
        return Done(removed=tuple(removed), swept_blobs=swept.blobs, swept_bytes=swept.size_bytes)

    async def mend(self) -> None:
        """Heal files whose lost bytes have come back."""
        files = await self._mender.mend()
        if files:
            log.info("files_healed", files=files)

    async def _removed(self, *, is_dry: bool) -> AsyncIterator[Taken]:
        remover = Remover(self._retained, is_dry=is_dry)
        for cluster in self._clusters.values():
            async for taken in remover.apply(cluster):
                yield taken

    async def _swept(self, removed: tuple[Taken, ...]) -> Done:
        blobs, size_bytes, after = 0, 0, ""
        while True:
            portion = await self._sweep.sweep(self._blobs.remove, after=after)
            self._metrics.swept_blobs.inc(portion.blobs)
            self._metrics.swept_bytes.inc(portion.size_bytes)
            blobs, size_bytes = blobs + portion.blobs, size_bytes + portion.size_bytes
            supervision.beat()
            if portion.next is None:
                break
            after = portion.next
        while await self._sweep.forget_keys():
            supervision.beat()
        if blobs:
            log.info("blobs_swept", blobs=blobs, size_bytes=size_bytes)
        return Done(removed=removed, swept_blobs=blobs, swept_bytes=size_bytes)
