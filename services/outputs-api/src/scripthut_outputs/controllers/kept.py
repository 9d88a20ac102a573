"""What was made of content, kept by content: it is never out of date, only pushed out."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

MAX_BYTES = 64 * 1024 * 1024
_ASSUMED_BYTES = 512


class Kept:
    """Results by what they were made of, as bytes; those that nobody has asked for the longest go first.

    Args:
        max_bytes: about how much is kept.
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._results: OrderedDict[object, bytes] = OrderedDict()
        self._left_bytes = max_bytes
        self._turns: dict[object, asyncio.Lock] = {}
        self._interested: dict[object, int] = {}

    async def get(self, key: object, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """Give what `make` made of this before, or makes now; many who ask at once have it made once.

        What it raises is raised for the one who asked; the next one tries again.
        """
        if key in self._results:
            self._results.move_to_end(key)
            return self._results[key]
        async with self._turn(key):
            if key in self._results:
                return self._results[key]
            made = await make()
            self._keep(key, made)
            return made

    @asynccontextmanager
    async def _turn(self, key: object) -> AsyncIterator[None]:
        self._interested[key] = self._interested.get(key, 0) + 1
        try:
            async with self._turns.setdefault(key, asyncio.Lock()):
                yield
        finally:
            self._interested[key] -= 1
            if not self._interested[key]:
                del self._interested[key], self._turns[key]

    def _keep(self, key: object, made: bytes) -> None:
        self._results[key] = made
        self._left_bytes -= _ASSUMED_BYTES + len(made)
        while self._left_bytes < 0:
            _, oldest = self._results.popitem(last=False)
            self._left_bytes += _ASSUMED_BYTES + len(oldest)
