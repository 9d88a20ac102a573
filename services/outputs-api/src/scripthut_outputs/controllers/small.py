"""Small files that are asked for again and again, kept in memory: opening one costs more than sending it."""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Protocol, runtime_checkable

from scripthut_common.errors import NotFound, StoreUnavailable

MAX_BYTES = 128 * 1024
_MAX_HELD_BYTES = 32 * 1024 * 1024
_UNUSED_S = 60.0


@runtime_checkable
class Blobs(Protocol):
    """What serving asks of the blob store."""

    def local_path(self, sha256: str) -> str | None:
        """Where the blob lies on this machine; `None` when it lies elsewhere."""

    async def read(self, sha256: str, *, start: int = 0, length: int | None = None) -> bytes:
        """The blob's bytes."""

    def stream(self, sha256: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The blob's bytes in pieces."""


class SmallBlobs:
    """Holds blobs by content, so what it holds is never out of date.

    A newcomer takes the place of what nobody asked for in the last minute, never of anything else: a reader who
    walks through more than fits does not drive out what others look at.
    """

    def __init__(
        self, blobs: Blobs, *, max_held_bytes: int = _MAX_HELD_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._blobs = blobs
        self._clock = clock
        self._held: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._left_bytes = max_held_bytes

    async def read(self, sha256: str, size_bytes: int) -> bytes | None:
        """Give the blob's bytes; `None` when it is too large or there is no room for it.

        Raises:
            StoreUnavailable: the blob cannot be read.
        """
        now = self._clock()
        held = self._held.get(sha256)
        if held is not None:
            self._held[sha256] = (held[0], now)
            self._held.move_to_end(sha256)
            return held[0]
        if size_bytes > MAX_BYTES or not self._has_room(size_bytes, now):
            return None
        try:
            content = await self._blobs.read(sha256)
        except NotFound as error:
            raise StoreUnavailable(f"the blob {sha256} is missing from the store") from error
        if sha256 not in self._held and len(content) <= self._left_bytes:
            self._held[sha256] = (content, now)
            self._left_bytes -= len(content)
        return content

    def _has_room(self, size_bytes: int, now: float) -> bool:
        while size_bytes > self._left_bytes and self._held:
            oldest, (content, used_at) = next(iter(self._held.items()))
            if now - used_at < _UNUSED_S:
                return False
            del self._held[oldest]
            self._left_bytes += len(content)
        return size_bytes <= self._left_bytes
