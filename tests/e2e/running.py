"""What the journeys do with runs: start them on servers of their own, end a job from outside, know when all is done."""

import hashlib
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager

from scripthut_common.events import ItemState, Outcome, RunState
from scripthut_outputs.controllers.shapes import ItemJson, OutputJson, RunWithItemsJson
from scripthut_outputs.ledger import FileState, OutputsState
from tests.e2e.thirty import Expected
from tests.testbed.accounts import ALICE
from tests.testbed.clients import Client
from tests.testbed.postgres import PostgresServer
from tests.testbed.processes import wait_until
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.slurm import SlurmCluster

_MOVING = {OutputsState.PENDING, OutputsState.COLLECTING, OutputsState.PARTIAL}


@contextmanager
def servers(postgres: PostgresServer, rabbitmq: RabbitMq) -> Iterator[tuple[str, str]]:
    """Give the URIs of an empty database and an empty virtual host; remove both in the end."""
    database_uri = postgres.databases.create()
    vhost = database_uri.partition("?")[0].rpartition("/")[2]
    try:
        yield database_uri, rabbitmq.vhosts.create(vhost)
    finally:
        for daemon in (postgres.daemon, rabbitmq.daemon):
            daemon.mend()
        rabbitmq.vhosts.delete(vhost)
        postgres.databases.drop(database_uri)


def cancel_job(client: Client, slurm: SlurmCluster, run_id: str, task_id: str, timeout_s: float = 90) -> None:
    """Cancel one job as its owner does at the login node, once it is seen running."""
    run = client.wait_run(run_id, lambda run: is_running(run, task_id), f"{task_id} to run", timeout_s)
    slurm.run("scancel", str(_item(run, task_id).job_id), user=ALICE)


def is_running(run: RunWithItemsJson, task_id: str) -> bool:
    """Answer whether an item is seen running."""
    return _item(run, task_id).state is ItemState.RUNNING


def is_over(run: RunWithItemsJson) -> bool:
    """Answer whether every item is final with the scheduler's word, and every collection at rest."""
    is_ended = run.state not in {RunState.PENDING, RunState.RUNNING}
    return is_ended and all(item.confirmed and item.outputs_state not in _MOVING for item in run.items)


def wait_rendered(client: Client, run_id: str) -> None:
    """Wait until every section of the run's summary is rendered."""
    wait_until(
        lambda: all(section.rendered_html is not None for section in client.summary(run_id).sections),
        "the summary to be rendered",
        every_s=0.2,
    )


def verdicts(run: RunWithItemsJson) -> dict[str, tuple[Outcome | None, int | None]]:
    """Tell how each item ended, in the order of the answer."""
    return {item.task_id: (item.outcome, item.exit_code) for item in run.items}


def expected_verdicts(
    expected: dict[str, Expected], run: RunWithItemsJson
) -> dict[str, tuple[Outcome | None, int | None]]:
    """Tell how each should have; where no exit code is laid down, any is right."""
    told = verdicts(run)
    return {
        task_id: (one.outcome, told.get(task_id, (None, None))[1] if one.exit_code is None else one.exit_code)
        for task_id, one in expected.items()
    }


def name_of(output: OutputJson) -> bytes:
    """Return the exact name of a file."""
    return b64decode(output.path_b64)


def stored(client: Client, run_id: str, task_id: str) -> dict[bytes, str]:
    """Fetch every stored file of a task by its URL and hash what came; the ledger's hash must agree."""
    found = {}
    for output in client.outputs(run_id, task_id).outputs:
        if output.state is FileState.STORED:
            assert output.url is not None
            found[name_of(output)] = hashlib.sha256(client.read(output.url)).hexdigest()
            assert output.sha256 == found[name_of(output)]
    return found


def _item(run: RunWithItemsJson, task_id: str) -> ItemJson:
    return next(item for item in run.items if item.task_id == task_id)
