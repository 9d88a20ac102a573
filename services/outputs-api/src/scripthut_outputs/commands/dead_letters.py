"""List, show, replay and drop what this service could not take."""

import argparse
from collections.abc import Mapping

from scripthut_common import disposing, telemetry
from scripthut_common.bus import OUTPUTS_EVENTS
from scripthut_outputs import wiring
from scripthut_outputs.settings import BrokerSettings, load_some

_QUEUES = (OUTPUTS_EVENTS,)


async def dead_letters(environ: Mapping[str, str], asked: argparse.Namespace) -> int:
    """Do what the command line asks; returns the exit status.

    Raises:
        SettingsError: the broker is not named, or the command line asks for something that is not there.
        NotFound: an id is none of a dead letter.
        BusUnavailable: the broker is away.
    """
    telemetry.configure({"SCRIPTHUT_LOG_LEVEL": "error", **environ})
    bus = wiring.open_bus(load_some(BrokerSettings, environ))
    try:
        return await disposing.dispose(bus, _QUEUES, asked, print)
    finally:
        await bus.close()
