"""Scenes for every test of following."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_common.shell.local import LocalShell
from scripthut_outputs.migrations import MIGRATIONS
from tests.integration.collector.shells import Interrupted
from tests.integration.following.scene import FollowedScene


@pytest.fixture
async def database(database_uri: str) -> AsyncIterator[Database]:
    """An empty catalog."""
    database = Database(database_uri)
    await migrating.upgrade(database, MIGRATIONS)
    yield database
    await database.close()


@pytest.fixture
def shell() -> Interrupted:
    """This machine's shell, with something to happen between commands."""
    return Interrupted(LocalShell())


@pytest.fixture
async def scene(database: Database, tmp_path: Path, shell: Interrupted) -> AsyncIterator[FollowedScene]:
    """Tasks on this machine."""
    scene = FollowedScene(database, tmp_path, shell)
    scene.followers = scene.follow()
    yield scene
    scene.followers.close()
    scene.collector.close()
