"""The secrets that `make secrets` makes fit each other: a real broker boots with them, and the accounts are let in."""

import json
import os
import stat
from pathlib import Path

import pytest
from aio_pika.exceptions import ProbableAuthenticationError

import make_secrets
from scripthut_common.bus import EVENTS, Message
from scripthut_common.bus.amqp import AmqpBus
from tests.integration.subscribers.accounts import channel_of
from tests.testbed import needs
from tests.testbed.rabbitmq import RabbitMq

ROOT = Path(__file__).parents[3]


async def test_a_broker_boots_with_them_and_lets_in_whom_they_name(tmp_path: Path) -> None:
    if reason := needs.lacking_for_rabbitmq():
        pytest.skip(reason)
    made = make_secrets.make(tmp_path / "secrets")
    said = (ROOT / "deploy" / "rabbitmq.conf").read_text()
    config = said.replace("/run/secrets/rabbitmq-definitions", str(tmp_path / "secrets" / "rabbitmq-definitions.json"))
    assert config != said

    with RabbitMq(config) as broker:
        for name in ("poller", "outputs", "collector"):
            told = (tmp_path / "secrets" / f"{name}-amqp-url").read_text().strip()
            bus = AmqpBus(told.replace("rabbitmq:5672", f"127.0.0.1:{broker.port}"))
            assert await bus.check() is None
            if name == "poller":
                key = "item.completed.daint"
                await bus.publish(Message(id="1", exchange=EVENTS, routing_key=key, body=b"{}", mandatory=True))
            await bus.close()
        with pytest.raises(ProbableAuthenticationError):
            async with channel_of(broker.uri):
                pass

    assert "rabbitmq-definitions.json" in made


def test_they_are_made_once_and_others_cannot_come_near(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make_secrets.make(folder)
    first = {file.name: file.read_text() for file in folder.iterdir()}

    assert make_secrets.make(folder) == []
    assert {file.name: file.read_text() for file in folder.iterdir()} == first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert first["poller-amqp-password"].strip() not in first["rabbitmq-definitions.json"]
    assert first["postgres-password"].strip() in first["database-url"]


def test_every_secret_that_compose_names_is_made_or_said_to_be_brought(tmp_path: Path) -> None:
    make_secrets.make(tmp_path)
    compose = (ROOT / "docker-compose.yml").read_text().partition("\nsecrets:\n")[2]
    named = {line.rpartition("/")[2].rstrip('"}') for line in compose.splitlines() if "SCRIPTHUT_SECRETS_DIR" in line}
    brought = {"tls-certificate.pem", "tls-key.pem"}

    assert named - {file.name for file in tmp_path.iterdir()} == brought
    assert all(name in (ROOT / "deploy" / "production.env.example").read_text() for name in brought)
    assert json.loads((tmp_path / "rabbitmq-definitions.json").read_text())["users"]


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o777])
def test_a_folder_that_others_may_enter_is_refused_and_stays_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    folder.chmod(mode)

    assert make_secrets.main([str(folder)]) == 1

    assert f"(mode {mode:04o})" in (said := capsys.readouterr().err)
    assert f"chmod 700 {folder}" in said
    assert list(folder.iterdir()) == []
    folder.chmod(0o700)
    assert make_secrets.main([str(folder)]) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    os.chown(folder, 4321, -1)

    assert make_secrets.main([str(folder)]) == 1
    assert "belongs to uid 4321, not to you" in capsys.readouterr().err


def test_where_nothing_can_be_written_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert make_secrets.main(["/proc/nowhere"]) == 1
    assert "/proc/nowhere" in capsys.readouterr().err
    assert make_secrets.main([]) == 2
