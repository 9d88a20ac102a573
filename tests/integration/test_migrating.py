"""Schemas go up and down as a whole, and say when they do not fit the program."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, Column, Index, Table, Text, text
from sqlalchemy.exc import ProgrammingError

from scripthut_common import migrating
from scripthut_common.database import Database, metadata
from scripthut_common.errors import Conflict, DatabaseUnavailable
from scripthut_common.migrating import Migrations

METADATA = metadata("sample")
Table("things", METADATA, Column("name", Text, primary_key=True), Column("size", BigInteger), Index(None, "size"))

REVISION = """
import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {down!r}


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
"""
FIRST = {
    "upgrade": 'op.create_table("things", sa.Column("name", sa.Text, nullable=False), sa.PrimaryKeyConstraint("name", '
    'name="pk_things"), schema="sample")',
    "downgrade": 'op.drop_table("things", schema="sample")',
}
SECOND = {
    "upgrade": 'op.add_column("things", sa.Column("size", sa.BigInteger), schema="sample"); '
    'op.create_index("ix_things_size", "things", ["size"], schema="sample")',
    "downgrade": 'op.drop_column("things", "size", schema="sample")',
}


@pytest.fixture
async def database(database_uri: str) -> AsyncIterator[Database]:
    found = Database(database_uri)
    yield found
    await found.close()


@pytest.fixture
def migrations(tmp_path: Path) -> Migrations:
    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / "0001_first.py").write_text(REVISION.format(revision="0001", down=None, **FIRST))
    (versions / "0002_second.py").write_text(REVISION.format(revision="0002", down="0001", **SECOND))
    return Migrations(metadata=METADATA, versions=versions, command="sample migrate")


async def test_a_new_database_is_brought_to_the_newest_revision_and_back(
    database: Database, migrations: Migrations
) -> None:
    before = await migrating.fault(database, migrations)
    await migrating.upgrade(database, migrations)
    after, drift = await migrating.fault(database, migrations), await migrating.draft(database, migrations)
    await migrating.downgrade(database, migrations, "0001")
    behind = await migrating.fault(database, migrations)
    await migrating.downgrade(database, migrations)

    assert before == "the schema sample is at revision none, this program needs 0002: run sample migrate"
    assert after is None
    assert drift == ""
    assert behind == "the schema sample is at revision 0001, this program needs 0002: run sample migrate"
    async with database.transaction() as connection:
        assert (await connection.execute(text("SELECT to_regclass('sample.things')"))).scalar_one() is None


async def test_processes_that_migrate_at_once_take_turns(database_uri: str, migrations: Migrations) -> None:
    databases = [Database(database_uri) for _ in range(5)]

    await asyncio.gather(*(migrating.upgrade(database, migrations) for database in databases))

    assert await migrating.fault(databases[0], migrations) is None
    for database in databases:
        await database.close()


async def test_a_failing_revision_leaves_nothing_behind(database: Database, migrations: Migrations) -> None:
    bad = {"upgrade": 'op.execute("CREATE TABLE sample.things ()")', "downgrade": "pass"}
    (migrations.versions / "0003_bad.py").write_text(REVISION.format(revision="0003", down="0002", **bad))

    with pytest.raises(ProgrammingError, match="already exists"):
        await migrating.upgrade(database, migrations)

    async with database.transaction() as connection:
        assert (await connection.execute(text("SELECT to_regclass('sample.things')"))).scalar_one() is None


async def test_a_schema_newer_than_the_program_is_left_alone_and_said(
    database: Database, migrations: Migrations
) -> None:
    await migrating.upgrade(database, migrations)
    (migrations.versions / "0002_second.py").unlink()

    said = await migrating.fault(database, migrations)
    with pytest.raises(Conflict, match="schema sample cannot be taken to revision head"):
        await migrating.upgrade(database, migrations)

    assert said is not None
    assert said.startswith("the schema sample is at revision 0002, which this program does not know")


async def test_drift_is_written_as_the_code_that_mends_it(database: Database, migrations: Migrations) -> None:
    await migrating.upgrade(database, migrations, "0001")

    code = await migrating.draft(database, migrations)

    assert "op.add_column('things', sa.Column('size', sa.BigInteger(), nullable=True), schema='sample')" in code
    assert "op.create_index(op.f('ix_things_size')" in code


async def test_other_schemas_are_no_business_of_ours(database: Database, migrations: Migrations) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("CREATE SCHEMA other"))
        await connection.execute(text("CREATE TABLE other.things (n int)"))
        await connection.execute(text("CREATE TABLE public.things (n int)"))

    await migrating.upgrade(database, migrations)

    assert await migrating.draft(database, migrations) == ""


async def test_a_table_held_by_somebody_else_does_not_hang_the_migration_for_ever(
    database: Database, migrations: Migrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "_LOCK_TIMEOUT", "200ms")
    await migrating.upgrade(database, migrations, "0001")
    async with database.transaction() as holder:
        await holder.execute(text("LOCK TABLE sample.things"))
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            await migrating.upgrade(database, migrations)

    await migrating.upgrade(database, migrations)
