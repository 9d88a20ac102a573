"""From a job's end to its file on the endpoint, over 100 short jobs on a real Slurm, against one interval and 2 s."""

import asyncio
import statistics
import time
from pathlib import Path

from tests.bench.table import Row
from tests.testbed.accounts import ALICE
from tests.testbed.clients import Client
from tests.testbed.postgres import PostgresServer
from tests.testbed.processes import wait_until
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.services import Pair, slurm_over
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

JOBS = 100
INTERVALS_S = (1, 10)
_GRACE_S = 2
_LOOK_EVERY_S = 0.05
_PATIENCE_S = 300
# Ends of tasks are spread over several rounds; the last thing that a task does is to note when it ends.
_COMMAND = """\
sleep $((RANDOM % 5)).$((RANDOM % 10))
echo content > "$SCRIPTHUT_OUTPUT_DIR/file"
date +%s.%N > "$ENDS/$SCRIPTHUT_TASK_ID"
"""


async def measure() -> list[Row]:
    """Measure with rounds as often as is allowed, and as often as is usual."""
    return await asyncio.to_thread(_measure)


def _measure() -> list[Row]:
    with SlurmCluster() as slurm, Sshd(slurm.environment) as sshd, PostgresServer() as postgres, RabbitMq() as rabbitmq:
        clusters = {
            _name(interval_s): slurm_over(sshd, slurm, poll_interval_s=interval_s) for interval_s in INTERVALS_S
        }
        with (
            Pair(database_uri=postgres.databases.create(), amqp_uri=rabbitmq.uri, clusters=clusters) as pair,
            pair.client() as client,
        ):
            return [_row(interval_s, _latencies(client, slurm, interval_s)) for interval_s in INTERVALS_S]


def _latencies(client: Client, slurm: SlurmCluster, interval_s: int) -> list[float]:
    """Run the jobs and tell for each how long its file took to be seen."""
    ends = slurm.directory_of(ALICE) / _name(interval_s)
    slurm.run("mkdir", str(ends), user=ALICE)
    ids = [f"t{number}" for number in range(JOBS)]
    tasks = [{"id": task_id, "command": _COMMAND, "env": {"ENDS": str(ends)}} for task_id in ids]
    run_id = client.submit({"name": "short jobs", "cluster": _name(interval_s), "tasks": tasks})
    seen: dict[str, float] = {}

    def are_all_seen() -> bool:
        for item in client.run(run_id).items:
            if item.has_outputs and item.task_id not in seen:
                client.read(f"/runs/{run_id}/tasks/{item.task_id}/outputs/file/file")
                seen[item.task_id] = time.time()
        return len(seen) == JOBS

    wait_until(are_all_seen, f"the files of {JOBS} jobs", _PATIENCE_S, _LOOK_EVERY_S)
    return [seen[task_id] - _ended_at(ends / task_id) for task_id in ids]


def _row(interval_s: int, latencies: list[float]) -> Row:
    p95_s, limit_s = statistics.quantiles(latencies, n=20)[-1], interval_s + _GRACE_S
    return Row(
        what=f"job end → visible, 95th percentile of {JOBS} short jobs, a round every {interval_s} s",
        ours=f"{p95_s:.2f} s (median {statistics.median(latencies):.2f} s, all within {max(latencies):.2f} s)",
        peer=f"interval + {_GRACE_S} s: {limit_s} s",
        ratio=p95_s / limit_s,
        target="≤ 1",
    )


def _name(interval_s: int) -> str:
    return f"every-{interval_s}-s"


def _ended_at(note: Path) -> float:
    return float(note.read_text())
