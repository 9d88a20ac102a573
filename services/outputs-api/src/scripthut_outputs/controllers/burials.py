"""How many messages could not be taken, by queue: asked for now and then, shown on the admin page and in metrics."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Gauge

from scripthut_common.supervision import Loop

Count = Callable[[], Awaitable[Mapping[str, int]]]
"""Counts dead letters by queue, of those queues that can be looked at."""

_EVERY_S = 30.0


class Burials:
    """What was counted last.

    Args:
        count: counts anew.
        registry: where it is shown.
    """

    def __init__(self, count: Count, registry: CollectorRegistry) -> None:
        self._count = count
        self._letters = Gauge(
            "scripthut_outputs_dead_letters", "Messages that could not be taken", ["queue"], registry=registry
        )
        self.counts: Mapping[str, int] = {}
        self.counted_at: datetime | None = None

    @property
    def loop(self) -> Loop:
        """Counts."""
        return Loop(name="outputs.dead-letters", step=self.step, interval_s=_EVERY_S)

    async def step(self) -> None:
        """Count once.

        Raises:
            TransientError: nobody knows just now; what was counted last stands.
        """
        self.counts = await self._count()
        self.counted_at = datetime.now(UTC)
        for queue, letters in self.counts.items():
            self._letters.labels(queue).set(letters)
