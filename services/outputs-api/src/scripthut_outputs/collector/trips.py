"""The two round trips of a batch: list what its items hold, fetch the chosen files."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

import msgspec

from scripthut_common import supervision
from scripthut_common.clusters import Cluster
from scripthut_common.errors import BadOutput, LimitExceeded, TimedOut, Unreachable
from scripthut_common.shell import MIB, Program, RemoteShell
from scripthut_outputs import choosing, listing, reader, transfer, visibility
from scripthut_outputs.blobs import DiskBlobs
from scripthut_outputs.catalog.collections import Claim
from scripthut_outputs.catalog.relying import Relied
from scripthut_outputs.ledger import LedgerRow, Place

from .receiving import Asked, Receiver

_MAX_LISTING_BYTES = 1024 * MIB
# What the records around one file take on the wire, generously.
_FRAME_BYTES = 256
Fault = Unreachable | TimedOut | BadOutput | LimitExceeded
_FAULTS = (Unreachable, TimedOut, BadOutput, LimitExceeded)
T = TypeVar("T")


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """An item after the first round trip: what to fetch, what is left out, how much fetching it takes at most."""

    claim: Claim
    item: listing.Item
    owner: int
    choice: choosing.Choice
    verdict: visibility.Verdict
    size_bytes: int


class Trips:
    """Both round trips to one cluster. What a fault leaves complete is given all the same.

    Args:
        cluster: its limits.
        shell: the way there.
        blobs: where contents go.
        relied: tells the sweep what to leave alone.
        disk: one thread, so that writing, syncing and clearing away never overlap.
        max_batch_bytes: what one transfer carries at most, single larger items apart.
    """

    def __init__(
        self,
        cluster: Cluster,
        shell: RemoteShell,
        blobs: DiskBlobs,
        relied: Relied,
        disk: Executor,
        *,
        max_batch_bytes: int,
    ) -> None:
        self._max_batch_bytes = max_batch_bytes
        self._cluster = cluster
        self._shell = shell
        self._blobs = blobs
        self._relied = relied
        self._disk = disk
        self._text = reader.program_text()

    async def look(self, wanted: Sequence[tuple[Claim, listing.Item]]) -> tuple[list[Planned], Fault | None]:
        """List items in order; a fault ends the list early."""
        answer = listing.Answer()
        listings: list[listing.Listing] = []
        request = listing.request([item for _, item in wanted], self._cluster.collection)
        fault: Fault | None = None
        try:
            async with self._shell.stream(
                self._program("list-outputs", _MAX_LISTING_BYTES), *self._argv("list"), stdin=request
            ) as pieces:
                async for piece in pieces:
                    listings.extend(answer.feed(piece))
                    supervision.beat()
            if len(listings) < len(wanted):
                fault = BadOutput("the reader ended before the last item")
        except _FAULTS as error:
            fault = error
        return [self._plan(*one, found) for one, found in zip(wanted, listings, strict=False)], fault

    def _plan(self, claim: Claim, item: listing.Item, found: listing.Listing) -> Planned:
        verdict = visibility.decide(item, found, claim.held, _past(claim), self._cluster.visibility)
        choice = choosing.choose(
            item,
            found,
            self._cluster.collection,
            lacking=verdict.lacking,
            is_waiting=verdict.again_s is not None,
            # A new wish fetches everything anew; the looks that it takes do not.
            held=claim.held if claim.looks else {},
        )
        size_bytes = sum(self._limit_bytes(entry) + _FRAME_BYTES for entry in choice.take)
        return Planned(claim=claim, item=item, owner=found.owner, choice=choice, verdict=verdict, size_bytes=size_bytes)

    def _limit_bytes(self, entry: listing.Entry) -> int:
        """How much of a file may arrive: what was listed of it, or a log's end."""
        return self._cluster.collection.log_tail_bytes if _is_log(entry) else entry.size_bytes

    async def fetch(self, planned: Sequence[Planned]) -> tuple[list[list[LedgerRow]], Fault | None]:
        """Fetch the chosen files of the first items, as many as one transfer takes.

        Gives the ledger of each item that is complete and durable, in order.

        Raises:
            StoreUnavailable: the blob store is full or away.
        """
        planned = planned[: _fitting(planned, self._max_batch_bytes)]
        asked = dict(enumerate(Asked(item=plan.item, entry=entry) for plan in planned for entry in plan.choice.take))
        if not asked:
            return [list(plan.choice.left_out) for plan in planned], None
        receiver = Receiver(await self._on_disk(self._blobs.batch), asked)
        try:
            fault = await self._receive(planned, receiver)
            await self._relied.touch(receiver.sizes)
            await self._on_disk(receiver.settle)
        except BaseException:
            # Queued behind what the thread does just now; waited for by nobody, so that a cancelled task ends.
            self._disk.submit(receiver.abandon)
            raise
        return list(_ledgers(planned, receiver.rows)), fault

    async def _receive(self, planned: Sequence[Planned], receiver: Receiver) -> Fault | None:
        program = self._program("fetch-outputs", sum(plan.size_bytes for plan in planned) + MIB)
        request = transfer.request(list(self._parts(planned)))
        try:
            async with self._shell.stream(program, *self._argv("send"), stdin=request) as pieces:
                async for piece in pieces:
                    await self._on_disk(partial(receiver.feed, piece))
                    supervision.beat()
        except _FAULTS as error:
            return error
        return None if receiver.is_complete else BadOutput("the reader ended before the last file")

    def _parts(self, planned: Sequence[Planned]) -> Iterator[transfer.Part]:
        number = 0
        for plan in planned:
            for base, entries in _by_base(plan):
                files = []
                for path, entry in entries:
                    limit_bytes = self._limit_bytes(entry)
                    files.append(
                        transfer.FileWanted(number=number, path=path, limit_bytes=limit_bytes, is_tail=_is_log(entry))
                    )
                    number += 1
                yield transfer.Part(base=base, owner=plan.owner, files=tuple(files))

    def _argv(self, mode: str) -> tuple[str, str, str]:
        # The reader ends itself too, should its connection be lost unnoticed.
        return self._text, mode, str(int(self._cluster.transfer_timeout_s) + 60)

    def _program(self, name: str, max_stdout_bytes: int) -> Program:
        return Program(
            name=name,
            text=reader.SH,
            timeout_s=self._cluster.transfer_timeout_s,
            idle_timeout_s=self._cluster.command_timeout_s,
            max_stdout_bytes=max_stdout_bytes,
        )

    async def _on_disk(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)


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


def _ledgers(planned: Sequence[Planned], rows: dict[int, LedgerRow]) -> Iterator[list[LedgerRow]]:
    """Yield each item's whole ledger, up to the first that lacks a file."""
    first = 0
    for plan in planned:
        numbers = range(first, first + len(plan.choice.take))
        if any(number not in rows for number in numbers):
            return
        yield [*(rows[number] for number in numbers), *plan.choice.left_out]
        first = numbers.stop
