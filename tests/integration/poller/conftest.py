"""A migrated schema for every test of the poller, and short ways to make what it works on."""

from collections.abc import AsyncIterator

import pytest

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_poller.migrations import MIGRATIONS


@pytest.fixture
async def database(database_uri: str) -> AsyncIterator[Database]:
    database = Database(database_uri)
    await migrating.upgrade(database, MIGRATIONS)
    yield database
    await database.close()
