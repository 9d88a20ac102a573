"""The two round trips of a batch: list what its items hold, fetch the chosen files."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import TypeVar

import msgspec

from scripthut_common.clusters import Cluster
from scripthut_common.errors import BadOutput
from scripthut_common.shell import MIB
from scripthut_common.shell.accounts import AccountShells
from scripthut_outputs import choosing, listing, owning, transfer, visibility
from scripthut_outputs.blobs import Batch, BlobStore
from scripthut_outputs.catalog.claims import Claim
from scripthut_outputs.catalog.quotas import Allowance, Quotas
from scripthut_outputs.catalog.relying import Relied
from scripthut_outputs.fetching import Asked, Asking, Fault, Receiver
from scripthut_outputs.ledger import LedgerRow, Place
from scripthut_outputs.reading import STRANGER

from .pace import Pace

_MAX_LISTING_BYTES = 1024 * MIB
# What the records around one file take on the wire, generously.
_FRAME_BYTES = 256
T = TypeVar("T")


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """An item after the first round trip: what to fetch, what is left out, how much fetching it takes at most.

    `refusal` says why nothing of it may be read; `has_stalled`: the reader waited in vain for some of it.
    """

    claim: Claim
    item: listing.Item
    owner: int
    choice: choosing.Choice
    verdict: visibility.Verdict
    size_bytes: int
    has_stalled: bool = False
    refusal: str | None = None


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """An item after the second round trip: its whole ledger, whose blobs are durable."""

    plan: Planned
    rows: Sequence[LedgerRow]


Keep = Callable[[Sequence[Whole]], Awaitable[None]]


class Trips:
    """Both round trips to one cluster. What a fault leaves complete is given all the same.

    Args:
        cluster: its limits.
        shells: the ways there.
        blobs: where contents go.
        relied: tells the sweep what to leave alone.
        quotas: how much more may be stored of whom.
        disk: one thread, so that writing, syncing and clearing away never overlap.
        pace: what one transfer carries at most, single larger items apart, and how often it is made durable.
    """

    def __init__(
        self,
        cluster: Cluster,
        shells: AccountShells,
        blobs: BlobStore,
        relied: Relied,
        quotas: Quotas,
        disk: Executor,
        pace: Pace,
    ) -> None:
        self._pace = pace
        self.cluster = cluster
        self._asking = Asking(cluster, shells)
        self._blobs = blobs
        self._relied = relied
        self._quotas = quotas
        self._disk = disk

    async def look(
        self, account: str | None, wanted: Sequence[tuple[Claim, listing.Item]]
    ) -> tuple[list[Planned], Fault | None]:
        """List items in order, all as one account; a fault ends the list early."""
        answer = listing.Answer()
        listings: list[listing.Listing] = []
        items = [item for _, item in wanted]

        async def take(piece: bytes) -> None:
            listings.extend(answer.feed(piece))

        question, fault = await self._asking.ask(
            account, "list-outputs", _MAX_LISTING_BYTES, lambda way: way.to_list(items, self.cluster.collection), take
        )
        if fault is None and len(listings) < len(wanted):
            fault = BadOutput("the reader ended before the last item")
        allowed = await self._quotas.allow(_wanted_bytes(wanted, listings))
        planned = [self._plan(*one, found, allowed[one[0].owner]) for one, found in zip(wanted, listings, strict=False)]
        return [
            msgspec.structs.replace(plan, refusal=STRANGER) if at in question.strangers else plan
            for at, plan in enumerate(planned)
        ], fault

    def _plan(self, claim: Claim, item: listing.Item, found: listing.Listing, allowed: Allowance) -> Planned:
        verdict = visibility.decide(item, found, claim.held, _past(claim), self.cluster.visibility)
        choice = choosing.choose(
            item,
            found,
            self.cluster.collection,
            lacking=verdict.lacking,
            is_waiting=verdict.again_s is not None,
            # A new wish fetches everything anew; the looks that it takes do not.
            held=claim.held if claim.looks else {},
            quota=allowed.room(claim.held),
        )
        allowed.take(choice)
        size_bytes = sum(self._limit_bytes(choice, entry) + _FRAME_BYTES for entry in choice.take)
        return Planned(
            claim=claim,
            item=item,
            owner=found.owner,
            choice=choice,
            verdict=verdict,
            size_bytes=size_bytes,
            has_stalled=found.has_stalled,
            refusal=None if found.stranger is None else owning.explain(self.cluster, item.whose, found.stranger),
        )

    def note(self, whole: Sequence[Whole]) -> None:
        """Note whose items are written, for their quotas."""
        for one in whole:
            self._quotas.note(one.plan.claim.owner, one.plan.choice)

    def verdict_of(self, whole: Whole) -> visibility.Verdict:
        """Judge an item anew after the second round trip."""
        plan = whole.plan
        return visibility.decide_fetched(plan.verdict, whole.rows, _past(plan.claim), self.cluster.visibility)

    def _limit_bytes(self, choice: choosing.Choice, entry: listing.Entry) -> int:
        """How much of a file may arrive: what was listed of it, or a log's end."""
        if not _is_log(entry):
            return entry.size_bytes
        tail_bytes = self.cluster.collection.log_tail_bytes
        return min(tail_bytes, choosing.BRIEF_TAIL_BYTES) if entry.place in choice.brief else tail_bytes

    async def fetch(self, planned: Sequence[Planned], keep: Keep) -> tuple[int, Fault | None]:
        """Fetch the chosen files of the first items, as many as one transfer takes; tell how many are complete.

        All are read as the account that the first is read as.
        Items that are complete and durable are given to `keep`, in order, while others still arrive: what stalls
        later takes nothing from them.

        Raises:
            StoreUnavailable: the blob store is full or away.
        """
        planned = planned[: _fitting(planned, self._pace.max_batch_bytes)]
        asked = dict(enumerate(Asked(item=plan.item, entry=entry) for plan in planned for entry in plan.choice.take))
        if not asked:
            await keep([Whole(plan=plan, rows=plan.choice.left_out) for plan in planned])
            return len(planned), None
        receiver = Receiver(await self._on_disk(self._blobs.batch), asked)
        arriving = Arriving(planned, receiver)
        ended = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._settle_as_it_arrives(arriving, ended, keep))
                fault = await self._receive(planned, receiver)
                ended.set()
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None
        finally:
            # Queued behind what the thread does just now; waited for by nobody, so that a cancelled task ends.
            self._disk.submit(receiver.abandon)
        return arriving.given, fault

    async def _settle_as_it_arrives(self, arriving: "Arriving", ended: asyncio.Event, keep: Keep) -> None:
        """Make whole items durable and give them away, every now and then and at the end."""
        while not ended.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.settle_every_s):
                    await ended.wait()
            portion = await self._on_disk(arriving.portion)
            if portion is not None:
                await self._settle(*portion, keep)

    async def _settle(self, batch: Batch, whole: Sequence[Whole], keep: Keep) -> None:
        try:
            await self._relied.touch(batch.sizes)
            await self._on_disk(batch.settle)
        except BaseException:
            self._disk.submit(batch.abandon)
            raise
        await keep(whole)

    async def _receive(self, planned: Sequence[Planned], receiver: Receiver) -> Fault | None:
        parts = list(self._parts(planned))

        async def take(piece: bytes) -> None:
            await self._on_disk(partial(receiver.feed, piece))

        max_stdout_bytes = sum(plan.size_bytes for plan in planned) + MIB
        _, fault = await self._asking.ask(
            planned[0].item.whose.reader, "fetch-outputs", max_stdout_bytes, lambda way: way.to_send(parts), take
        )
        if fault is not None:
            return fault
        return None if receiver.is_complete else BadOutput("the reader ended before the last file")

    def _parts(self, planned: Sequence[Planned]) -> Iterator[transfer.Part]:
        number = 0
        for plan in planned:
            for base, entries in _by_base(plan):
                files = []
                for path, entry in entries:
                    limit_bytes = self._limit_bytes(plan.choice, entry)
                    files.append(
                        transfer.FileWanted(number=number, path=path, limit_bytes=limit_bytes, is_tail=_is_log(entry))
                    )
                    number += 1
                yield transfer.Part(base=base, owner=plan.owner, files=tuple(files))

    async def _on_disk(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)


def _wanted_bytes(wanted: Sequence[tuple[Claim, listing.Item]], listings: Sequence[listing.Listing]) -> dict[str, int]:
    """How much was listed of each person's."""
    sums: dict[str, int] = {}
    for (claim, _), found in zip(wanted, listings, strict=False):
        sums[claim.owner] = sums.get(claim.owner, 0) + sum(entry.size_bytes for entry in found.entries)
    return sums


def _fitting(planned: Sequence[Planned], max_bytes: int) -> int:
    """How many items fit into one transfer; at least one."""
    size_bytes = 0
    for count, plan in enumerate(planned):
        size_bytes += plan.size_bytes
        if count and size_bytes > max_bytes:
            return count
    return len(planned)


def _past(claim: Claim) -> visibility.Past:
    return visibility.Past(
        looks=claim.looks,
        first_looked_at=claim.first_looked_at,
        listing_sha256=claim.listing_sha256,
        listed_at=claim.listed_at,
        now=claim.claimed_at,
    )


def _is_log(entry: listing.Entry) -> bool:
    return entry.place in {Place.STDOUT, Place.STDERR}


def _by_base(plan: Planned) -> list[tuple[bytes, list[tuple[bytes, listing.Entry]]]]:
    """Group an item's files by base directory without changing their order."""
    groups: list[tuple[bytes, list[tuple[bytes, listing.Entry]]]] = []
    for entry in plan.choice.take:
        folder = plan.item.folder_of(entry.place)
        path = b"/".join(part for part in (folder.path, entry.path) if part)
        if not groups or groups[-1][0] != folder.base:
            groups.append((folder.base, []))
        groups[-1][1].append((path, entry))
    return groups


class Arriving:
    """The items of one transfer, in order: which have arrived whole and were not yet given away."""

    def __init__(self, planned: Sequence[Planned], receiver: Receiver) -> None:
        self._planned = planned
        self._receiver = receiver
        self._first_file = 0
        self.given = 0

    def portion(self) -> tuple[Batch, list[Whole]] | None:
        """Give the items that have become whole with the blobs that have arrived; `None` when there are none."""
        whole: list[Whole] = []
        for plan in self._planned[self.given :]:
            numbers = range(self._first_file, self._first_file + len(plan.choice.take))
            if any(number not in self._receiver.rows for number in numbers):
                break
            rows = [*(self._receiver.rows[number] for number in numbers), *plan.choice.left_out]
            whole.append(Whole(plan=plan, rows=rows))
            self._first_file = numbers.stop
        self.given += len(whole)
        return (self._receiver.portion(), whole) if whole else None
