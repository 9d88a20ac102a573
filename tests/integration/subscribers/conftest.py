"""Accounts of least rights for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.subscribers.accounts import Accounts
from tests.testbed.rabbitmq import RabbitMq


@pytest.fixture
def accounts(rabbitmq: RabbitMq, amqp_uri: str, tmp_path: Path) -> Iterator[Accounts]:
    """The services' accounts in a virtual host of this test alone, with what they use."""
    made = Accounts(rabbitmq, amqp_uri, tmp_path)
    made.services()
    yield made
    for user in rabbitmq.vhosts.manage("GET", "users"):
        if user["name"].startswith(("sub.", "scripthut-")):
            rabbitmq.vhosts.manage("DELETE", f"users/{user['name']}")
