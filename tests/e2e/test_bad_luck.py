"""What the pair says and does while something it needs is away, and that it carries on when that is back."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import running
from tests.e2e.trouble import Trouble
from tests.testbed.accounts import ALICE, BOB
from tests.testbed.postgres import PostgresServer
from tests.testbed.processes import run as run_program
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.services import Pair, slurm_over
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

_BLOB_DISK_MIB = 8
_CANNOT_BE_WATCHED = "testbed has not answered"


@pytest.fixture(scope="module")
def login_node(slurm: SlurmCluster) -> Iterator[Sshd]:
    """A login node that these tests change as they like."""
    with Sshd(slurm.environment) as server:
        yield server


@pytest.fixture(scope="module")
def blob_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk for blobs alone; an ordinary folder where mounting is not permitted."""
    folder = tmp_path_factory.mktemp("blobs")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_BLOB_DISK_MIB}m,mode=0700", "scripthut-tests", folder], check=False
    )
    yield folder
    if mounted.returncode == 0:
        run_program(["umount", folder])


@pytest.fixture(scope="module")
def pair(
    slurm: SlurmCluster, login_node: Sshd, postgres: PostgresServer, rabbitmq: RabbitMq, blob_disk: Path
) -> Iterator[Pair]:
    """A pair of these tests alone."""
    clusters = {"testbed": slurm_over(login_node, slurm)}
    with (
        running.servers(postgres, rabbitmq) as (database_uri, amqp_uri),
        Pair(database_uri=database_uri, amqp_uri=amqp_uri, clusters=clusters, blobs_dir=blob_disk) as pair,
    ):
        yield pair


@pytest.fixture
def trouble(pair: Pair, slurm: SlurmCluster) -> Iterator[Trouble]:
    """A run that trouble comes to."""
    with pair.client() as client:
        yield Trouble(pair, slurm, client)


def test_a_refused_key_is_told_and_waited_out(trouble: Trouble, login_node: Sshd) -> None:
    allowed = login_node.directory / f"authorized_keys.{ALICE}"
    alices = allowed.read_text()
    allowed.write_text((login_node.directory / f"key.{BOB}.pub").read_text())
    login_node.daemon.restart()

    trouble.goes_on_meanwhile()
    trouble.check_told({"poller"}, "does not let sh-alice in", page_says=_CANNOT_BE_WATCHED)

    allowed.write_text(alices)
    trouble.check_carried_on()


def test_a_changed_host_key_is_told_and_waited_out(trouble: Trouble, login_node: Sshd) -> None:
    login_node.change_host_key()

    trouble.goes_on_meanwhile()
    trouble.check_told({"poller"}, "its host key is not the one in", page_says=_CANNOT_BE_WATCHED)

    login_node.trust_host_key()
    trouble.check_carried_on()


def test_an_unreachable_host_is_told_and_waited_out(trouble: Trouble, login_node: Sshd) -> None:
    login_node.daemon.stop()

    trouble.goes_on_meanwhile()
    trouble.check_told({"poller"}, f"127.0.0.1:{login_node.port}", page_says=_CANNOT_BE_WATCHED)

    login_node.daemon.start()
    trouble.check_carried_on()


def test_stopped_accounting_is_told_while_exit_records_decide(trouble: Trouble, slurm: SlurmCluster) -> None:
    slurm.slurmdbd.stop()

    trouble.goes_on_meanwhile()
    trouble.check_told({"poller"}, "sacct", page_says="not confirmed by the scheduler")
    trouble.check_decided_meanwhile()

    slurm.slurmdbd.start()
    trouble.check_carried_on()


def test_a_stopped_database_is_told_and_waited_out(trouble: Trouble, postgres: PostgresServer) -> None:
    postgres.daemon.stop()

    trouble.open_gate()
    trouble.check_told({"poller", "api", "collector"}, "database", page_says="cannot reach its database just now")

    postgres.daemon.start()
    trouble.check_carried_on()


def test_a_stopped_broker_is_told_and_waited_out(trouble: Trouble, rabbitmq: RabbitMq) -> None:
    rabbitmq.daemon.stop()

    trouble.goes_on_meanwhile()
    trouble.check_told({"poller", "api"}, "RabbitMQ", page_says="No news arrives from any cluster")

    rabbitmq.daemon.start()
    trouble.check_carried_on()


def test_a_full_blob_disk_is_told_and_waited_out(trouble: Trouble, blob_disk: Path) -> None:
    if not blob_disk.is_mount():
        pytest.skip("a small disk of its own cannot be mounted here")
    filler = blob_disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))

    trouble.goes_on_meanwhile()
    trouble.check_told({"collector", "api"}, "is full", page_says="Outputs cannot be collected")

    filler.unlink()
    trouble.check_carried_on()
