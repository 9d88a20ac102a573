"""The outputs service's application on a real database, with what its tests fill it with."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_outputs.migrations import MIGRATIONS
from tests.integration.outputs.house import House


@pytest.fixture
async def database(database_uri: str) -> AsyncIterator[Database]:
    """An empty catalog."""
    database = Database(database_uri)
    await migrating.upgrade(database, MIGRATIONS)
    yield database
    await database.close()


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    """The whole application, without a server."""
    return House(database, tmp_path)
