"""A run's events, said again from the outbox to one queue of a real broker."""

import argparse
import os
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest
from aio_pika.abc import AbstractIncomingMessage
from sqlalchemy import insert, update

from scripthut_common import events, replaying
from scripthut_common.bus import EVENTS, Message, message_of
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.database import Database
from scripthut_common.errors import InvalidInput, NotFound, Unroutable
from scripthut_common.events import ItemEvent, RunCancelRequested, Type
from tests import eventing
from tests.eventing import AT, OUTBOX, Sample
from tests.integration.subscribers.accounts import Accounts, channel_of

QUEUE = "sub.lab.events"
MANY = 5_000


@pytest.fixture
async def sample(database_uri: str) -> AsyncIterator[Sample]:
    """A service with an outbox."""
    database = Database(database_uri)
    made = Sample(database)
    await made.create()
    yield made
    await database.close()


def said(number: int, run_id: str, name: str = "a run") -> events.CloudEvent:
    """An event of a run."""
    data = eventing.event(number).data
    assert isinstance(data, ItemEvent)
    data = msgspec.structs.replace(data, run_id=run_id, run_name=name)
    return events.event(Type.ITEM_CHANGED, data, source="/scripthut/poller", at=AT)


async def say_many(sample: Sample, count: int, run_id: str = "r1") -> None:
    """Write a long history at once."""
    rows = []
    for number in range(count):
        message = message_of(said(number, run_id))
        rows.append(
            {
                "message_id": message.id,
                "exchange": message.exchange,
                "routing_key": message.routing_key,
                "body": message.body,
                "mandatory": True,
            }
        )
    async with sample.database.transaction() as connection:
        for first in range(0, count, 5000):
            await connection.execute(insert(OUTBOX), rows[first : first + 5000])


async def replay(sample: Sample, bus: AmqpBus, *arguments: str) -> int:
    """Do as the command does."""
    parser = argparse.ArgumentParser()
    replaying.add_command(parser.add_subparsers(), "events")
    return await replaying.replay(bus, sample.database, sample.outbox, parser.parse_args(["replay", *arguments]))


async def lying(uri: str, queue: str) -> list[AbstractIncomingMessage]:
    """Take all that lies in a queue."""
    found: list[AbstractIncomingMessage] = []
    async with channel_of(uri) as channel:
        there = await channel.get_queue(queue, ensure=False)
        while (message := await there.get(fail=False, no_ack=True)) is not None:
            found.append(message)
    return found


async def test_a_runs_events_come_again_in_order_to_that_queue_alone(accounts: Accounts, sample: Sample) -> None:
    uri, other = accounts.subscriber("lab", "--clusters", "daint"), accounts.subscriber("other")
    bus = AmqpBus(accounts.uri("scripthut-poller"))
    for number in range(30):
        await sample.say(said(number, "r1"), said(number, "r2", name='"run_id":"r1"'), said(number, "r10"))

    assert await replay(sample, bus, "r1", "--queue", QUEUE) == 30
    await bus.close()

    found = await lying(uri, QUEUE)
    assert [one.message_id for one in found] == [said(number, "r1").id for number in range(30)]
    assert all("x-scripthut-replayed" in one.headers for one in found)
    assert {one.headers["x-scripthut-exchange"] for one in found} == {EVENTS}
    assert {one.headers["x-scripthut-routing-key"] for one in found} == {"item.changed.daint"}
    assert events.decode(found[0].body) == said(0, "r1")
    assert await lying(other, "sub.other.events") == []


async def test_no_command_is_said_again(accounts: Accounts, sample: Sample) -> None:
    accounts.subscriber("lab")
    cancel = RunCancelRequested(run_id="r1", cluster="daint", requested_by="ada", requested_at=AT)
    await sample.say(events.event(Type.RUN_CANCEL_REQUESTED, cancel, source="/scripthut/outputs", at=AT))
    bus = AmqpBus(accounts.uri("scripthut-outputs"))

    with pytest.raises(NotFound, match="the outbox holds no event of run r1"):
        await replay(sample, bus, "r1", "--queue", QUEUE)
    await bus.close()


async def test_only_what_was_said_since_comes(accounts: Accounts, sample: Sample) -> None:
    uri = accounts.subscriber("lab")
    await sample.say(said(1, "r1"), said(2, "r1"))
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    async with sample.database.transaction() as connection:
        old = update(OUTBOX).where(OUTBOX.c.message_id == said(1, "r1").id)
        await connection.execute(old.values(added_at=long_ago))
    bus = AmqpBus(accounts.uri("scripthut-poller"))

    assert await replay(sample, bus, "r1", "--queue", QUEUE, "--since", "2026-01-01T00:00:01") == 1
    assert [one.message_id for one in await lying(uri, QUEUE)] == [said(2, "r1").id]
    assert await replay(sample, bus, "r1", "--queue", QUEUE, "--since", "2026-01-01T01:00:00+01:00") == 2
    with pytest.raises(NotFound, match="since 2999"):
        await replay(sample, bus, "r1", "--queue", QUEUE, "--since", "2999-01-01")
    await bus.close()


async def test_a_queue_that_is_not_there_is_an_error_and_none_is_made(accounts: Accounts, sample: Sample) -> None:
    await sample.say(said(1, "r1"))
    bus = AmqpBus(accounts.uri("scripthut-poller"))

    with pytest.raises(NotFound, match=r"RabbitMQ has no queue sub\.nobody\.events here"):
        await replay(sample, bus, "r1", "--queue", "sub.nobody.events")
    with pytest.raises(InvalidInput, match="is no run"):
        await replay(sample, bus, "../x", "--queue", QUEUE)
    await bus.close()


async def test_a_queue_that_is_deleted_meanwhile_is_an_error(amqp_uri: str, sample: Sample) -> None:
    bus = AmqpBus(amqp_uri)

    async def batches() -> AsyncIterator[list[Message]]:
        yield [message_of(said(1, "r1"))]
        async with channel_of(amqp_uri) as channel:
            await channel.queue_delete("mine")
        yield [message_of(said(2, "r1"))]

    async with channel_of(amqp_uri) as channel:
        await channel.declare_queue("mine", durable=True)
    arrived = 0
    with pytest.raises(Unroutable):
        async for count in bus.replay("mine", batches()):
            arrived = count
    assert arrived == 1
    await bus.close()


async def test_a_long_history_takes_little_memory_and_keeps_its_order(accounts: Accounts, sample: Sample) -> None:
    uri = accounts.subscriber("lab")
    await say_many(sample, MANY)
    bus = AmqpBus(accounts.uri("scripthut-poller"))

    tracemalloc.start()
    try:
        assert await replay(sample, bus, "r1", "--queue", QUEUE) == MANY
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        await bus.close()

    assert peak_bytes < 16 * 2**20
    async with channel_of(uri) as channel:
        await channel.set_qos(prefetch_count=1000)
        queue = await channel.get_queue(QUEUE, ensure=False)
        order = []
        async with queue.iterator() as arriving:
            async for message in arriving:
                order.append(message.message_id)
                await message.ack()
                if len(order) == MANY:
                    break
    assert order == [said(number, "r1").id for number in range(MANY)]


@pytest.mark.parametrize("package", ["scripthut_poller", "scripthut_outputs"])
def test_both_services_have_the_command(accounts: Accounts, database_uri: str, package: str) -> None:
    accounts.subscriber("lab")
    prefix = package.upper()
    account = package.replace("_", "-")
    environment = {**os.environ, f"{prefix}_AMQP_URL": accounts.uri(account), f"{prefix}_DATABASE_URL": database_uri}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", package, *arguments]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert command("migrate").returncode == 0
    nothing = command("replay", "r1", "--queue", QUEUE)
    nowhere = command("replay", "r1", "--queue", "nobody")
    never = command("replay", "r1", "--queue", QUEUE, "--since", "yesterday")

    assert (nothing.returncode, nowhere.returncode, never.returncode) == (1, 1, 2)
    assert "the outbox holds no event of run r1" in nothing.stderr
    assert "RabbitMQ has no queue nobody here" in nowhere.stderr
    assert "'yesterday' is no time as 2026-03-01T12:00:00Z" in never.stderr
