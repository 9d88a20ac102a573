"""What one lane holds of the catalog: claims under a lease, until each is written, given back or set aside."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from scripthut_common import supervision
from scripthut_common.errors import DatabaseUnavailable, Error, InvalidInput, LeaseLost
from scripthut_outputs.catalog.claims import Claim
from scripthut_outputs.catalog.collections import Collections, Refusal
from scripthut_outputs.catalog.keeping import Keeping, Result
from scripthut_outputs.fetching import Fault
from scripthut_outputs.ledger import OutputsState

from .metrics import ClusterMetrics
from .pace import Pace

log = structlog.get_logger()
_MOST_REASONS = 5


class Leases:
    """The claims of one lane."""

    def __init__(
        self, cluster: str, collections: Collections, keeping: Keeping, pace: Pace, metrics: ClusterMetrics
    ) -> None:
        self._cluster = cluster
        self._collections = collections
        self._keeping = keeping
        self._pace = pace
        self._metrics = metrics
        self._open: dict[tuple[str, str], Claim] = {}

    async def work_on(self, claims: Sequence[Claim], work: Callable[[], Awaitable[None]]) -> Exception | None:
        """Hold claims, renewed, while `work` is done; give back what it leaves open. Tell what stopped it, if anything.

        Raises:
            DatabaseUnavailable: what is open stays so; `release` it when the database is back.
        """
        self._open = {claim.key: claim for claim in claims}
        fault: Exception | None = None
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(self._renew())
            try:
                await work()
            except Error as error:
                fault = error
            finally:
                renewing.cancel()
        await self.release()
        return fault

    async def release(self) -> None:
        """Give back what is open: due as before, nothing counted."""
        await self._collections.release(list(self._open.values()))
        self._open = {}

    async def keep(self, results: Sequence[Result]) -> None:
        """Write results; of those whose leases were lost nothing is written."""
        if not results:
            return
        try:
            lost = await self._keeping.finish(results)
        except InvalidInput as error:
            await self._keep_alone(results, error)
            return
        gone = {claim.key for claim in lost}
        written = [result for result in results if result.claim.key not in gone]
        self._forget([result.claim for result in results])
        self._metrics.count_kept(written)
        log.info(
            "outputs_collected",
            cluster=self._cluster,
            items=len(written),
            lost_leases=len(lost),
            files=sum(len(result.stored) for result in written),
            stored_bytes=sum(row.stored_bytes or 0 for result in written for row in result.stored),
        )

    async def set_aside(self, claims: Sequence[Claim], fault: Fault | None = None) -> None:
        """Let claims be collected each alone; without a fault only because they are large."""
        if not claims:
            return
        if fault is not None:
            log.warning("set_aside", cluster=self._cluster, items=[claim.key for claim in claims], fault=str(fault))
        await self._collections.set_aside(claims, None if fault is None else str(fault))
        self._forget(claims)

    async def fail(self, claim: Claim, fault: Fault) -> None:
        """Count an attempt that reached the cluster; the next is later, or there is none."""
        log.warning("collection_failed", run_id=claim.run_id, task_id=claim.task_id, fault=str(fault))
        failures = claim.failures + 1
        if self._pace.retrying.spread_s(failures) < self._pace.give_up_after_s:
            await self._collections.postpone(claim, str(fault), delay_s=self._pace.retrying.delay_s(failures))
            self._forget([claim])
        else:
            await self.keep([Result(claim=claim, state=OutputsState.FAILED, reason=_given_up(failures, str(fault)))])

    async def refuse(self, refused: Sequence[tuple[Claim, str]]) -> None:
        """Let items fail for reasons that somebody has to mend; those that are still ours are tried again."""
        again, over = [], []
        for claim, reason in refused:
            failures = claim.failures + 1
            if claim.key not in self._open:
                continue
            if self._pace.retrying.spread_s(failures) < self._pace.give_up_after_s:
                again.append(Refusal(claim=claim, reason=reason, delay_s=self._pace.retrying.delay_s(failures)))
            else:
                over.append(Result(claim=claim, state=OutputsState.FAILED, reason=_given_up(failures, reason)))
        if again:
            reasons = sorted({one.reason for one in again})
            log.warning("collection_refused", cluster=self._cluster, items=len(again), reasons=reasons[:_MOST_REASONS])
        await self._collections.refuse(again)
        self._forget([one.claim for one in again])
        await self.keep(over)

    async def _keep_alone(self, results: Sequence[Result], error: InvalidInput) -> None:
        """Write results that do not fit the catalog together one by one; the one that does not fit fails."""
        if len(results) == 1:
            if not results[0].rows:
                raise error
            await self.keep([Result(claim=results[0].claim, state=OutputsState.FAILED, reason=str(error))])
            return
        for result in results:
            await self.keep([result])

    def _forget(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._open.pop(claim.key, None)

    async def _renew(self) -> None:
        """Renew while a portion is collected; each of its waits is bounded by the shell, the database or the disk."""
        while True:
            await asyncio.sleep(self._pace.lease_s / 3)
            supervision.beat()
            try:
                await self._collections.renew(list(self._open.values()), lease_s=self._pace.lease_s)
            except (LeaseLost, DatabaseUnavailable) as error:
                # Nothing is lost: every write checks its lease.
                log.warning("leases_not_renewed", cluster=self._cluster, fault=str(error))


def _given_up(failures: int, reason: str) -> str:
    return f"given up after {failures} attempts: {reason}"
