"""The poller as a process of its own, on RabbitMQ: it starts, says how it is, survives being killed, and stops."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from scripthut_common import bus as buses
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.clusters import Cluster
from scripthut_common.events import ItemEvent, Outcome, Type
from scripthut_common.tasks import TaskSpec
from tests.integration.poller.house import Ear, write_clusters
from tests.integration.poller.told import part_of_run, request
from tests.testbed.ports import reserve_port
from tests.testbed.processes import wait_until


class Process:
    """`scripthut-poller run` with its settings."""

    def __init__(self, environment: dict[str, str], log: Path, port: int) -> None:
        self._environment = os.environ | environment
        self._log = log
        self._url = f"http://127.0.0.1:{port}/health/"
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            argv = [sys.executable, "-m", "scripthut_poller", "run"]
            self._running = subprocess.Popen(argv, env=self._environment, stdout=log, stderr=log)

    def end(self, number: signal.Signals) -> int:
        """Signal it and return its exit status."""
        if self._running is None:
            return 0
        self._running.send_signal(number)
        return self._running.wait(timeout=30)

    def migrate(self) -> str:
        argv = [sys.executable, "-m", "scripthut_poller", "migrate"]
        return subprocess.run(argv, env=self._environment, check=True, capture_output=True, text=True).stdout

    async def report(self, kind: str) -> tuple[int, str]:
        return await asyncio.to_thread(self._get, self._url + kind)

    async def wait_answer(self, status: int) -> str:
        """Wait until it is ready (200), or says that it is not (503); return what it says."""
        what = f"the poller to answer {status}"
        await asyncio.to_thread(wait_until, lambda: self._get(self._url + "ready")[0] == status, what, 60, 0.1)
        return (await self.report("ready"))[1]

    @staticmethod
    def _get(url: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)


@pytest.fixture
def process(amqp_uri: str, database_uri: str, here: Cluster, tmp_path: Path) -> Iterator[Process]:
    port = reserve_port()
    environment = {
        "SCRIPTHUT_POLLER_DATABASE_URL": database_uri,
        "SCRIPTHUT_POLLER_AMQP_URL": amqp_uri,
        "SCRIPTHUT_POLLER_CLUSTERS_FILE": str(write_clusters(tmp_path / "clusters.toml", here)),
        "SCRIPTHUT_POLLER_HEALTH_PORT": str(port),
    }
    process = Process(environment, tmp_path / "log", port)
    yield process
    process.end(signal.SIGKILL)


@pytest.fixture
async def ear(amqp_uri: str) -> AsyncIterator[Ear]:
    bus = AmqpBus(amqp_uri)
    ear = Ear()
    listening = asyncio.ensure_future(bus.consume(buses.OUTPUTS_EVENTS, ear.hear))
    yield ear
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
    await bus.close()


async def test_killed_in_the_middle_it_goes_on_where_it_was(
    process: Process, ear: Ear, amqp_uri: str, here: Cluster, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    wanted = [TaskSpec(id=f"t{n}", command=f"echo {n} >> '{notes}'; sleep 1") for n in range(12)]
    assert "newest" in process.migrate()
    bus = AmqpBus(amqp_uri)
    process.start()
    await process.wait_answer(200)

    await bus.publish(request(part_of_run(wanted, log_dir=here.log_dir)))
    await ear.until(lambda one: one.type is Type.ITEM_SUBMITTED)
    process.end(signal.SIGKILL)
    process.start()
    await ear.until(lambda one: one.type is Type.RUN_COMPLETED)
    await bus.close()

    ends = {one.id: one.data for one in ear.told if one.type is Type.ITEM_COMPLETED and isinstance(one.data, ItemEvent)}
    assert {end.task_id: end.outcome for end in ends.values()} == {f"t{n}": Outcome.SUCCEEDED for n in range(12)}
    assert sorted(int(note) for note in notes.read_text().split()) == list(range(12))
    assert process.end(signal.SIGTERM) == 0


async def test_without_its_schema_it_says_which_command_helps(process: Process) -> None:
    process.start()

    report = json.loads(await process.wait_answer(503))

    faults = {one["name"]: one["fault"] for one in report["faults"]}
    assert "run scripthut-poller migrate" in faults["poller.database"]
    assert (await process.report("live"))[0] == 200
