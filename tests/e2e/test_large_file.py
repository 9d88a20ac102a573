"""A large file inside a raised limit comes whole from the cluster to a client, and no process holds much of it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripthut_common.events import RunState
from scripthut_outputs.ledger import FileState
from tests.e2e import running
from tests.testbed.postgres import PostgresServer
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.services import Pair, slurm_over
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

_MIB = 1024 * 1024
_SIZE_BYTES = 300 * _MIB
_MOST_GROWTH_BYTES = 64 * _MIB
_WRITE = f'head -c {_SIZE_BYTES} /dev/urandom > "$SCRIPTHUT_OUTPUT_DIR/large.bin"'


@pytest.fixture
def roomy_pair(slurm: SlurmCluster, sshd: Sshd, postgres: PostgresServer, rabbitmq: RabbitMq) -> Iterator[Pair]:
    """A pair that takes files of 400 MiB."""
    limits: dict[str, Any] = {"collection.max_file_bytes": 400 * _MIB, "collection.max_total_bytes": 400 * _MIB}
    with (
        running.servers(postgres, rabbitmq) as (database_uri, amqp_uri),
        Pair(
            database_uri=database_uri, amqp_uri=amqp_uri, clusters={"testbed": slurm_over(sshd, slurm, **limits)}
        ) as pair,
    ):
        yield pair


def test_a_large_file_is_collected_and_served_with_flat_memory(roomy_pair: Pair) -> None:
    pids = {"collector": roomy_pair.collector.pid, "api": roomy_pair.api.pid}
    with roomy_pair.client() as client:
        small = client.submit(_document("true"))
        client.wait_run(small, running.is_over, "a first run to warm everything up")
        before = {name: _forget_peak(pid) for name, pid in pids.items()}

        run_id = client.submit(_document(_WRITE))
        run = client.wait_run(run_id, running.is_over, "the large file to be collected", 150)
        folder = Path(str(client.task(run_id, "large").output_dir))
        (output,) = client.outputs(run_id, "large").outputs
        content = client.read(str(output.url))

    assert run.state is RunState.SUCCEEDED
    assert (output.state, output.size) == (FileState.STORED, _SIZE_BYTES)
    assert hashlib.sha256(content).hexdigest() == output.sha256
    with (folder / "large.bin").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == output.sha256
    grown = {name: _peak_bytes(pid) - before[name] for name, pid in pids.items()}
    assert {name: growth for name, growth in grown.items() if growth > _MOST_GROWTH_BYTES} == {}


def _document(command: str) -> dict[str, object]:
    return {"name": "large", "cluster": "testbed", "tasks": [{"id": "large", "command": command}]}


def _peak_bytes(pid: int) -> int:
    """The most resident memory of a process since `_forget_peak`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _forget_peak(pid: int) -> int:
    """Begin to look for a peak anew; give what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _peak_bytes(pid)
