"""`kill -9` for the poller, again and again, while a run grows."""

import json
import os
import random
import secrets
import time
from pathlib import Path

import pytest

from scripthut_common.events import RunState, Type
from tests.chaos.tapping import Tap
from tests.e2e import running
from tests.testbed.accounts import ALICE
from tests.testbed.processes import wait_until
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.services import Pair, slurm_over
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

_SEED = "SCRIPTHUT_CHAOS_SEED"
_PATIENCE_S = 150


def _noting(folder: Path, id_: str, listed: list[dict[str, object]], **more: object) -> dict[str, object]:
    """Make a task that notes when it runs, and generates these."""
    command = f"echo ran >> {folder}/{id_}.notes; sleep 1; cat > {folder}/{id_}.json <<'END-{id_}'\n"
    command += f"{json.dumps(listed)}\nEND-{id_}\n"
    return {"id": id_, "command": command, "generates_source": f"{folder}/{id_}.json", **more}


@pytest.mark.timeout(_PATIENCE_S + 180)
def test_a_growing_run_loses_and_doubles_nothing_when_the_poller_is_killed(
    slurm: SlurmCluster,
    sshd: Sshd,
    rabbitmq: RabbitMq,
    database_uri: str,
    amqp_uri: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed = int(os.environ.get(_SEED, random.randrange(10**9)))
    dice = random.Random(seed)
    with capsys.disabled():
        print(f"\nseed of this chaos: {seed}; {_SEED}={seed} repeats it")
    run_id = f"grows-{secrets.token_hex(4)}"
    folder = slurm.directory_of(ALICE) / run_id
    third = [_noting(folder, f"c{n}", []) for n in range(3)]
    second = [_noting(folder, f"b{n}", third if n == 1 else []) for n in range(3)]
    first = [*second, _noting(folder, "sum", [], deps=["b*"])]
    plan = _noting(folder, "plan", first)
    plan["command"] = f"mkdir -p {folder}; {plan['command']}"
    clusters = {"testbed": slurm_over(sshd, slurm, connect_timeout_s=5, submission_timeout_s=20)}

    with Pair(database_uri=database_uri, amqp_uri=amqp_uri, clusters=clusters) as pair, pair.client() as client:
        tap = Tap(rabbitmq.vhosts, amqp_uri)
        client.submit({"run_id": run_id, "name": "grows", "cluster": "testbed", "tasks": [plan]})
        for _ in range(5):
            time.sleep(dice.uniform(0.5, 5))
            pair.daemons["poller"].kill()
            pair.daemons["poller"].start()
        run = client.wait_run(run_id, running.is_over, "the growing run to end", _PATIENCE_S)

        ids = {"plan", "sum", *(f"{letter}{n}" for letter in "bc" for n in range(3))}
        assert run.state is RunState.SUCCEEDED
        assert {item.task_id for item in run.items} == ids
        assert {note.stem: note.read_text() for note in folder.glob("*.notes")} == dict.fromkeys(ids, "ran\n")
        extended: dict[str, str] = {}

        def have_all_come() -> bool:
            heard = tap.drain()
            extended.update({one.id: one.data["parent_task_id"] for one in heard if one.type == Type.RUN_EXTENDED})
            return any(one.type == Type.RUN_COMPLETED for one in heard)

        wait_until(have_all_come, "the event of the run's end", every_s=0.2)
        assert sorted(extended.values()) == sorted(ids)
