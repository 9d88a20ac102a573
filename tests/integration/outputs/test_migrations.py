"""The schema goes up and down, and is what the tables say."""

from sqlalchemy import text

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_outputs.migrations import MIGRATIONS


async def test_the_schema_goes_up_to_the_tables_down_and_up_again(database_uri: str) -> None:
    database = Database(database_uri)
    await migrating.upgrade(database, MIGRATIONS)
    assert await migrating.draft(database, MIGRATIONS) == ""

    await migrating.downgrade(database, MIGRATIONS)

    query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'outputs' AND tablename <> 'alembic_version'"
    async with database.transaction() as connection:
        assert (await connection.execute(text(query))).scalar_one() == 0
    assert "run scripthut-outputs migrate" in str(await migrating.fault(database, MIGRATIONS))
    await migrating.upgrade(database, MIGRATIONS)
    assert await migrating.fault(database, MIGRATIONS) is None
    await database.close()
