"""Keep the files of a run whatever the retention says, or leave them to it again."""

import getpass
from collections.abc import Mapping

from scripthut_common.database import Database
from scripthut_outputs.catalog.auditing import Act
from scripthut_outputs.catalog.changes import Cache
from scripthut_outputs.catalog.pinning import Pins
from scripthut_outputs.settings import DatabaseSettings, load_some

# What somebody shows who has an account on this machine, and its settings.
_HERE = "command"


async def pin(environ: Mapping[str, str], run_id: str, *, is_pinned: bool, by: str | None) -> None:
    """Pin a run, as somebody, or take the pin away.

    Raises:
        NotFound: there is no such run.
        SettingsError: the database is not named.
        DatabaseUnavailable: the database is away.
    """
    database = Database(load_some(DatabaseSettings, environ).database_url)
    pins = Pins(database, Cache())
    try:
        if is_pinned:
            who = by or getpass.getuser()
            await pins.pin(run_id, by=who, act=Act(act="run.pinned", actor=who, credential=_HERE))
        else:
            await pins.unpin(run_id, act=Act(act="run.unpinned", actor=getpass.getuser(), credential=_HERE))
    finally:
        await database.close()
    print(f"{run_id} is {'pinned' if is_pinned else 'no longer pinned'}")
