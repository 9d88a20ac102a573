"""When to try again: pure backoff arithmetic."""

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Doubling delays: `first_s`, then twice as long each time up to `longest_s`."""

    first_s: float
    longest_s: float

    def delay_s(self, failures: int, jitter: float = 0.0) -> float:
        """How long to wait after `failures` failures in a row (1 or more).

        Args:
            failures: failures so far, this one included.
            jitter: 0 to 1, drawn by the caller; takes away up to half of the delay.
        """
        doublings = min(max(failures, 1) - 1, 60)
        return min(self.first_s * 2.0**doublings, self.longest_s) * (1 - jitter / 2)

    def spread_s(self, failures: int) -> float:
        """Over how much time so many attempts were spread, had each failed at once: the sum of the delays between."""
        return sum(self.delay_s(number) for number in range(1, failures))


RECONNECTING = Backoff(first_s=0.2, longest_s=10.0)
COLLECTING = Backoff(first_s=5.0, longest_s=600.0)
RELAYING = Backoff(first_s=0.5, longest_s=60.0)
