"""The poller as a process of its own, on RabbitMQ: it starts, says how it is, survives being killed, and stops."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from scripthut_common import bus as buses
from scripthut_common import migrating
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.clusters import Cluster
from scripthut_common.database import Database
from scripthut_common.events import ItemEvent, Outcome, Type
from scripthut_common.tasks import TaskSpec
from scripthut_poller.migrations import MIGRATIONS
from tests.integration.poller.house import Ear, write_clusters
from tests.integration.poller.processes import Process
from tests.integration.poller.told import part_of_run, request
from tests.testbed.ports import reserve_port


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


async def test_without_its_schema_it_says_which_command_helps(process: Process, database: Database) -> None:
    await migrating.downgrade(database, MIGRATIONS)
    process.start()

    report = json.loads(await process.wait_answer(503))

    faults = {one["name"]: one["fault"] for one in report["faults"]}
    assert "run scripthut-poller migrate" in faults["poller.database"]
    assert (await process.report("live"))[0] == 200
