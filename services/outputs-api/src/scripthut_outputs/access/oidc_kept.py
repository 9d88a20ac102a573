"""What was read from a provider, kept while it is fresh, and a while longer where the provider does not answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from scripthut_common.errors import TransientError

AGAIN_AFTER_S = 30.0
"""Nobody makes us ask a provider more often."""
FRESH_S = 3600.0
STALE_S = 86_400.0
_FIRST_AGAIN_AFTER_S = 2.0
_LONG_AGO = float("-inf")
T = TypeVar("T")

log = structlog.get_logger()


class Kept(Generic[T]):
    """One thing that is read from a provider.

    Args:
        what: its name, for the log.
        read: reads it.
        clock: monotonic seconds.
    """

    def __init__(
        self, what: str, read: Callable[[], Awaitable[T]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._read = read
        self._clock = clock
        self._value: T | None = None
        self._read_at = _LONG_AGO
        self._tried_at = _LONG_AGO
        self._fault: TransientError | None = None
        self._turn = asyncio.Lock()

    async def get(self, is_enough: Callable[[T], bool] = lambda _: True) -> T:
        """Give it; read anew when it is old, or not enough, at most every `AGAIN_AFTER_S`.

        What is kept counts for a day where the provider does not answer.

        Raises:
            TransientError: nothing is kept that may count, or what is kept is not enough, and the provider did not
                answer when it was last asked.
        """
        kept = self._usable()
        if kept is not None and is_enough(kept) and (self._is_fresh or self._turn.locked()):
            return kept
        async with self._turn:
            kept = self._usable()
            if kept is None or not self._is_fresh or not is_enough(kept):
                await self._try()
        kept = self._usable()
        if self._fault is not None and (kept is None or not is_enough(kept)):
            raise self._fault
        if kept is None:
            raise TransientError(f"{self._what} is not known yet")
        return kept

    @property
    def _is_fresh(self) -> bool:
        return self._clock() - self._read_at < FRESH_S

    def _usable(self) -> T | None:
        return self._value if self._clock() - self._read_at < STALE_S else None

    async def _try(self) -> None:
        """Ask, unless somebody did just now."""
        rest_s = _FIRST_AGAIN_AFTER_S if self._value is None else AGAIN_AFTER_S
        if self._clock() - self._tried_at < rest_s:
            return
        self._tried_at = self._clock()
        try:
            self._value = await self._read()
        except TransientError as error:
            self._fault = error
            log.warning("openid_provider_not_read", what=self._what, error=str(error))
        else:
            self._fault = None
            self._read_at = self._clock()
