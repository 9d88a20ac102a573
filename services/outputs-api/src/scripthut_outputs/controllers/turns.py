"""Turns at what is dear: so many at once, fewer for each person, and after a while of waiting a plain refusal."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from scripthut_common.errors import TransientError


class TooBusy(TransientError):
    """Everybody's turns are taken, or all of one person's."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How many are made at once, in all and for one person; how long one waits for a turn, in seconds.

    A receiver who takes nothing for `stalled_after_s` loses the turn.
    """

    at_once: int = 4
    each: int = 2
    wait_s: float = 20.0
    stalled_after_s: float = 120.0


class Turns:
    """Gives turns, first come, first served. `busy` is what a person is told for whom there is none in time."""

    def __init__(
        self,
        limits: Limits,
        *,
        busy: str = "too many archives are being downloaded just now: try again when one has ended",
    ) -> None:
        self._limits = limits
        self._busy = busy
        self._all = asyncio.Semaphore(limits.at_once)
        self._own: dict[str, asyncio.Semaphore] = {}
        self._interested: dict[str, int] = {}

    @asynccontextmanager
    async def one(self, name: str) -> AsyncIterator[None]:
        """Wait for a turn and keep it to the end of the block.

        Raises:
            TooBusy: there was none in time.
        """
        own = self._own.setdefault(name, asyncio.Semaphore(self._limits.each))
        self._interested[name] = self._interested.get(name, 0) + 1
        waits_until = asyncio.get_running_loop().time() + self._limits.wait_s
        try:
            async with self._taken(own, waits_until), self._taken(self._all, waits_until):
                yield
        finally:
            self._interested[name] -= 1
            if not self._interested[name]:
                del self._interested[name], self._own[name]

    @asynccontextmanager
    async def _taken(self, turns: asyncio.Semaphore, waits_until: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout_at(waits_until):
                await turns.acquire()
        except TimeoutError as error:
            raise TooBusy(self._busy) from error
        try:
            yield
        finally:
            turns.release()
