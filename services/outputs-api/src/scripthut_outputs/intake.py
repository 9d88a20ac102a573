"""Take events off the bus, once; acknowledge in milliseconds. SSH never happens while a message waits."""

from scripthut_common import events
from scripthut_common.bus import OUTPUTS_EVENTS, Bus, Message
from scripthut_outputs.catalog.applying import Applying


class Intake:
    """Moves events from the bus into the catalog."""

    def __init__(self, bus: Bus, applying: Applying) -> None:
        self._bus = bus
        self._applying = applying

    async def step(self) -> None:
        """Consume until cancelled."""
        await self._bus.consume(OUTPUTS_EVENTS, self.take)

    async def take(self, message: Message) -> None:
        """Apply one message; types that this version does not know are passed over.

        Raises:
            BadMessage: it cannot be read, or contradicts what its run is.
            DatabaseUnavailable: not now.
        """
        event = events.decode(message.body)
        if event is not None:
            await self._applying.apply(event)
