"""Look at every blob that stored files refer to, and at every blob that none does; a few at a time."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from scripthut_common.errors import NotFound
from scripthut_outputs.blobs import StoredBlob, is_there
from scripthut_outputs.catalog.verifying import Held, Scope, Verified

from .faults import Fault, What

_PAGE = 500
_AT_ONCE = 4
_DONE = {What.MISSING: "missing from the store on", What.DAMAGED: "damaged in the store on"}


class Blobs(Protocol):
    """What verifying asks of the blob store."""

    async def size(self, sha256: str) -> int:
        """The size of a blob in bytes."""

    def stream(self, sha256: str) -> AsyncIterator[bytes]:
        """The blob's bytes in pieces."""

    async def set_aside(self, sha256: str) -> None:
        """Move a damaged blob away."""

    def list_blobs(self) -> AsyncIterator[StoredBlob]:
        """Every blob of the store."""


class Verifier:
    """Holds the ledger against the store. No transaction is open while the store is asked.

    Args:
        verified: the ledger.
        blobs: the store.
        is_fast: believe a blob that has the right size.
        is_repairing: give up what is lost, so that it is collected again; let the sweep know what nobody knows.
        progress: is called often while it looks.

    Attributes:
        blobs_seen: how many were looked at so far.
        bytes_read: how much of them was read.
    """

    def __init__(
        self,
        verified: Verified,
        blobs: Blobs,
        *,
        is_fast: bool = False,
        is_repairing: bool = False,
        progress: "Callable[[Verifier], None]" = lambda _: None,
    ) -> None:
        self._verified = verified
        self._blobs = blobs
        self._is_fast = is_fast
        self._is_repairing = is_repairing
        self._progress = progress
        self.blobs_seen = 0
        self.bytes_read = 0

    async def look(self, scope: Scope) -> AsyncIterator[Fault]:
        """Yield what is wrong, as it is found. Blobs that nobody knows are looked for where nothing is left out.

        Raises:
            NotFound: there is no such cluster or run.
            StoreUnavailable: the store does not answer.
            DatabaseUnavailable: the database does not.
        """
        if not await self._verified.knows(scope):
            raise NotFound(f"the catalog has nothing of {scope.run_id or scope.cluster!r}")
        after = ""
        while page := await self._verified.page(scope, after=after, limit=_PAGE):
            for first in range(0, len(page), _AT_ONCE):
                for fault in await self._compare(page[first : first + _AT_ONCE]):
                    yield fault
            after = page[-1].sha256
        if scope.is_all:
            async for fault in self._strangers():
                yield fault

    async def _compare(self, portion: Sequence[Held]) -> list[Fault]:
        """Compare some blobs at the same time."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._look_at(held)) for held in portion]
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None
        return [await self._told(fault) for task in tasks if (fault := task.result()) and await self._is_held(fault)]

    async def _look_at(self, held: Held) -> Fault | None:
        self.blobs_seen += 1
        self._progress(self)
        fault = Fault(
            what=What.MISSING, sha256=held.sha256, files=held.files, expected_bytes=held.most_bytes, found_bytes=None
        )
        try:
            found_bytes = await self._blobs.size(held.sha256)
            is_right_size = held.least_bytes == held.most_bytes == found_bytes
            is_whole = (self._is_fast and is_right_size) or await self._hash(held.sha256) == held.sha256
        except NotFound:
            return fault
        if is_whole and is_right_size:
            return None
        what = What.SIZE_DIFFERS if is_whole else What.DAMAGED
        return msgspec.structs.replace(fault, what=what, found_bytes=found_bytes)

    async def _hash(self, sha256: str) -> str:
        whole = hashlib.sha256()
        async for piece in self._blobs.stream(sha256):
            await asyncio.to_thread(whole.update, piece)
            self.bytes_read += len(piece)
            self._progress(self)
        return whole.hexdigest()

    async def _is_held(self, fault: Fault) -> bool:
        """Whether anybody still refers to it: retention and sweep may have been faster than we were."""
        return bool(await self._verified.examples(fault.sha256))

    async def _told(self, fault: Fault) -> Fault:
        """Name some of the files, and repair what can be."""
        named = await self._verified.examples(fault.sha256)
        examples = tuple(f"{run_id}/{task_id} {path.decode('utf-8', 'replace')}" for run_id, task_id, path in named)
        if self._is_repairing:
            await self._repair(fault)
        return msgspec.structs.replace(fault, examples=examples, is_repaired=self._is_repairing)

    async def _repair(self, fault: Fault) -> None:
        if fault.what is What.SIZE_DIFFERS:
            await self._verified.correct_size(fault.sha256, fault.found_bytes or 0)
            return
        if fault.what is What.DAMAGED:
            await self._blobs.set_aside(fault.sha256)
        reason = f"{_DONE[fault.what]} {datetime.now(UTC):%Y-%m-%d}"
        while await self._verified.give_up(fault.sha256, reason):
            pass

    async def _strangers(self) -> AsyncIterator[Fault]:
        portion: dict[str, int] = {}
        async for blob in self._blobs.list_blobs():
            portion[blob.sha256] = blob.size_bytes
            if len(portion) == _PAGE:
                for fault in await self._unknown(portion):
                    yield fault
                portion = {}
        for fault in await self._unknown(portion):
            yield fault

    async def _unknown(self, portion: dict[str, int]) -> list[Fault]:
        faults = []
        for sha256 in sorted(await self._verified.unknown(portion)):
            # A sweep may have removed it since it was listed.
            if await is_there(self._blobs, sha256):
                if self._is_repairing:
                    await self._verified.adopt(sha256, portion[sha256])
                faults.append(
                    Fault(
                        what=What.UNKNOWN,
                        sha256=sha256,
                        found_bytes=portion[sha256],
                        is_repaired=self._is_repairing,
                    )
                )
        return faults
