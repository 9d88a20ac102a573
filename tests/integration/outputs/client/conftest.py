"""The application on a real port, and a terminal to ask it from."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.outputs.client.terminal import Terminal, served
from tests.integration.outputs.house import House


@pytest.fixture
async def url(house: House) -> AsyncIterator[str]:
    """Where the application answers."""
    async with served(house) as url:
        yield url


@pytest.fixture
def terminal(url: str, tmp_path: Path) -> Terminal:
    """A terminal of Ada's."""
    return Terminal(url, tmp_path / "home")
