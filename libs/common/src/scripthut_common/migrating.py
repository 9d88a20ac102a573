"""Bring one service's schema to a revision, or say what separates it from its tables.

A service keeps `migrations/__init__.py` with one `Migrations` and `migrations/versions/*.py` in alembic's form.
"""

from pathlib import Path

import msgspec
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations import Operations
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.schema import CreateSchema

from .database import Database
from .errors import Conflict

_LOCK_TIMEOUT = "60s"
_TIMEOUT_S = 3600.0


class Migrations(msgspec.Struct, frozen=True, kw_only=True):
    """The revisions of one service: its tables, the folder of its versions, the command that applies them."""

    metadata: MetaData
    versions: Path
    command: str

    @property
    def schema(self) -> str:
        """The schema that they change; the version table lies in it too."""
        return self.metadata.schema or "public"


async def upgrade(database: Database, migrations: Migrations, revision: str = "head") -> None:
    """Bring the schema up to `revision`, all or nothing; processes that ask at once take turns.

    Raises:
        DatabaseUnavailable: the server is away, or another process holds the tables.
        Conflict: the schema stands at a revision that this program does not know.
    """
    async with database.transaction(timeout_s=_TIMEOUT_S) as connection:
        await connection.run_sync(_migrate, migrations, revision, is_upgrade=True)


async def downgrade(database: Database, migrations: Migrations, revision: str = "base") -> None:
    """Take the schema back to `revision`, all or nothing.

    Raises:
        DatabaseUnavailable: the server is away, or another process holds the tables.
        Conflict: the schema stands at a revision that this program does not know.
    """
    async with database.transaction(timeout_s=_TIMEOUT_S) as connection:
        await connection.run_sync(_migrate, migrations, revision, is_upgrade=False)


async def fault(database: Database, migrations: Migrations) -> str | None:
    """Say why this program cannot work on the schema as it is; `None` when it can."""
    async with database.transaction() as connection:
        current = await connection.run_sync(lambda sync: _context(sync, migrations).get_current_revision())
    scripts = _scripts(migrations)
    newest = scripts.get_current_head()
    if current == newest:
        return None
    if current not in {None, *(script.revision for script in scripts.walk_revisions())}:
        return (
            f"the schema {migrations.schema} is at revision {current}, which this program does not know: "
            "run the newer version that made it"
        )
    return (
        f"the schema {migrations.schema} is at revision {current or 'none'}, this program needs {newest}: "
        f"run {migrations.command}"
    )


async def draft(database: Database, migrations: Migrations) -> str:
    """Write the upgrade that would bring the database to the tables; empty when nothing separates them."""
    async with database.transaction() as connection:
        script = await connection.run_sync(_compare, migrations)
    if script.upgrade_ops is None or script.upgrade_ops.is_empty():
        return ""
    return render_python_code(script.upgrade_ops)


def _migrate(connection: Connection, migrations: Migrations, revision: str, *, is_upgrade: bool) -> None:
    _take_turns(connection, migrations)
    scripts = _scripts(migrations)

    def steps(current: str, _: MigrationContext) -> object:
        if is_upgrade:
            return scripts._upgrade_revs(revision, current)  # noqa: SLF001  alembic's own env.py template does so
        return scripts._downgrade_revs(revision, current)  # noqa: SLF001  same

    context = _context(connection, migrations, fn=steps)
    try:
        with Operations.context(context):
            context.run_migrations()
    except CommandError as error:
        raise Conflict(f"schema {migrations.schema} cannot be taken to revision {revision}: {error}") from error


def _take_turns(connection: Connection, migrations: Migrations) -> None:
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
    lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
    connection.execute(lock, {"name": f"migrations of {migrations.schema}"})
    connection.execute(CreateSchema(migrations.schema, if_not_exists=True))


def _scripts(migrations: Migrations) -> ScriptDirectory:
    return ScriptDirectory(str(migrations.versions.parent), version_locations=[str(migrations.versions)])


def _context(connection: Connection, migrations: Migrations, **options: object) -> MigrationContext:
    return MigrationContext.configure(
        connection,
        opts={
            "target_metadata": migrations.metadata,
            "version_table_schema": migrations.schema,
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == migrations.schema,
            "compare_server_default": True,
            **options,
        },
    )


def _compare(connection: Connection, migrations: Migrations) -> MigrationScript:
    return produce_migrations(_context(connection, migrations), migrations.metadata)
