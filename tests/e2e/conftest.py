"""One pair for the tests that only look, and the real run of thirty tasks that they look at."""

import secrets
from collections.abc import Iterator

import msgspec
import pytest

from scripthut_outputs.controllers.shapes import RunWithItemsJson
from tests.e2e import running
from tests.e2e.thirty import Thirty
from tests.integration.subscribers.accounts import Accounts
from tests.testbed.accounts import ALICE
from tests.testbed.clients import Client
from tests.testbed.postgres import PostgresServer
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.services import Pair, slurm_over
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

FOLLOW_INTERVAL_S = 1.0


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The run of thirty tasks after its end: where it ran, and what the API says of it."""

    pair: Pair
    client: Client
    login_node: Sshd
    thirty: Thirty
    run: RunWithItemsJson

    @property
    def run_id(self) -> str:
        """Its id."""
        return self.run.run_id


@pytest.fixture(scope="package")
def login_node(slurm: SlurmCluster) -> Iterator[Sshd]:
    """A login node that logs every session, for these tests alone."""
    with Sshd(slurm.environment, extra="LogLevel VERBOSE\n") as server:
        yield server


@pytest.fixture(scope="package")
def pair(
    slurm: SlurmCluster,
    login_node: Sshd,
    postgres: PostgresServer,
    rabbitmq: RabbitMq,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    """The pair that watches the Slurm cluster as `testbed`, each process with as few rights on the broker as may be."""
    with running.servers(postgres, rabbitmq) as (database_uri, amqp_uri):
        accounts = Accounts(rabbitmq, amqp_uri, tmp_path_factory.mktemp("accounts"))
        accounts.services()
        with Pair(
            database_uri=database_uri,
            amqp_uri=amqp_uri,
            clusters={"testbed": slurm_over(login_node, slurm)},
            environment={
                **accounts.environment("POLLER", "scripthut-poller"),
                **accounts.environment("OUTPUTS", "scripthut-outputs"),
            },
            of_collectors=accounts.environment("OUTPUTS", "scripthut-collector"),
        ) as pair:
            yield pair


@pytest.fixture(scope="module")
def followed_node(slurm: SlurmCluster) -> Iterator[Sshd]:
    """A login node of that pair alone: who else has sessions there would be counted."""
    with Sshd(slurm.environment, extra="LogLevel VERBOSE\n") as server:
        yield server


@pytest.fixture(scope="module")
def following(slurm: SlurmCluster, followed_node: Sshd, postgres: PostgresServer, rabbitmq: RabbitMq) -> Iterator[Pair]:
    """A pair that looks at running tasks every second."""
    cluster = slurm_over(followed_node, slurm, follow_interval_s=FOLLOW_INTERVAL_S)
    with (
        running.servers(postgres, rabbitmq) as (database_uri, amqp_uri),
        Pair(database_uri=database_uri, amqp_uri=amqp_uri, clusters={"testbed": cluster}) as pair,
    ):
        yield pair


@pytest.fixture(scope="package")
def finished(pair: Pair, slurm: SlurmCluster, login_node: Sshd) -> Iterator[Finished]:
    """The run, submitted by `POST /runs`, ended and collected."""
    thirty = Thirty(slurm.directory_of(ALICE) / f"thirty-{secrets.token_hex(4)}")
    with pair.client() as client:
        run_id = client.submit(thirty.document)
        running.cancel_job(client, slurm, run_id, "cancelled")
        run = client.wait_run(run_id, running.is_over, "the run of thirty tasks to end and be collected")
        running.wait_rendered(client, run_id)
        yield Finished(pair=pair, client=client, login_node=login_node, thirty=thirty, run=run)
