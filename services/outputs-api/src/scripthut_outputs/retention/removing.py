"""Remove what is too old or too much of one cluster, in small portions."""

from collections.abc import AsyncIterator
from datetime import datetime

import msgspec
import structlog

from scripthut_common import supervision
from scripthut_common.clusters import Cluster
from scripthut_outputs.catalog.retention import PORTION, Removed, Retained
from scripthut_outputs.ledger import Removal

from . import deciding

log = structlog.get_logger()


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed of one run, or would be. `stored_bytes` counts equal files each."""

    cluster: str
    run_id: str
    removal: Removal
    files: int
    stored_bytes: int


class Remover:
    """Applies the retention of clusters.

    Args:
        retained: the catalog.
        is_dry: only tell what would be removed.
    """

    def __init__(self, retained: Retained, *, is_dry: bool = False) -> None:
        self._retained = retained
        self._is_dry = is_dry

    async def apply(self, cluster: Cluster) -> AsyncIterator[Taken]:
        """Yield what is removed of a cluster, run by run: what is too old, then what is too much."""
        now = await self._retained.now()
        before = deciding.before(cluster.retention, now)
        if before is not None:
            async for taken in self._remove_old(cluster, before, now):
                yield taken
        if cluster.retention.max_total_bytes is not None:
            async for taken in self._remove_oldest(cluster, cluster.retention.max_total_bytes, now):
                yield taken

    async def _remove_old(self, cluster: Cluster, before: datetime, now: datetime) -> AsyncIterator[Taken]:
        reason = deciding.reason(Removal.AGE, cluster.retention, now)
        after = ""
        while run_ids := await self._retained.old_runs(cluster.name, before, after=after):
            for run_id in run_ids:
                if taken := await self._take(cluster.name, run_id, Removal.AGE, reason, before):
                    yield taken
            after = run_ids[-1]

    async def _remove_oldest(self, cluster: Cluster, max_total_bytes: int, now: datetime) -> AsyncIterator[Taken]:
        holdings = {holding.cluster: holding.stored_bytes for holding in await self._retained.measure()}
        total_bytes = holdings.get(cluster.name, 0)
        if total_bytes <= max_total_bytes:
            return
        runs = await self._retained.weigh(cluster.name)
        reason = deciding.reason(Removal.TOTAL_SIZE, cluster.retention, now)
        for run_id in deciding.choose(runs, total_bytes=total_bytes, max_total_bytes=max_total_bytes):
            if taken := await self._take(cluster.name, run_id, Removal.TOTAL_SIZE, reason, None):
                yield taken

    async def _take(
        self, cluster: str, run_id: str, removal: Removal, reason: str, before: datetime | None
    ) -> Taken | None:
        removed = await (
            self._retained.count(run_id, before) if self._is_dry else self._remove(run_id, removal, reason, before)
        )
        if not removed.files:
            return None
        taken = Taken(
            cluster=cluster,
            run_id=run_id,
            removal=removal,
            files=removed.files,
            stored_bytes=removed.stored_bytes,
        )
        if not self._is_dry:
            log.info("files_removed", **msgspec.structs.asdict(taken))
        return taken

    async def _remove(self, run_id: str, removal: Removal, reason: str, before: datetime | None) -> Removed:
        files = stored_bytes = 0
        has_more = True
        while has_more:
            portion = await self._retained.remove(run_id, removal, reason, before=before)
            files, stored_bytes = files + portion.files, stored_bytes + portion.stored_bytes
            has_more = portion.files == PORTION
            supervision.beat()
        return Removed(files=files, stored_bytes=stored_bytes)
