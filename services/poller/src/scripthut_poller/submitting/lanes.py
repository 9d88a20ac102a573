"""The accounts that a cluster's jobs run as, each by itself: one that refuses us or hangs does not hold up others."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TypeVar

from scripthut_common.errors import Error
from scripthut_common.retrying import Backoff
from scripthut_poller.sites import is_of

_AT_ONCE = 4
_RESTING = Backoff(first_s=2.0, longest_s=60.0)
Told = TypeVar("Told")


class Lane:
    """How it goes for one account; `None` is our own.

    `look_at` is when those of its jobs are to be looked up of which nobody knows whether they were submitted.
    """

    def __init__(self, account: str | None, look_at: float) -> None:
        self.account = account
        self.look_at: float | None = look_at
        self.fault: Error | None = None
        self.rests_until = 0.0
        self._failures = 0

    def went_well(self) -> None:
        """Take note that everything could be done."""
        self.fault, self._failures = None, 0

    def failed(self, fault: Error, now: float) -> None:
        """Take note of what could not be done; it is tried again after a rest."""
        self._failures += 1
        self.fault = fault
        self.rests_until = now + _RESTING.delay_s(self._failures)


class Lanes:
    """The lanes of one cluster.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lanes: dict[str | None, Lane] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @property
    def resting(self) -> frozenset[str]:
        """The accounts that are left alone for a moment."""
        now = self._clock()
        return frozenset(name for name, lane in self._lanes.items() if name is not None and now < lane.rests_until)

    @property
    def fault(self) -> str | None:
        """What keeps accounts from being served, if anything."""
        faults = [str(lane.fault) for lane in self._lanes.values() if lane.fault is not None]
        more = f" (and {len(faults) - 1} more accounts)" if len(faults) > 1 else ""
        return f"{faults[0]}{more}" if faults else None

    def of(self, account: str | None) -> Lane:
        """Give an account's lane; in a new one everything is looked up first."""
        if account not in self._lanes:
            self._lanes[account] = Lane(account, self._clock())
        return self._lanes[account]

    def begin_anew(self) -> None:
        """Look everything up again: whoever held the cluster before may have left something unclear."""
        self._lanes.clear()

    def keep(self, accounts: Collection[str | None]) -> None:
        """Forget the accounts for which there is nothing to do."""
        kept = {*accounts, *self.resting}
        self._lanes = {account: lane for account, lane in self._lanes.items() if account in kept}

    async def each(self, accounts: Iterable[str | None], do: Callable[[Lane], Awaitable[Told]]) -> list[Told]:
        """Do something for each account, a few at the same time; give what came of it where it could be done.

        Raises:
            Error: what is not one account's fault alone.
        """
        lanes = [self.of(account) for account in dict.fromkeys(accounts)]
        if len(lanes) == 1:
            outcomes = [await self._done(lanes[0], do)]
        else:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._done(lane, do)) for lane in lanes]
            outcomes = [task.result() for task in tasks]
        told = list[Told]()
        for lane, outcome in zip(lanes, outcomes, strict=True):
            if not isinstance(outcome, Error):
                told.append(outcome)
            elif is_of(lane.account, outcome):
                lane.failed(outcome, self._clock())
            else:
                raise outcome
        return told

    async def _done(self, lane: Lane, do: Callable[[Lane], Awaitable[Told]]) -> Told | Error:
        async with self._turns:
            try:
                return await do(lane)
            except Error as error:
                return error
