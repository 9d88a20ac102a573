"""Both services do all their work with the accounts of the script, each told in a file."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripthut_common.events import RunState
from tests.e2e import running
from tests.integration.subscribers.accounts import Accounts
from tests.testbed.processes import run as run_program
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.services import Pair


@pytest.fixture
def pair_of_few_rights(rabbitmq: RabbitMq, amqp_uri: str, database_uri: str, tmp_path: Path) -> Iterator[Pair]:
    accounts = Accounts(rabbitmq, amqp_uri, tmp_path)
    accounts.services()
    clusters = {"here": {"scheduler": "localhost", "log_dir": str(tmp_path / "logs"), "poll_interval_s": 1}}
    with Pair(
        database_uri=database_uri,
        amqp_uri=amqp_uri,
        clusters=clusters,
        environment={
            **accounts.environment("POLLER", "scripthut-poller"),
            **accounts.environment("OUTPUTS", "scripthut-outputs"),
        },
        of_collectors=accounts.environment("OUTPUTS", "scripthut-collector"),
        collectors=2,
    ) as pair:
        yield pair


def test_a_run_is_submitted_watched_collected_and_announced(pair_of_few_rights: Pair) -> None:
    pair = pair_of_few_rights
    tasks = [
        {"id": f"t{number}", "command": f'echo {number} > "$SCRIPTHUT_OUTPUT_DIR/n.txt"; exit {number % 2}'}
        for number in range(4)
    ]

    with pair.client() as client:
        run_id = client.submit({"name": "few rights", "cluster": "here", "tasks": tasks})
        run = client.wait_run(run_id, running.is_over, "the run to end and be collected")

        assert run.state is RunState.FAILED
        assert [item.exit_code for item in run.items] == [0, 1, 0, 1]
        for number in range(4):
            assert b"n.txt" in running.stored(client, run_id, f"t{number}")

        waiting = client.submit(
            {"name": "to cancel", "cluster": "here", "tasks": [{"id": "t", "command": "sleep 600"}]}
        )
        client.wait_run(waiting, lambda found: running.is_running(found, "t"), "the task to run")
        client.cancel(waiting)
        client.wait_run(waiting, lambda found: found.state is RunState.FAILED, "the run to be cancelled")
    assert {name: pair.report(name) for name in pair.daemons} == {name: {} for name in pair.daemons}


@pytest.mark.parametrize(("package", "prefix"), [("scripthut_poller", "POLLER"), ("scripthut_outputs", "OUTPUTS")])
def test_what_a_command_prints_for_scripts_has_no_line_of_its_log(
    rabbitmq: RabbitMq, amqp_uri: str, tmp_path: Path, package: str, prefix: str
) -> None:
    accounts = Accounts(rabbitmq, amqp_uri, tmp_path)
    accounts.services()
    # Of what this account may not declare, the log has a line each.
    environment = accounts.environment(prefix, f"scripthut-{prefix.lower()}")

    said = run_program([sys.executable, "-m", package, "dead-letters", "list", "--json"], environment=environment)

    assert said == ""
