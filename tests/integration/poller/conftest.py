"""A migrated schema for every test of the poller, and short ways to make what it works on."""

from collections.abc import AsyncIterator, Iterator

import private_postgres
import pytest
from sqlalchemy import text

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_poller.migrations import MIGRATIONS


@pytest.fixture(scope="session")
def database_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    state = tmp_path_factory.mktemp("postgres")
    with private_postgres.running(state) as uri:
        yield uri


@pytest.fixture
async def database(database_uri: str) -> AsyncIterator[Database]:
    database = Database(database_uri)
    async with database.transaction() as connection:
        await connection.execute(text("DROP SCHEMA IF EXISTS poller CASCADE"))
    await migrating.upgrade(database, MIGRATIONS)
    yield database
    await database.close()
