"""Run the poller as a process of its own, on RabbitMQ, until it is told to stop."""

import asyncio
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from scripthut_common import health, supervision, telemetry
from scripthut_common.supervision import Pulse
from scripthut_poller import settings, wiring


async def run(environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingsError: lists everything that is missing or wrong.
    """
    telemetry.configure(environ)
    found = settings.load(environ)
    pulse, stop = Pulse(), asyncio.Event()
    bus = wiring.open_bus(found)
    registry = CollectorRegistry()
    service = wiring.build(found, bus, pulse, registry=registry)
    report = health.Health(pulse, service.checks, registry)
    loops = [*service.loops, health.loop(report, found.health_host, found.health_port)]
    supervision.stop_on_signals(stop)
    try:
        await supervision.run(loops, pulse, stop)
    finally:
        await service.close()
        await bus.close()
