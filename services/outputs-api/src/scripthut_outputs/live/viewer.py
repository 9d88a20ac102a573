"""One viewer's queue: bounded, and given up when it is not emptied."""

import asyncio
from collections import deque

from .telling import Batch


class Viewer:
    """Takes batches as they come.

    Args:
        max_bytes: whoever lets more wait than this has no use for it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._waiting: deque[Batch] = deque()
        self._size_bytes = 0
        self._woken = asyncio.Event()
        self.is_over = False

    def put(self, batch: Batch) -> bool:
        """Add a batch; `False`, and the end, when too much waits already."""
        if self._size_bytes > self._max_bytes:
            self.end()
            return False
        self._waiting.append(batch)
        self._size_bytes += batch.size_bytes
        self._woken.set()
        return True

    def end(self) -> None:
        """Let go of everything that waits; nothing comes any more."""
        self.is_over = True
        self._waiting.clear()
        self._woken.set()

    async def take(self, timeout_s: float) -> Batch | None:
        """Give the next batch; `None` when none came for so long, or none will."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return None
        if self.is_over:
            return None
        batch = self._waiting.popleft()
        self._size_bytes -= batch.size_bytes
        if not self._waiting:
            self._woken.clear()
        return batch
