"""The outputs service's application on a real database, with what its tests fill it with."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from scripthut_common.database import Database
from scripthut_outputs.migrations import MIGRATIONS
from tests.integration.outputs.emptying import empty
from tests.integration.outputs.house import House
from tests.integration.outputs.serving_pages import Served, serving
from tests.testbed.databases import Databases, migrated


@pytest.fixture(scope="session")
def migrated_uri(databases: Databases) -> Iterator[str]:
    """One database with our schema; tests empty it rather than make it anew."""
    with migrated(databases, MIGRATIONS) as uri:
        yield uri


@pytest.fixture
async def database(migrated_uri: str) -> AsyncIterator[Database]:
    """An empty catalog."""
    database = Database(migrated_uri)
    await empty(database)
    yield database
    await database.close()


@pytest.fixture
def house(database: Database, tmp_path: Path) -> Iterator[House]:
    """The whole application, without a server."""
    house = House(database, tmp_path)
    yield house
    house.previewer.close()


@pytest.fixture
async def served(house: House) -> AsyncIterator[Served]:
    """The whole application on a port."""
    async with serving(house) as found:
        yield found
