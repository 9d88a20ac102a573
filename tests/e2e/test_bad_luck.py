"""What the pair says and does while something it needs is away, and that it carries on when that is back."""

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from scripthut_common.events import Outcome
from tests.e2e import running
from tests.testbed.accounts import ALICE, BOB
from tests.testbed.clients import Client
from tests.testbed.postgres import PostgresServer
from tests.testbed.processes import run as run_program
from tests.testbed.processes import wait_until
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.services import Pair, slurm_over
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

_BLOB_DISK_MIB = 8
_CANNOT_BE_WATCHED = "Cluster testbed cannot be watched"


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
def trouble(pair: Pair, slurm: SlurmCluster) -> Iterator["Trouble"]:
    """A run that trouble comes to."""
    with pair.client() as client:
        yield Trouble(pair, slurm, client)


def test_a_refused_key_is_told_and_waited_out(trouble: "Trouble", login_node: Sshd) -> None:
    allowed = login_node.directory / f"authorized_keys.{ALICE}"
    alices = allowed.read_text()
    allowed.write_text((login_node.directory / f"key.{BOB}.pub").read_text())
    login_node.daemon.restart()

    trouble.goes_on_meanwhile()
    trouble.check_told({"poller"}, "does not let sh-alice in", page_says=_CANNOT_BE_WATCHED)

    allowed.write_text(alices)
    trouble.check_carried_on()


def test_a_changed_host_key_is_told_and_waited_out(trouble: "Trouble", login_node: Sshd) -> None:
    login_node.change_host_key()

    trouble.goes_on_meanwhile()
    trouble.check_told({"poller"}, "its host key is not the one in", page_says=_CANNOT_BE_WATCHED)

    login_node.trust_host_key()
    trouble.check_carried_on()


def test_an_unreachable_host_is_told_and_waited_out(trouble: "Trouble", login_node: Sshd) -> None:
    login_node.daemon.stop()

    trouble.goes_on_meanwhile()
    trouble.check_told({"poller"}, f"127.0.0.1:{login_node.port}", page_says=_CANNOT_BE_WATCHED)

    login_node.daemon.start()
    trouble.check_carried_on()


def test_a_stopped_database_is_told_and_waited_out(trouble: "Trouble", postgres: PostgresServer) -> None:
    postgres.daemon.stop()

    trouble.open_gate()
    trouble.check_told({"poller", "api", "collector"}, "database", page_says="cannot reach its database just now")

    postgres.daemon.start()
    trouble.check_carried_on()


def test_a_stopped_broker_is_told_and_waited_out(trouble: "Trouble", rabbitmq: RabbitMq) -> None:
    rabbitmq.daemon.stop()

    trouble.goes_on_meanwhile()
    trouble.check_told({"poller", "api"}, "RabbitMQ", page_says="No news arrives from any cluster")

    rabbitmq.daemon.start()
    trouble.check_carried_on()


def test_a_full_blob_disk_is_told_and_waited_out(trouble: "Trouble", blob_disk: Path) -> None:
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


class Trouble:
    """A run that trouble comes to: one task ends before, one meanwhile; and a run that is submitted meanwhile."""

    def __init__(self, pair: Pair, slurm: SlurmCluster, client: Client) -> None:
        self._pair = pair
        self._client = client
        self._folder = slurm.directory_of(ALICE)
        self._gate = self._folder / "gate"
        self._executions = self._folder / "executions-in-bad-luck"
        for left in (self._gate, self._executions):
            left.unlink(missing_ok=True)
        waits = f"until test -e {self._gate}; do sleep 0.1; done\n"
        self._runs = {self._submit(before="", meanwhile=waits): ["before", "meanwhile"]}
        self._run_id = next(iter(self._runs))
        client.wait_run(self._run_id, lambda run: running.is_running(run, "meanwhile"), "the job to run")

    def open_gate(self) -> None:
        """Let the waiting job end."""
        self._gate.touch()

    def goes_on_meanwhile(self) -> None:
        """Let the waiting job end, and ask for another."""
        self.open_gate()
        self._runs[self._submit(later="")] = ["later"]

    def check_told(self, processes: set[str], words: str, *, page_says: str) -> None:
        """See that these processes say what is wrong, that the page does, and that all live on."""
        for name in sorted(processes):
            wait_until(partial(self._says, name, words), f"{name} to say {words!r}", 60, 0.2)
        wait_until(lambda: page_says in self._page(), f"the run page to say {page_says!r}", 60, 0.5)
        assert all(daemon.is_alive for daemon in self._pair.daemons.values())

    def check_carried_on(self) -> None:
        """See that everything works again, and that no item was lost or doubled."""
        for name in self._pair.daemons:
            wait_until(partial(self._is_ready, name), f"{name} to be ready again", 90, 0.2)
        for run_id, tasks in self._runs.items():
            run = self._client.wait_run(run_id, running.is_over, "the run to end and be collected", 120)
            assert running.verdicts(run) == dict.fromkeys(tasks, (Outcome.SUCCEEDED, 0))
            for task_id in tasks:
                assert list(running.stored(self._client, run_id, task_id)) == [b"file"]
        wanted = sorted(task_id for tasks in self._runs.values() for task_id in tasks)
        assert sorted(self._executions.read_text().split()) == wanted

    def _submit(self, **commands: str) -> str:
        # A content that no blob has yet: what is stored already needs no room.
        leaves = f'echo "$SCRIPTHUT_TASK_ID" >> {self._executions}\n'
        leaves += 'head -c 20000 /dev/urandom > "$SCRIPTHUT_OUTPUT_DIR/file"'
        tasks = [{"id": task_id, "command": command + leaves} for task_id, command in commands.items()]
        return self._client.submit({"name": "trouble", "cluster": "testbed", "tasks": tasks})

    def _says(self, name: str, words: str) -> bool:
        return words in str(self._pair.report(name))

    def _is_ready(self, name: str) -> bool:
        return not self._pair.report(name)

    def _page(self) -> str:
        return self._client.get(f"/ui/runs/{self._run_id}").text
