"""Run one role of the outputs service as a process of its own, on RabbitMQ, until it is told to stop."""

import asyncio
from collections.abc import Mapping

from scripthut_common import health, supervision, telemetry
from scripthut_common.supervision import Pulse
from scripthut_outputs import settings, wiring
from scripthut_outputs.wiring import Role


async def run(environ: Mapping[str, str], role: Role) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingsError: lists everything that is missing or wrong.
    """
    telemetry.configure(environ)
    found = settings.load(environ)
    pulse, stop = Pulse(), asyncio.Event()
    bus = wiring.open_bus(found)
    service = wiring.build(found, bus, pulse, roles=[role])
    loops = [*service.loops, health.loop(service.health, found.health_host, found.health_port)]
    supervision.stop_on_signals(stop)
    try:
        await supervision.run(loops, pulse, stop)
    finally:
        await service.close()
        await bus.close()
