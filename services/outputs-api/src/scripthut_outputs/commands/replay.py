"""Say again which outputs of a run were collected, to one queue alone."""

import argparse
from collections.abc import Mapping

from scripthut_common import replaying
from scripthut_common.database import Database
from scripthut_common.outbox import Outbox
from scripthut_outputs import wiring
from scripthut_outputs.settings import ReplaySettings, load_some
from scripthut_outputs.tables import OUTBOX


async def replay(environ: Mapping[str, str], asked: argparse.Namespace) -> None:
    """Do what the command line asks.

    Raises:
        SettingsError: the broker or the database is not named.
        NotFound: there is no such queue, or no such event.
        BusUnavailable: the broker is away.
        DatabaseUnavailable: the database is away.
    """
    found = load_some(ReplaySettings, environ)
    bus, database = wiring.open_bus(found), Database(found.database_url)
    try:
        count = await replaying.replay(bus, database, Outbox(OUTBOX), asked)
    finally:
        await bus.close()
        await database.close()
    print(f"{count} events of {asked.run} were said again to {asked.queue}")
