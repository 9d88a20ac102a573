"""The one round trip of a look: listings and what changed of running items, into blobs."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

import msgspec

from scripthut_common.clusters import Cluster, CollectionLimits
from scripthut_common.errors import BadOutput
from scripthut_common.shell import MIB
from scripthut_common.shell.accounts import AccountShells
from scripthut_outputs import choosing, listing, updates
from scripthut_outputs.blobs import Batch, BlobStore
from scripthut_outputs.catalog.following import FileKey, Running
from scripthut_outputs.catalog.relying import Relied
from scripthut_outputs.fetching import Asked, Asking, Fault, Receiver
from scripthut_outputs.ledger import LedgerRow

# What names and records take on the wire, generously.
_NAME_BYTES = 4096
# So many files that are left out are named of an item while it runs; the ledger at its end names all.
_NAMED_LEFT_OUT = 200
T = TypeVar("T")


class Glanced(msgspec.Struct, frozen=True, kw_only=True):
    """An item after a look: what it holds, what is to be kept of that, and the rows of the files that were sent.

    `is_cut`: the answer ended in the middle of one of its files.
    """

    running: Running
    found: listing.Listing
    choice: choosing.Choice
    sent: Mapping[FileKey, LedgerRow]
    is_cut: bool = False


class Trips:
    """Round trips to one cluster.

    Args:
        cluster: its limits.
        shells: the ways there.
        blobs: where contents go.
        relied: tells the sweep what to leave alone.
        disk: one thread.
        max_names: after so many files no further item is listed.
    """

    def __init__(
        self,
        cluster: Cluster,
        shells: AccountShells,
        blobs: BlobStore,
        relied: Relied,
        disk: Executor,
        *,
        max_names: int,
    ) -> None:
        named = min(cluster.collection.max_named_rows, cluster.collection.max_files + _NAMED_LEFT_OUT)
        self._limits = msgspec.structs.replace(cluster.collection, max_named_rows=named)
        self._budget = updates.Budget(max_bytes=cluster.follow_max_bytes, max_names=max_names)
        self._asking = Asking(cluster, shells)
        self._blobs = blobs
        self._relied = relied
        self._disk = disk

    async def look(
        self,
        account: str | None,
        wanted: Sequence[tuple[Running, listing.Item]],
        known: Sequence[updates.Files],
    ) -> tuple[list[Glanced], Fault | None]:
        """Look at items, all as one account.

        What was seen of the first of them is durable, whatever kept the reader from the others.

        Raises:
            NoFollowing: the cluster has no python3.
            StoreUnavailable: the blob store is full or away.
            DatabaseUnavailable: nothing may be relied on.
        """
        batch = await self._on_disk(self._blobs.batch)
        arriving = Arriving(wanted, self._limits, batch)
        reader = self._asking.strict_of(account)
        question = reader.to_follow([item for _, item in wanted], known, self._limits, self._budget)

        async def take(piece: bytes) -> None:
            await self._on_disk(partial(arriving.feed, piece))

        try:
            fault = await self._asking.run(account, "follow-outputs", self._max_answer_bytes, question, take)
            if question.answer.is_lacking:
                raise NoFollowing
            portion = await self._on_disk(arriving.portion)
            await self._relied.touch(portion.sizes)
            await self._on_disk(portion.settle)
        finally:
            self._disk.submit(arriving.abandon)
        return arriving.glanced(), fault

    @property
    def _max_answer_bytes(self) -> int:
        names = 2 * self._budget.max_names + listing.MAX_WALKED
        return 2 * self._budget.max_bytes + names * _NAME_BYTES + MIB

    async def _on_disk(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)


class NoFollowing(Exception):
    """The cluster has no python3."""


class Arriving:
    """What arrives of one look; blocks, for one thread."""

    def __init__(self, wanted: Sequence[tuple[Running, listing.Item]], limits: CollectionLimits, batch: Batch) -> None:
        self._wanted = wanted
        self._limits = limits
        self._answer = updates.Answer()
        self._asked: dict[int, Asked] = {}
        self._named: dict[int, updates.Named] = {}
        self._receiver = Receiver(batch, self._asked)
        self._listings: list[listing.Listing] = []
        self._entries: list[dict[FileKey, listing.Entry]] = []

    def feed(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            BadOutput: it is not an answer of the reader.
            StoreUnavailable: the blob store is full or away.
        """
        for told in self._answer.feed(piece):
            match told:
                case listing.Listing():
                    self._listings.append(told)
                    self._entries.append({(entry.place, entry.path): entry for entry in told.entries})
                case updates.Named():
                    self._expect(told)
                case _:
                    self._receiver.take(told)

    def portion(self) -> Batch:
        """Give the blobs that are whole, to settle."""
        return self._receiver.portion()

    def abandon(self) -> None:
        """Remove what arrived and was not settled."""
        self._receiver.abandon()

    def glanced(self) -> list[Glanced]:
        """Tell what was seen of the items that were listed."""
        cut = {named.item for number, named in self._named.items() if number not in self._receiver.rows}
        sent: list[dict[FileKey, LedgerRow]] = [{} for _ in self._listings]
        for number, row in self._receiver.rows.items():
            named = self._named[number]
            sent[named.item][named.place, named.path] = row
        return [
            Glanced(
                running=running,
                found=found,
                choice=choosing.choose(item, found, self._limits),
                sent=of_item,
                is_cut=at in cut,
            )
            for at, ((running, item), found, of_item) in enumerate(
                zip(self._wanted, self._listings, sent, strict=False)
            )
        ]

    def _expect(self, named: updates.Named) -> None:
        entry = None
        if named.item < len(self._entries):
            entry = self._entries[named.item].get((named.place, named.path))
        if entry is None or named.number in self._asked:
            raise BadOutput("the reader's answer is garbled: a file that was not listed")
        self._named[named.number] = named
        self._asked[named.number] = Asked(item=self._wanted[named.item][1], entry=entry)
