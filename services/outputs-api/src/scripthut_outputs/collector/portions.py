"""Collect one portion of what is due on one cluster: items share round trips, not fate.

Two kinds of lanes work beside each other. In one, up to 200 items share two round trips. In the others items are
collected each alone: those that are large, those that failed, and those at which a portion stopped. So nothing that
hangs or is huge keeps others waiting for longer than one time-out.

Where owners are read as themselves, a portion is one owner's, and other lanes are about other owners meanwhile: who
cannot be become, or whose home hangs, has items that fail, and keeps nobody waiting.

What a fault means, and for whom:

| fault | what is done | counted for |
|:--|:--|:--|
| no connection; database or blob store away or full | everything waits, pages say why | nobody |
| the reader does not even begin: no python3, a host that hangs | the same | nobody |
| a portion stops at an item: silent, cut, garbled, over a limit | what came before is kept, it goes alone | nobody |
| an account cannot be become, or no reader begins as it | its items fail, and are tried again | these items |
| an output directory is not its run's owner's | the same | the item |
| a portion stops at an item alone, while the reader answers | later again: 5 s, doubling to 10 min | the item |
| so for 24 h of attempts | it rests as failed, with the reason | |
| the file system is silent for one place, while the reader answers | a row says so; further looks go alone | nobody |
| what may not be read, is gone or has changed | a row of the ledger says so: incomplete | |
| the same with what an exit record promises | later again until the deadline, then incomplete | nobody |
| an item that names no place, or an impossible one | it ends at once | |
"""

from collections.abc import Sequence

import msgspec

from scripthut_common.clusters import Cluster
from scripthut_common.errors import (
    AccountRefused,
    BadOutput,
    DatabaseUnavailable,
    InvalidInput,
    LimitExceeded,
    NoConnection,
    TimedOut,
    Unreachable,
)
from scripthut_outputs import choosing, listing, owning, visibility
from scripthut_outputs.catalog.claims import Claim
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.catalog.keeping import Result
from scripthut_outputs.fetching import Fault
from scripthut_outputs.ledger import OutputsState

from .leases import Leases
from .metrics import ClusterMetrics
from .owners import Owners
from .pace import Pace
from .stalls import Stalls
from .trips import Planned, Trips, Whole

Wanted = tuple[Claim, listing.Item]


class Lane:
    """What both kinds of lanes of one cluster do: one portion at a time.

    Args:
        trips: the ways there, of this lane alone.
        collections: what is due.
        owners: who is next.
        held: what this lane holds.
        stalls: what stalled of late, the same for all lanes of the cluster.
    """

    def __init__(
        self,
        trips: Trips,
        collections: Collections,
        owners: Owners,
        held: Leases,
        stalls: Stalls,
        pace: Pace,
        metrics: ClusterMetrics,
    ) -> None:
        self._cluster = trips.cluster
        self._trips = trips
        self._collections = collections
        self._owners = owners
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
            await self._collections.note_cluster(self._cluster.name, None)
            return
        self._metrics.count_fault(fault)
        if not isinstance(fault, DatabaseUnavailable):
            await self._collections.note_cluster(self._cluster.name, str(fault))
        raise fault

    async def _collect(self, claims: Sequence[Claim]) -> None:
        """Collect account by account, of which there is one for each owner, or one for all."""
        for account, wanted in (await self._locate(claims)).items():
            try:
                await self._collect_as(account, wanted)
            except (Unreachable, TimedOut, BadOutput, LimitExceeded) as fault:
                if account is None:
                    raise
                await self._refuse_account(account, wanted, fault)

    async def _collect_as(self, account: str | None, wanted: Sequence[Wanted]) -> None:
        raise NotImplementedError

    async def _locate(self, claims: Sequence[Claim]) -> dict[str | None, list[Wanted]]:
        """Tell where items lie, by the account that reads them; one that names no place, or an impossible one, ends."""
        located: dict[str | None, list[Wanted]] = {}
        ended, refused = [], []
        for claim in claims:
            try:
                item = _item(self._cluster, claim)
            except InvalidInput as error:
                ended.append(Result(claim=claim, state=OutputsState.FAILED, reason=str(error)))
                continue
            match item:
                case None:
                    ended.append(Result(claim=claim, state=OutputsState.NONE))
                case owning.Refused(reason=reason):
                    refused.append((claim, reason))
                case listing.Item():
                    located.setdefault(item.whose.reader, []).append((claim, item))
        await self._held.keep(ended)
        await self._held.refuse(refused)
        return located

    async def _refuse(self, planned: Sequence[Planned]) -> list[Planned]:
        """Let items fail of which nothing may be read; give the others."""
        await self._held.refuse([(plan.claim, plan.refusal) for plan in planned if plan.refusal is not None])
        return [plan for plan in planned if plan.refusal is None]

    async def _refuse_account(self, account: str, wanted: Sequence[Wanted], fault: Fault) -> None:
        """Let what is left of an account's items fail: it is closed to us, or nothing can be done as it.

        Raises:
            Unreachable: it is the cluster that cannot be reached.
        """
        if isinstance(fault, Unreachable) and not isinstance(fault, NoConnection):
            _, broken = await self._trips.look(account, [])
            fault = broken if isinstance(broken, NoConnection) else fault
        if isinstance(fault, NoConnection) and not isinstance(fault, AccountRefused):
            raise fault
        self._metrics.count_fault(fault)
        await self._held.refuse([(claim, str(fault)) for claim, _ in wanted])

    async def _keep(self, whole: Sequence[Whole]) -> None:
        """Write items as they become whole."""
        await self._held.keep([_result(one, self._trips.verdict_of(one)) for one in whole])
        self._trips.note(whole)
        for one in whole:
            if not one.plan.has_stalled:
                self._stalls.end(one.plan.claim.run_id)

    async def _require_reader(self, account: str | None, fault: Fault) -> None:
        """See whether the reader answers at all, when it stopped before it said anything, or was cut.

        Raises:
            Unreachable, TimedOut, BadOutput: it does not: no item is to blame.
        """
        if isinstance(fault, NoConnection):
            raise fault
        _, broken = await self._trips.look(account, [])
        if broken is not None:
            raise broken


class SharedLane(Lane):
    """Collects items together."""

    _has_more = False

    async def step(self) -> bool:
        """Collect a portion; `True` when there may be more at once. Raises what `_collect_all` does."""
        await self._held.release()
        most = self._pace.max_items
        lease_s, left_out = self._pace.lease_s, self._stalls.left_out
        async with self._owners.claim(limit=most, lease_s=lease_s, skipped_runs=left_out) as claims:
            self._has_more = 2 * len(claims) >= most or (self._owners.is_each and bool(claims))
            if claims:
                await self._collect_all(claims)
        return self._has_more

    async def _collect_as(self, account: str | None, wanted: Sequence[Wanted]) -> None:
        planned, fault = await self._trips.look(account, wanted)
        if fault is not None and len(planned) < len(wanted):
            await self._stop_at(account, wanted[len(planned)][0], fault, has_moved=bool(planned))
        for run_id in sorted({plan.claim.run_id for plan in planned if plan.has_stalled}):
            self._stalls.note(run_id)
        planned = await self._refuse(planned)
        large = [plan.claim for plan in planned if plan.size_bytes > self._pace.large_bytes]
        await self._held.set_aside(large)
        fitting = [plan for plan in planned if plan.size_bytes <= self._pace.large_bytes]
        if not fitting:
            return
        await self._collections.show_collecting([plan.claim for plan in fitting])
        done, fault = await self._trips.fetch(fitting, self._keep)
        if fault is not None and done < len(fitting):
            await self._stop_at(account, fitting[done].claim, fault, has_moved=True)
        # What did not fit into this transfer is given back, and claimed again in turn.
        self._has_more = self._has_more or done < len(fitting)

    async def _stop_at(self, account: str | None, claim: Claim, fault: Fault, *, has_moved: bool) -> None:
        """Take the item out at which the reader, that goes from one to the next, has stopped; the others go on.

        Raises:
            Unreachable, TimedOut, BadOutput: nothing can be had of the cluster, or as the account, just now.
        """
        if isinstance(fault, NoConnection) or not has_moved:
            await self._require_reader(account, fault)
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
        async with self._owners.claim(limit=1, lease_s=self._pace.lease_s) as claims:
            if claims:
                await self._collect_all(claims)
        return bool(claims)

    async def _collect_as(self, account: str | None, wanted: Sequence[Wanted]) -> None:
        for one in wanted:
            await self._collect_one(account, one)

    async def _collect_one(self, account: str | None, wanted: Wanted) -> None:
        claim, _ = wanted
        planned, fault = await self._trips.look(account, [wanted])
        if any(plan.refusal for plan in planned):
            await self._refuse(planned)
            return
        done = 0
        if planned:
            await self._collections.show_collecting([claim])
            done, fault = await self._trips.fetch(planned, self._keep)
        if fault is None or done:
            return
        if isinstance(fault, Unreachable) or not planned:
            await self._require_reader(account, fault)
        self._metrics.count_fault(fault)
        await self._held.fail(claim, fault)


def _item(cluster: Cluster, claim: Claim) -> listing.Item | owning.Refused | None:
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
    whose = owning.decide(cluster, claim.run, is_in_place=item.is_in_place)
    if isinstance(whose, owning.Refused):
        return whose
    return msgspec.structs.replace(item, job_id=claim.job_id, whose=whose)


def _result(whole: Whole, verdict: visibility.Verdict) -> Result:
    plan = whole.plan
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
