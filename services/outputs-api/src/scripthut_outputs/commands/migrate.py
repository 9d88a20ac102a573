"""Bring the schema of the outputs service to a revision."""

from collections.abc import Mapping

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_outputs.migrations import MIGRATIONS
from scripthut_outputs.settings import DatabaseSettings, load_some


async def migrate(environ: Mapping[str, str], direction: str = "up", revision: str | None = None) -> None:
    """Go up to a revision, the newest if none is named, or down to one, an empty schema if none is named.

    Raises:
        SettingsError: the database is not named.
        Conflict: there is no such revision.
        DatabaseUnavailable: the database is away.
    """
    database = Database(load_some(DatabaseSettings, environ).database_url)
    try:
        if direction == "up":
            await migrating.upgrade(database, MIGRATIONS, revision or "head")
        else:
            await migrating.downgrade(database, MIGRATIONS, revision or "base")
    finally:
        await database.close()
    print(f"schema {MIGRATIONS.schema}: {direction} to {revision or ('the newest' if direction == 'up' else 'empty')}")
