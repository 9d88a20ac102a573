"""The example subscriber on a real broker, with an account of the script: nothing twice, nothing lost."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aio_pika
import msgspec
import pytest

from scripthut_common import events
from scripthut_common.bus import EVENTS, message_of
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.bus.taking import Rules
from scripthut_common.errors import BusUnavailable
from scripthut_common.events import CloudEvent, ItemEvent, Outcome, Type
from scripthut_common.retrying import Backoff
from tests import eventing
from tests.eventing import AT
from tests.integration.subscribers.accounts import Accounts, channel_of
from tests.testbed.rabbitmq import RabbitMq

PROGRAM = Path(__file__).parents[3] / "deploy" / "examples" / "subscriber" / "endings.py"
QUEUE = "sub.lab.events"


def ended(number: int, outcome: Outcome = Outcome.SUCCEEDED, revision: int = 0) -> CloudEvent:
    """A task's end."""
    data = eventing.event(number).data
    assert isinstance(data, ItemEvent)
    data = msgspec.structs.replace(
        data, state=events.ItemState.FINAL, outcome=outcome, revision=revision, sequence=number + 100 * revision
    )
    return events.event(Type.ITEM_COMPLETED, data, source="/scripthut/poller", at=AT)


class Listening:
    """The running example."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        """Wait for what it prints next."""
        assert self.process.stdout is not None
        async with asyncio.timeout(90):
            return (await self.process.stdout.readline()).decode().rstrip("\n")


@asynccontextmanager
async def listening(uri: str, file: Path) -> AsyncIterator[Listening]:
    """Start the example and see that it waits; kill it in the end, as a power cut would."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, QUEUE, file, env={"AMQP_URL": uri}, stdout=asyncio.subprocess.PIPE
    )
    found = Listening(process)
    try:
        assert await found.line() == "waiting"
        yield found
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where it notes what it heard."""
    return tmp_path / "endings.db"


async def say(bus: AmqpBus, *said: CloudEvent) -> None:
    """Publish as the relay does, until the broker has it."""
    for one in said:
        async with asyncio.timeout(90):
            while True:
                try:
                    await bus.publish(message_of(one))
                except BusUnavailable:
                    await asyncio.sleep(0.2)
                else:
                    break


@pytest.fixture
async def poller(accounts: Accounts) -> AsyncIterator[AmqpBus]:
    """Who says events."""
    bus = AmqpBus(accounts.uri("scripthut-poller"), rules=Rules(reconnecting=Backoff(first_s=0.1, longest_s=0.5)))
    yield bus
    await bus.close()


async def test_it_notes_each_ending_once_and_the_newest(accounts: Accounts, poller: AmqpBus, file: Path) -> None:
    uri = accounts.subscriber("lab", "--types", "item.completed")
    corrected = ended(1, Outcome.OUT_OF_MEMORY, revision=1)

    async with listening(uri, file) as example:
        await say(poller, corrected, ended(1), ended(1), corrected, ended(2))
        told = [await example.line() for _ in range(2)]

    assert told == ["r1 t1 out_of_memory", "r1 t2 succeeded"]
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT task_id, outcome FROM endings ORDER BY 1").fetchall() == [
            ("t1", "out_of_memory"),
            ("t2", "succeeded"),
        ]


async def test_what_comes_while_it_is_away_waits_and_nothing_is_told_twice(
    accounts: Accounts, poller: AmqpBus, file: Path
) -> None:
    uri = accounts.subscriber("lab")
    async with listening(uri, file) as example:
        await say(poller, ended(1))
        assert await example.line() == "r1 t1 succeeded"

    await say(poller, ended(1), ended(2))

    async with listening(uri, file) as example:
        assert await example.line() == "r1 t2 succeeded"


async def test_it_survives_a_restart_of_the_broker(
    accounts: Accounts, poller: AmqpBus, file: Path, rabbitmq: RabbitMq
) -> None:
    uri = accounts.subscriber("lab")
    async with listening(uri, file) as example:
        await say(poller, ended(1))
        assert await example.line() == "r1 t1 succeeded"

        rabbitmq.daemon.restart()
        await say(poller, ended(2))

        assert await example.line() == "r1 t2 succeeded"


async def test_what_it_cannot_read_is_put_aside_and_the_rest_goes_on(
    accounts: Accounts, poller: AmqpBus, file: Path
) -> None:
    uri = accounts.subscriber("lab")
    async with listening(uri, file) as example:
        async with channel_of(accounts.uri("scripthut-poller")) as channel:
            exchange = await channel.get_exchange(EVENTS, ensure=False)
            for body in (b"no json", b"[]", b'{"id": {}, "type": "item.completed", "data": {}}', b'{"id": "x"}'):
                await exchange.publish(aio_pika.Message(body), "item.completed.daint")
        await say(poller, ended(1))
        assert await example.line() == "r1 t1 succeeded"

    found: list[bytes] = []
    async with channel_of(uri) as channel, asyncio.timeout(30):
        dead = await channel.get_queue("sub.lab.dead", ensure=False)
        while len(found) < 4:
            letter = await dead.get(fail=False, no_ack=True)
            found += [letter.body] if letter else []
    assert b"no json" in found
