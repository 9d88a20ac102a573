"""How much the scheduler of one cluster is asked: so many commands a minute and no more; what exceeds that waits."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from scripthut_common import supervision

_MINUTE_S = 60.0
_LOOK_AGAIN_S = 5.0


class Budget:
    """Counts commands of the last minute.

    Args:
        per_minute: how many may begin in any sixty seconds.
        clock: monotonic seconds.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._begun: deque[float] = deque()
        self._turn = asyncio.Lock()

    @property
    def spent(self) -> int:
        """How many commands began in the last minute."""
        self._forget()
        return len(self._begun)

    def wait_s(self, cost: int) -> float:
        """Say how long it takes until so many commands more may begin; 0 when they may now."""
        self._forget()
        excess = len(self._begun) + cost - self._per_minute
        if excess <= 0 or not self._begun:
            return 0.0
        return self._begun[min(excess, len(self._begun)) - 1] + _MINUTE_S - self._clock()

    def spacing_s(self, cost: int) -> float:
        """Say how far apart commands should begin so that they need not stop: once half of the budget is spent."""
        return cost * _MINUTE_S / self._per_minute if 2 * self.spent >= self._per_minute else 0.0

    async def take(self, cost: int) -> None:
        """Wait until so many commands may begin, first come first served, and count them."""
        async with self._turn:
            while (left_s := self.wait_s(cost)) > 0:
                supervision.beat()
                await asyncio.sleep(min(left_s, _LOOK_AGAIN_S))
            self._begun.extend([self._clock()] * cost)

    def give_back(self, cost: int) -> None:
        """Take back what was counted last and never began."""
        for _ in range(min(cost, len(self._begun))):
            self._begun.pop()

    def _forget(self) -> None:
        while self._begun and self._clock() - self._begun[0] >= _MINUTE_S:
            self._begun.popleft()
