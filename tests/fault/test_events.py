"""Events on their whole way, outbox to inbox, while the servers under them go down: nothing lost, nothing burnt."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from scripthut_common.bus import EVENTS, Bus, Message, Queue, message_of
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.bus.memory import MemoryBus
from scripthut_common.bus.taking import Rules
from scripthut_common.database import Database
from scripthut_common.errors import DatabaseUnavailable
from scripthut_common.relay import Relay
from scripthut_common.retrying import Backoff
from scripthut_common.supervision import Loop, Pulse, run
from tests.contract.brokers import dead_letters_of
from tests.eventing import Sample, event
from tests.eventually import eventually
from tests.testbed.postgres import PostgresServer
from tests.testbed.rabbitmq import RabbitMq

QUEUE = Queue(name="t.items", exchange=EVENTS, bindings=("item.#",))
POISON = 77
COUNT = 3000
# So few that one wrongly counted outage would bury good events.
RULES = Rules(
    delivery_limit=3,
    reconnecting=Backoff(first_s=0.1, longest_s=0.5),
    redelivering=Backoff(first_s=0.01, longest_s=0.05),
)


@pytest.fixture
async def sample(postgres: PostgresServer) -> AsyncIterator[Sample]:
    database = Database(postgres.databases.create())
    found = Sample(database)
    await found.create()
    yield found
    await database.close()


@pytest.fixture
def amqp_url(rabbitmq: RabbitMq) -> Iterator[str]:
    name = f"t{secrets.token_hex(6)}"
    yield rabbitmq.vhosts.create(name)
    rabbitmq.daemon.mend()
    rabbitmq.vhosts.delete(name)


class Journey:
    """The service under test with its loops: it says events, and takes them itself."""

    def __init__(self, sample: Sample, bus: Bus) -> None:
        self.sample = sample
        self.bus = bus
        self.taken = 0
        self.poison_offers = 0
        self.pulse = Pulse()

    async def take(self, message: Message) -> None:
        if message.id == event(POISON).id:
            self.poison_offers += 1
            raise KeyError("no such colour")
        await self.sample.take(message)
        self.taken += 1

    def loops(self) -> list[Loop]:
        async def consume() -> None:
            await self.bus.consume(QUEUE, self.take)

        relay = Relay(self.sample.database, self.sample.outbox, self.bus)
        return [*relay.loops(), Loop(name="intake", step=consume, interval_s=1, is_server=True)]

    async def say_all(self) -> None:
        """Say every event, in small transactions, as often as the database asks for it."""
        for first in range(0, COUNT, 20):
            while True:
                try:
                    await self.sample.say(*(event(number) for number in range(first, first + 20)))
                except DatabaseUnavailable:
                    await asyncio.sleep(0.05)
                else:
                    break

    async def until_all_are_seen(self) -> dict[str, int]:
        async with asyncio.timeout(90):
            while True:
                try:
                    seen = await self.sample.seen()
                    if len(seen) == COUNT - 1 and not await self.sample.unpublished():
                        return seen
                except DatabaseUnavailable:
                    pass
                await asyncio.sleep(0.1)


async def test_rabbitmq_and_postgresql_die_in_the_middle_and_every_event_takes_effect_once(
    sample: Sample, amqp_url: str, postgres: PostgresServer, rabbitmq: RabbitMq
) -> None:
    bus, stop = AmqpBus(amqp_url, queues=(QUEUE,), rules=RULES), asyncio.Event()
    journey = Journey(sample, bus)
    await bus.check()

    async with asyncio.TaskGroup() as group:
        running = group.create_task(run(journey.loops(), journey.pulse, stop))
        saying = group.create_task(journey.say_all())
        await eventually(lambda: journey.taken > 300)
        postgres.daemon.kill()
        await eventually(lambda: bus.fault is not None)
        said = bus.fault
        await asyncio.to_thread(postgres.daemon.start)
        await eventually(lambda: journey.taken > 600)
        await asyncio.to_thread(rabbitmq.daemon.stop)
        await eventually(lambda: "sample.relay" in journey.pulse.faults)
        await asyncio.to_thread(rabbitmq.daemon.start)
        await saying
        seen = await journey.until_all_are_seen()
        letters = await dead_letters_of(amqp_url, QUEUE)
        stop.set()
        await running
    await bus.close()

    assert said is not None
    assert said.startswith("t.items waits: PostgreSQL: ")
    assert set(seen.values()) == {1}
    assert letters == [(event(POISON).id, "delivered 3 times, always: KeyError('no such colour')")]


async def test_a_dead_database_uses_up_no_delivery(sample: Sample, amqp_url: str, postgres: PostgresServer) -> None:
    bus = AmqpBus(
        amqp_url, queues=(QUEUE,), rules=Rules(delivery_limit=1, retrying=Backoff(first_s=0.01, longest_s=0.02))
    )
    journey, offers = Journey(sample, bus), 0

    async def take(message: Message) -> None:
        nonlocal offers
        offers += 1
        await journey.sample.take(message)

    await sample.say(event(1))
    postgres.daemon.stop()
    async with asyncio.TaskGroup() as group:
        consuming = group.create_task(bus.consume(QUEUE, take))
        await bus.publish(message_of(event(1)))
        await eventually(lambda: offers > 20)
        await asyncio.to_thread(postgres.daemon.start)
        await eventually(lambda: bus.fault is None)
        consuming.cancel()
    await bus.close()

    assert await sample.seen() == {"t1": 1}


async def test_in_one_process_a_killed_database_loses_and_burns_nothing(
    sample: Sample, postgres: PostgresServer
) -> None:
    bus, stop = MemoryBus(queues=(QUEUE,), rules=RULES), asyncio.Event()
    journey = Journey(sample, bus)

    async with asyncio.TaskGroup() as group:
        running = group.create_task(run(journey.loops(), journey.pulse, stop))
        saying = group.create_task(journey.say_all())
        await eventually(lambda: journey.taken > 300)
        postgres.daemon.kill()
        await eventually(lambda: bus.fault is not None)
        await asyncio.to_thread(postgres.daemon.start)
        await saying
        seen = await journey.until_all_are_seen()
        stop.set()
        await running

    assert set(seen.values()) == {1}
    assert [letter.message.id for letter in bus.dead] == [event(POISON).id]
    assert journey.poison_offers == 3
