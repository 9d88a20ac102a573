"""Collect one portion of what is due on one cluster: items share round trips, not fate.

Two kinds of lanes work beside each other. In one, up to 200 items share two round trips. In the others items are
collected each alone: those that are large, those that failed, and those at which a portion stopped. So nothing that
hangs or is huge keeps others waiting for longer than one time-out.

What a fault means, and for whom:

| fault | what is done | counted for |
|:--|:--|:--|
| no connection; database or blob store away or full | everything waits, pages say why | nobody |
| the reader does not even begin: no python3, a host that hangs | the same | nobody |
| a portion stops at an item: silent, cut, garbled, over a limit | what came before is kept, it goes alone | nobody |
| the same with an item alone, while the reader answers | later again: 5 s, doubling to 10 min | the item |
| so for 24 h of attempts | it rests as failed, with the reason | |
| the file system is silent for one place, while the reader answers | a row says so; further looks go alone | nobody |
| what may not be read, is gone or has changed | a row of the ledger says so: incomplete | |
| the same with what an exit record promises | later again until the deadline, then incomplete | nobody |
| an item that names no place, or an impossible one | it ends at once | |
"""

from collections.abc import Sequence

import msgspec

from scripthut_common.errors import DatabaseUnavailable, InvalidInput, NoConnection, TimedOut, Unreachable
from scripthut_outputs import choosing, listing, visibility
from scripthut_outputs.catalog.collections import Claim, Collections
from scripthut_outputs.catalog.keeping import Result
from scripthut_outputs.fetching import Fault
from scripthut_outputs.ledger import OutputsState

from .leases import Leases
from .metrics import ClusterMetrics
from .pace import Pace
from .stalls import Stalls
from .trips import Trips, Whole

Wanted = tuple[Claim, listing.Item]


class Lane:
    """What both kinds of lanes of one cluster do: one portion at a time.

    Args:
        cluster: its name.
        trips: the way there, of this lane alone.
        collections: what is due.
        held: what this lane holds.
        stalls: what stalled of late, the same for all lanes of the cluster.
    """

    def __init__(
        self,
        cluster: str,
        trips: Trips,
        collections: Collections,
        held: Leases,
        stalls: Stalls,
        pace: Pace,
        metrics: ClusterMetrics,
    ) -> None:
        self._cluster = cluster
        self._trips = trips
        self._collections = collections
        self._held = held
        self._stalls = stalls
        self._pace = pace
        self._metrics = metrics

    async def _collect_all(self, claims: Sequence[Claim]) -> None:
        """Collect a portion.

        Raises:
            Unreachable: the cluster cannot be reached; everything waits for it.
            TimedOut, BadOutput: its reader does not even begin.
            StoreUnavailable: the blob store is full or away; everything waits for it.
            DatabaseUnavailable: what is claimed is given back as soon as it returns.
        """
        fault = await self._held.work_on(claims, lambda: self._collect(claims))
        if fault is None:
            await self._collections.note_cluster(self._cluster, None)
            return
        self._metrics.count_fault(fault)
        if not isinstance(fault, DatabaseUnavailable):
            await self._collections.note_cluster(self._cluster, str(fault))
        raise fault

    async def _collect(self, claims: Sequence[Claim]) -> None:
        raise NotImplementedError

    async def _locate(self, claims: Sequence[Claim]) -> list[Wanted]:
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
        await self._held.keep(ended)
        return located

    async def _keep(self, whole: Sequence[Whole]) -> None:
        """Write items as they become whole."""
        await self._held.keep([_result(one, self._trips.verdict_of(one)) for one in whole])
        self._trips.note(whole)
        for one in whole:
            if not one.plan.has_stalled:
                self._stalls.end(one.plan.claim.run_id)

    async def _require_reader(self, fault: Fault) -> None:
        """See whether the reader answers at all, when it stopped before it said anything, or was cut.

        Raises:
            Unreachable, TimedOut, BadOutput: it does not: no item is to blame.
        """
        if isinstance(fault, NoConnection):
            raise fault
        _, broken = await self._trips.look([])
        if broken is not None:
            raise broken


class SharedLane(Lane):
    """Collects items together."""

    _has_more = False

    async def step(self) -> bool:
        """Collect a portion; `True` when there may be more at once. Raises what `_collect_all` does."""
        await self._held.release()
        claims = await self._collections.claim_due(
            self._cluster,
            limit=self._pace.max_items,
            lease_s=self._pace.lease_s,
            skipped_runs=self._stalls.left_out,
        )
        self._has_more = 2 * len(claims) >= self._pace.max_items
        if claims:
            await self._collect_all(claims)
        return self._has_more

    async def _collect(self, claims: Sequence[Claim]) -> None:
        wanted = await self._locate(claims)
        if not wanted:
            return
        planned, fault = await self._trips.look(wanted)
        if fault is not None and len(planned) < len(wanted):
            await self._stop_at(wanted[len(planned)][0], fault, has_moved=bool(planned))
        for run_id in sorted({plan.claim.run_id for plan in planned if plan.has_stalled}):
            self._stalls.note(run_id)
        large = [plan.claim for plan in planned if plan.size_bytes > self._pace.large_bytes]
        await self._held.set_aside(large)
        fitting = [plan for plan in planned if plan.size_bytes <= self._pace.large_bytes]
        await self._collections.show_collecting([plan.claim for plan in fitting])
        done, fault = await self._trips.fetch(fitting, self._keep)
        if fault is not None and done < len(fitting):
            await self._stop_at(fitting[done].claim, fault, has_moved=True)
        # What did not fit into this transfer is given back, and claimed again in turn.
        self._has_more = self._has_more or done < len(fitting)

    async def _stop_at(self, claim: Claim, fault: Fault, *, has_moved: bool) -> None:
        """Take the item out at which the reader, that goes from one to the next, has stopped; the others go on.

        Raises:
            Unreachable, TimedOut, BadOutput: nothing can be had of the cluster just now.
        """
        if isinstance(fault, NoConnection) or not has_moved:
            await self._require_reader(fault)
        if isinstance(fault, TimedOut):
            self._stalls.note(claim.run_id)
        await self._held.set_aside([claim], fault)
        if isinstance(fault, Unreachable):
            raise fault
        self._metrics.count_fault(fault)
        self._has_more = True


class AloneLane(Lane):
    """Collects one item after the other, each in trips of its own."""

    async def step(self) -> bool:
        """Collect one item; `True` when there may be more. Raises what `_collect_all` does."""
        await self._held.release()
        claims = await self._collections.claim_due(self._cluster, limit=1, lease_s=self._pace.lease_s, is_alone=True)
        if claims:
            await self._collect_all(claims)
        return bool(claims)

    async def _collect(self, claims: Sequence[Claim]) -> None:
        for wanted in await self._locate(claims):
            await self._collect_one(wanted)

    async def _collect_one(self, wanted: Wanted) -> None:
        claim, _ = wanted
        planned, fault = await self._trips.look([wanted])
        done = 0
        if planned:
            await self._collections.show_collecting([claim])
            done, fault = await self._trips.fetch(planned, self._keep)
        if fault is None or done:
            return
        if isinstance(fault, Unreachable) or not planned:
            await self._require_reader(fault)
        self._metrics.count_fault(fault)
        await self._held.fail(claim, fault)


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


def _result(whole: Whole, verdict: visibility.Verdict) -> Result:
    plan = whole.plan
    if plan.refusal:
        return Result(claim=plan.claim, state=OutputsState.FAILED, reason=plan.refusal)
    unique = {(row.place, row.path): plan.choice.noted(row) for row in whole.rows}
    state = choosing.state_of(whole.rows, has_kept=bool(plan.choice.kept))
    if verdict.again_s is not None:
        state = OutputsState.PARTIAL
    elif not verdict.is_complete:
        state = OutputsState.INCOMPLETE
    return Result(
        claim=plan.claim,
        rows=tuple(unique.values()),
        kept=frozenset((entry.place, entry.path) for entry in plan.choice.kept),
        is_all_named=verdict.is_all_named,
        state=state,
        reason=verdict.note,
        again_s=verdict.again_s,
        is_alone=plan.has_stalled,
        listing_sha256=verdict.listing_sha256,
    )
