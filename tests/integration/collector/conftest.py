"""A scene for every test of the collector."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_common.shell.local import LocalShell
from scripthut_outputs.migrations import MIGRATIONS
from tests.integration.collector.scene import Scene


@pytest.fixture
async def database(database_uri: str) -> AsyncIterator[Database]:
    """An empty catalog."""
    database = Database(database_uri)
    await migrating.upgrade(database, MIGRATIONS)
    yield database
    await database.close()


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> AsyncIterator[Scene]:
    """Tasks on this machine."""
    scene = Scene(database, tmp_path, LocalShell())
    yield scene
    scene.collector.close()
