"""Both services as processes over an S3-compatible store: a task's files, from the cluster to the reader and back."""

import hashlib
from pathlib import Path

from scripthut_common.events import RunState
from tests.e2e import running
from tests.testbed.postgres import PostgresServer
from tests.testbed.processes import wait_until
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.s3 import S3Server
from tests.testbed.services import Pair

_LARGE = 9_000_000


def test_outputs_come_from_a_bucket_and_its_outage_is_told_and_waited_out(
    postgres: PostgresServer, rabbitmq: RabbitMq, s3_server: S3Server, tmp_path: Path
) -> None:
    clusters = {"here": {"scheduler": "localhost", "log_dir": str(tmp_path / "logs"), "poll_interval_s": 1}}
    write = f'head -c {_LARGE} /dev/zero > "$SCRIPTHUT_OUTPUT_DIR/large.bin"; echo "# done" > "$SCRIPTHUT_TASK_SUMMARY"'
    document = {"name": "bucket", "cluster": "here", "tasks": [{"id": "t1", "command": write}]}
    variables = s3_server.variables(s3_server.create_bucket())
    with (
        running.servers(postgres, rabbitmq) as (database_uri, amqp_uri),
        Pair(database_uri=database_uri, amqp_uri=amqp_uri, clusters=clusters, environment=variables) as pair,
        pair.client() as client,
    ):
        first = client.submit(document)
        run = client.wait_run(first, running.is_over, "the run to end and be collected")
        assert run.state is RunState.SUCCEEDED
        files = {running.name_of(output): output for output in client.outputs(first, "t1").outputs}
        large = files[b"large.bin"]
        assert client.read(large.url or "") == bytes(_LARGE)
        part = client.get(large.url or "", range=f"bytes={_LARGE - 10}-")
        assert (part.status_code, part.content) == (206, bytes(10))
        assert large.sha256 == hashlib.sha256(bytes(_LARGE)).hexdigest()
        assert list(pair.blobs_dir.iterdir()) == []

        s3_server.daemon.pause()
        wait_until(lambda: "outputs.blobs" in pair.report("api"), "the API to tell of the store")
        assert "does not answer" in pair.report("api")["outputs.blobs"]
        s3_server.daemon.resume()
        wait_until(lambda: not pair.report("api"), "the API to be ready again")
