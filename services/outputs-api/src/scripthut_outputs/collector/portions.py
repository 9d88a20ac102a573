"""Collect one portion of what is due on one cluster: items share round trips, not fate."""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from scripthut_common.errors import BadOutput, DatabaseUnavailable, InvalidInput, LeaseLost, TransientError, Unreachable
from scripthut_common.retrying import COLLECTING
from scripthut_outputs import choosing, listing
from scripthut_outputs.catalog.collections import Claim, Collections
from scripthut_outputs.catalog.keeping import Keeping, Result
from scripthut_outputs.ledger import LedgerRow, OutputsState

from .trips import Fault, Planned, Trips

log = structlog.get_logger()
_MAX_ITEMS = 200
_LEASE_S = 30.0
_RENEW_S = 10.0
# With delays that double from 5 s to 10 min this is a day of attempts.
_MAX_FAILURES = 150


class ClusterCollector:
    """Collects from one cluster, one portion at a time."""

    def __init__(self, cluster: str, trips: Trips, collections: Collections, keeping: Keeping) -> None:
        self._cluster = cluster
        self._trips = trips
        self._collections = collections
        self._keeping = keeping
        self._open: dict[tuple[str, str], Claim] = {}
        self._trouble: str | None = None
        self._noted: str | None = "nothing yet"

    async def step(self) -> bool:
        """Collect one portion; `True` when there may be more.

        Raises:
            Unreachable: the cluster cannot be reached; everything waits for it.
            StoreUnavailable: the blob store is full or away; everything waits for it.
            DatabaseUnavailable: what is claimed is given back as soon as it returns.
        """
        await self._give_back()
        claims = await self._collections.claim_due(self._cluster, limit=_MAX_ITEMS, lease_s=_LEASE_S)
        self._open = {claim.key: claim for claim in claims}
        self._trouble = None
        fault = await self._collect_claims(claims)
        if fault is not None:
            await self._give_back()
            if not isinstance(fault, DatabaseUnavailable):
                await self._note(str(fault))
            raise fault
        if claims:
            await self._note(self._trouble)
        return bool(claims)

    async def _collect_claims(self, claims: Sequence[Claim]) -> TransientError | None:
        """Collect them all under their leases; give what stops everything, if anything does."""
        # One that failed before is tried alone, so that it costs no other the attempt.
        fresh = [claim for claim in claims if claim.failures == 0]
        batches = [fresh, *([claim] for claim in claims if claim.failures > 0)]
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(self._renew())
            try:
                for batch in batches:
                    await self._collect(batch)
            except TransientError as error:
                return error
            finally:
                renewing.cancel()
        return None

    async def _collect(self, claims: Sequence[Claim]) -> None:
        """Collect a batch, in several transfers if it is too large for one."""
        wanted = await self._locate(claims)
        while wanted:
            planned, fault = await self._trips.look(wanted)
            if isinstance(fault, Unreachable):
                raise fault
            await self._collections.show_collecting([plan.claim for plan in planned])
            done, late_fault = await self._fetch(planned)
            wanted = wanted[done:]
            if isinstance(late_fault, Unreachable):
                raise late_fault
            fault = fault or late_fault
            if fault is not None and wanted:
                await self._take_apart([claim for claim, _ in wanted], fault, has_moved=done > 0)
                return

    async def _locate(self, claims: Sequence[Claim]) -> list[tuple[Claim, listing.Item]]:
        """Tell where items lie; one that names no place, or an impossible one, ends here."""
        located, ended = [], []
        for claim in claims:
            try:
                item = _item(claim)
            except InvalidInput as error:
                ended.append(Result(claim=claim, state=OutputsState.FAILED, reason=str(error)))
                continue
            if item is None:
                ended.append(Result(claim=claim, state=OutputsState.NONE))
            else:
                located.append((claim, item))
        await self._keep(ended)
        return located

    async def _fetch(self, planned: Sequence[Planned]) -> tuple[int, Fault | None]:
        """Fetch and write as many as one transfer takes; tell how many are done, and what went wrong."""
        ledgers, fault = await self._trips.fetch(planned)
        results = [_result(plan, rows) for plan, rows in zip(planned, ledgers, strict=False)]
        await self._keep(results)
        return len(results), fault

    async def _take_apart(self, claims: Sequence[Claim], fault: Fault, *, has_moved: bool) -> None:
        """Halve what a fault left undone, until the item that it belongs to is alone."""
        if len(claims) > 1 and (has_moved or not isinstance(fault, BadOutput)):
            middle = len(claims) // 2
            await self._collect(claims[:middle])
            await self._collect(claims[middle:])
            return
        # A reader that does not even begin says nothing of any one item: each is tried alone next time.
        self._trouble = str(fault) if isinstance(fault, BadOutput) and not has_moved else self._trouble
        for claim in claims:
            await self._fail(claim, fault)

    async def _fail(self, claim: Claim, fault: Fault) -> None:
        log.warning("collection_failed", run_id=claim.run_id, task_id=claim.task_id, fault=str(fault))
        failures = claim.failures + 1
        if failures < _MAX_FAILURES:
            await self._collections.postpone(claim, str(fault), delay_s=COLLECTING.delay_s(failures))
            self._open.pop(claim.key, None)
        else:
            reason = f"given up after {failures} attempts: {fault}"
            await self._keep([Result(claim=claim, state=OutputsState.FAILED, reason=reason)])

    async def _keep(self, results: Sequence[Result]) -> None:
        if not results:
            return
        try:
            lost = await self._keeping.finish(results)
        except InvalidInput as error:
            await self._keep_alone(results, error)
            return
        for result in results:
            self._open.pop(result.claim.key, None)
        log.info(
            "outputs_collected",
            cluster=self._cluster,
            items=len(results),
            lost_leases=len(lost),
            files=sum(len(result.stored) for result in results),
            stored_bytes=sum(row.stored_bytes or 0 for result in results for row in result.stored),
        )

    async def _keep_alone(self, results: Sequence[Result], error: InvalidInput) -> None:
        """Write results that do not fit the catalog together one by one; the one that does not fit fails."""
        if len(results) == 1:
            if not results[0].rows:
                raise error
            await self._keep([Result(claim=results[0].claim, state=OutputsState.FAILED, reason=str(error))])
            return
        for result in results:
            await self._keep([result])

    async def _give_back(self) -> None:
        """Release what a fault left claimed; leases end by themselves if the database is away too long."""
        await self._collections.release(list(self._open.values()))
        self._open = {}

    async def _note(self, error: str | None) -> None:
        """Let pages say why this cluster's outputs wait."""
        if error != self._noted:
            await self._collections.note_cluster(self._cluster, error)
            self._noted = error

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            try:
                await self._collections.renew(list(self._open.values()), lease_s=_LEASE_S)
            except (LeaseLost, DatabaseUnavailable) as error:
                # Nothing is lost: every write checks its lease.
                log.warning("leases_not_renewed", cluster=self._cluster, fault=str(error))


def _item(claim: Claim) -> listing.Item | None:
    if not claim.output_dir:
        return None
    item = listing.locate(
        claim.run_id,
        claim.task_id,
        output_dir=claim.output_dir,
        run_summary_path=claim.run_summary_path,
        stdout_path=claim.stdout_path,
        stderr_path=claim.stderr_path,
        attempt=claim.attempt,
    )
    return msgspec.structs.replace(item, job_id=claim.job_id)


def _result(plan: Planned, rows: Sequence[LedgerRow]) -> Result:
    unique = {(row.place, row.path): plan.choice.noted(row) for row in rows}
    verdict = plan.verdict
    state = choosing.state_of(rows, has_kept=bool(plan.choice.kept))
    if verdict.again_s is not None:
        state = OutputsState.PARTIAL
    elif not verdict.is_complete:
        state = OutputsState.INCOMPLETE
    return Result(
        claim=plan.claim,
        rows=tuple(unique.values()),
        kept=frozenset((entry.place, entry.path) for entry in plan.choice.kept),
        state=state,
        reason=verdict.note,
        again_s=verdict.again_s,
        listing_sha256=verdict.listing_sha256,
    )
