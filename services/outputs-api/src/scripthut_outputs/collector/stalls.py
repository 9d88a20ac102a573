"""Which runs to leave out of the next portion: those of which one item after the other stalls."""

from collections.abc import Callable
from time import monotonic

from scripthut_common.retrying import Backoff

_DOUBLINGS = 10


class Stalls:
    """What stalled of late on one cluster, by run.

    One item that stalls says nothing of its run. When the next one does too, it may be the file system of all: the run
    is left out for a while, lest it costs every portion the time-out. Items that were set aside are tried meanwhile,
    and the first that moves ends this.

    Args:
        first_s: how long a run is left out for the first time; then twice as long, up to ten times.
        clock: monotonic seconds.
    """

    def __init__(self, first_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._backoff = Backoff(first_s=first_s, longest_s=first_s * _DOUBLINGS)
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def note(self, run_id: str) -> None:
        """An item of this run has stalled."""
        count = self._counts[run_id] = self._counts.get(run_id, 0) + 1
        if count > 1:
            self._until[run_id] = self._clock() + self._backoff.delay_s(count - 1)

    def end(self, run_id: str) -> None:
        """An item of this run has moved."""
        self._counts.pop(run_id, None)
        self._until.pop(run_id, None)

    @property
    def left_out(self) -> list[str]:
        """The runs to take nothing of just now."""
        now = self._clock()
        return [run_id for run_id, until in self._until.items() if until > now]
