"""Let somebody else have a name that a provider or a proxy gave away."""

import getpass
from collections.abc import Mapping

from scripthut_common import text
from scripthut_common.database import Database
from scripthut_outputs.catalog.auditing import Act
from scripthut_outputs.catalog.changes import Cache
from scripthut_outputs.catalog.identities import Identities
from scripthut_outputs.settings import DatabaseSettings, load_some


async def unbind(environ: Mapping[str, str], name: str) -> None:
    """Unbind a name; its sessions, personal tokens and share links end.

    Raises:
        NotFound: nobody was vouched for by it.
        SettingsError: the database is not named.
        DatabaseUnavailable: the database is away.
    """
    database = Database(load_some(DatabaseSettings, environ).database_url)
    act = Act(act="identity.unbound", actor=getpass.getuser(), credential="command", target=name)
    try:
        await Identities(database, Cache()).unbind(name, act)
    finally:
        await database.close()
    print(f"{text.name(name)} is bound to nobody; the next who is called so has the name, and nothing made under it")
