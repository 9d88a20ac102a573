"""Places for those who stay: so many in all, fewer for each person, and a plain refusal at once when there is none."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from .turns import TooBusy


class StreamLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many streams of events are open at once, in all and for one person.

    A receiver who takes nothing for `stalled_after_s` is cut off.
    """

    at_once: int = 1000
    each: int = 50
    stalled_after_s: float = 30.0


class TooManyOfYours(TooBusy):
    """One person has taken all that are one person's."""


class Places:
    """Counts the streams that are open."""

    def __init__(self, limits: StreamLimits) -> None:
        self._limits = limits
        self._taken: Counter[str] = Counter()

    @contextmanager
    def one(self, name: str) -> Iterator[None]:
        """Take a place for the time of the block.

        Raises:
            TooManyOfYours: this person has as many as one may have.
            TooBusy: all are taken.
        """
        if self._taken[name] >= self._limits.each:
            raise TooManyOfYours(
                f"{self._limits.each} streams of events are open in your name, as many as one person may have: "
                "close a page, then try again in some seconds"
            )
        if self._taken.total() >= self._limits.at_once:
            raise TooBusy("too many streams of events are open just now: try again in some seconds")
        self._taken[name] += 1
        try:
            yield
        finally:
            self._taken[name] -= 1
            if not self._taken[name]:
                del self._taken[name]
