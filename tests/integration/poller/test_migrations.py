"""The poller's schema goes up, comes down, and does not drift from its tables."""

from sqlalchemy import text

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_poller.migrations import MIGRATIONS


async def test_nothing_has_drifted_from_the_tables(database: Database) -> None:
    assert await migrating.draft(database, MIGRATIONS) == ""
    assert await migrating.fault(database, MIGRATIONS) is None


async def test_the_schema_goes_down_and_up_again(database: Database) -> None:
    await migrating.downgrade(database, MIGRATIONS)

    async with database.transaction() as connection:
        tables = await connection.scalars(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'poller'")
        )
        assert set(tables) == {"alembic_version"}
    await migrating.upgrade(database, MIGRATIONS)
    assert await migrating.draft(database, MIGRATIONS) == ""


async def test_a_schema_left_behind_is_named_with_the_command_that_helps(database: Database) -> None:
    await migrating.downgrade(database, MIGRATIONS)

    fault = await migrating.fault(database, MIGRATIONS)

    assert fault is not None
    assert "scripthut-poller migrate" in fault
