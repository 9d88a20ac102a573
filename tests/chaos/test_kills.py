"""`kill -9` for every process of the pair and both servers, each in the middle of a real run."""

import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from scripthut_common.events import Type
from scripthut_outputs.controllers.shapes import RunWithItemsJson
from tests.chaos.tapping import Heard, Tap, contradictions
from tests.e2e import running
from tests.e2e.thirty import Thirty
from tests.testbed.accounts import ALICE
from tests.testbed.clients import Client
from tests.testbed.postgres import PostgresServer
from tests.testbed.processes import ServerError, wait_until
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.services import Pair, slurm_over
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

_SEED = "SCRIPTHUT_CHAOS_SEED"
# What a poller had begun to submit when it died is submitted again only once its lease has ended: see `submitting`.
_PATIENCE_S = 150


def _kill_one_after_the_other(pair: Pair, rabbitmq: RabbitMq, postgres: PostgresServer, dice: random.Random) -> None:
    """Kill each when the others work again, and start it after a moment."""
    kills = [
        (rabbitmq.kill, rabbitmq.daemon.start),
        (postgres.daemon.kill, postgres.daemon.start),
        *((daemon.kill, daemon.start) for daemon in pair.daemons.values()),
    ]
    dice.shuffle(kills)
    for kill, start in kills:
        time.sleep(dice.uniform(0.1, 1.5))
        kill()
        time.sleep(dice.uniform(0.0, 1.0))
        start()


def _kill_all_at_once(pair: Pair, rabbitmq: RabbitMq, postgres: PostgresServer, dice: random.Random) -> None:
    """Kill all as a power cut does; the services find their servers still down when they start again."""
    time.sleep(dice.uniform(0.5, 4))
    for kill in (rabbitmq.kill, postgres.daemon.kill, *(daemon.kill for daemon in pair.daemons.values())):
        kill()
    for daemon in pair.daemons.values():
        daemon.spawn()
    time.sleep(dice.uniform(1, 4))
    postgres.daemon.start()
    rabbitmq.daemon.start()
    for daemon in pair.daemons.values():
        daemon.wait_ready()


@pytest.mark.timeout(_PATIENCE_S + 180)
@pytest.mark.parametrize("kill", [_kill_one_after_the_other, _kill_all_at_once], ids=["in turn", "at once"])
def test_nothing_is_lost_or_doubled_when_everything_is_killed_in_the_middle_of_a_run(
    kill: Callable[[Pair, RabbitMq, PostgresServer, random.Random], None],
    slurm: SlurmCluster,
    sshd: Sshd,
    rabbitmq: RabbitMq,
    postgres: PostgresServer,
    database_uri: str,
    amqp_uri: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dice = _dice(capsys)
    run_id = f"killed-{secrets.token_hex(4)}"
    thirty = Thirty(slurm.directory_of(ALICE) / run_id, pace_s=2, run_id=run_id)
    clusters = {"testbed": slurm_over(sshd, slurm, connect_timeout_s=5, submission_timeout_s=20)}
    with Pair(database_uri=database_uri, amqp_uri=amqp_uri, clusters=clusters) as pair, pair.client() as client:
        tap = Tap(rabbitmq.vhosts, amqp_uri)
        _submit(client, thirty)

        kill(pair, rabbitmq, postgres, dice)
        _submit(client, thirty)
        running.cancel_job(client, slurm, run_id, "cancelled", _PATIENCE_S)
        run = client.wait_run(run_id, running.is_over, "the killed run to end and be collected", _PATIENCE_S)

        _check_items(client, thirty, run)
        _check_events(_events(tap), run)


def _dice(capsys: pytest.CaptureFixture[str]) -> random.Random:
    seed = int(os.environ.get(_SEED, random.randrange(10**9)))
    with capsys.disabled():
        print(f"\nseed of this chaos: {seed}; {_SEED}={seed} repeats it")
    return random.Random(seed)


def _submit(client: Client, thirty: Thirty) -> None:
    """Ask until there is an answer; asking twice for the same run is asking once."""

    def is_answered() -> bool:
        try:
            return bool(client.submit(thirty.document))
        except (httpx.HTTPError, ServerError):
            return False

    wait_until(is_answered, "the run to be taken", every_s=0.1)


def _check_items(client: Client, thirty: Thirty, run: RunWithItemsJson) -> None:
    """The same items, verdicts and hashes; every task executed exactly once."""
    assert list(running.verdicts(run).items()) == list(running.expected_verdicts(thirty.expected, run).items())
    executed = {task_id: 1 for task_id, task in thirty.expected.items() if task.is_executed}
    assert thirty.executions == executed
    for task_id in thirty.expected:
        on_cluster = thirty.files(run.run_id, task_id)
        on_cluster.pop(b"left", None)
        assert running.stored(client, run.run_id, task_id) == on_cluster, task_id


def _events(tap: Tap) -> list[Heard]:
    """Hear the whole run, whose last event may be on its way yet."""
    heard: list[Heard] = []

    def has_ended() -> bool:
        heard.extend(tap.drain())
        return any(event.type == Type.RUN_COMPLETED for event in heard)

    wait_until(has_ended, "the event of the run's end", every_s=0.2)
    return heard


def _check_events(heard: list[Heard], run: RunWithItemsJson) -> None:
    """One id for each fact; each item begins and ends once, corrections counted; the run ends once."""
    assert contradictions(heard) == []
    facts = list({event.id: event for event in heard}.values())
    begun = Counter(event.data["task_id"] for event in facts if event.type == Type.ITEM_SUBMITTED)
    assert begun == {item.task_id: 1 for item in run.items if item.job_id}
    for item in run.items:
        ends = [
            event.data for event in facts if event.type == Type.ITEM_COMPLETED and event.data["task_id"] == item.task_id
        ]
        assert sorted(end["revision"] for end in ends) == list(range(len(ends)))
        last = max(ends, key=lambda end: end["revision"])
        assert (last["outcome"], last["exit_code"]) == (item.outcome, item.exit_code)
    assert sum(event.type == Type.RUN_COMPLETED for event in facts) == 1
