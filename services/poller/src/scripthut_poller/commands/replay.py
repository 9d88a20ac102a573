"""Say the events of a run and its items again, to one queue alone."""

import argparse
from collections.abc import Mapping

from scripthut_common import replaying, settings, telemetry
from scripthut_common.database import Database
from scripthut_common.outbox import Outbox
from scripthut_poller import wiring
from scripthut_poller.settings import PREFIX, ReplaySettings
from scripthut_poller.tables import OUTBOX


async def replay(environ: Mapping[str, str], asked: argparse.Namespace) -> None:
    """Do what the command line asks.

    Raises:
        SettingsError: the broker or the database is not named.
        NotFound: there is no such queue, or no such event.
        BusUnavailable: the broker is away.
        DatabaseUnavailable: the database is away.
    """
    telemetry.configure({"SCRIPTHUT_LOG_LEVEL": "error", **environ})
    found = settings.load(ReplaySettings, environ, prefix=PREFIX)
    bus, database = wiring.open_bus(found), Database(found.database_url)
    try:
        count = await replaying.replay(bus, database, Outbox(OUTBOX), asked)
    finally:
        await bus.close()
        await database.close()
    print(f"{count} events of {asked.run} were said again to {asked.queue}")
