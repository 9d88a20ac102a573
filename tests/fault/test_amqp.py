"""What `AmqpBus` makes of a broker that stops, dies, hangs or loses its memory."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from scripthut_common.bus import EVENTS, Message, Queue
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.bus.taking import Rules
from scripthut_common.bus.topology import DEAD, dead_name
from scripthut_common.errors import BadMessage, BusUnavailable, SettingsError, Unroutable
from scripthut_common.retrying import Backoff
from tests.contract.brokers import dead_letters_of
from tests.eventually import eventually
from tests.testbed.rabbitmq import RabbitMq

SOON = Backoff(first_s=0.1, longest_s=0.5)
QUEUE = Queue(name="t.items", exchange=EVENTS, bindings=("item.#",))


def message(number: int, key: str = "item.changed.daint") -> Message:
    return Message(id=f"id-{number}", exchange=EVENTS, routing_key=key, body=b"{}", mandatory=True)


class Taken:
    """Remembers what it took."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    async def take(self, message: Message) -> None:
        self.ids.add(message.id)


@pytest.fixture
def own_vhost(rabbitmq: RabbitMq) -> Iterator[tuple[str, str]]:
    """A virtual host (name, URI) on the broker that this test may stop."""
    name = f"t{secrets.token_hex(6)}"
    yield name, rabbitmq.vhosts.create(name)
    rabbitmq.daemon.mend()
    rabbitmq.vhosts.delete(name)


@pytest.fixture
async def bus(own_vhost: tuple[str, str]) -> AsyncIterator[AmqpBus]:
    found = AmqpBus(own_vhost[1], queues=(QUEUE,), rules=Rules(reconnecting=SOON), publish_timeout_s=10)
    yield found
    await found.close()


async def publish_until_safe(bus: AmqpBus, *messages: Message) -> None:
    """Do as the relay does."""

    async def publish(one: Message) -> None:
        while True:
            try:
                await bus.publish(one)
            except BusUnavailable:
                await asyncio.sleep(0.05)
            else:
                return

    async with asyncio.timeout(120):
        await asyncio.gather(*(publish(one) for one in messages))


async def test_nothing_is_lost_while_the_broker_is_killed_and_comes_back(
    bus: AmqpBus, own_vhost: tuple[str, str], rabbitmq: RabbitMq
) -> None:
    taken = Taken()

    async def take(one: Message) -> None:
        if one.id == "id-7":
            raise BadMessage("not a readable event")
        await taken.take(one)

    async with asyncio.TaskGroup() as group:
        consuming = group.create_task(bus.consume(QUEUE, take))
        await publish_until_safe(bus, *(message(number) for number in range(100)))
        # A quorum queue has no life before its first seconds: killed so soon, the broker cannot recover it.
        await asyncio.sleep(3)
        publishing = group.create_task(publish_until_safe(bus, *(message(number) for number in range(100, 5000))))
        await eventually(lambda: len(taken.ids) > 200)
        await asyncio.to_thread(rabbitmq.daemon.kill)
        await asyncio.to_thread(rabbitmq.daemon.start)
        await publishing
        await eventually(lambda: len(taken.ids) == 4999, 60)
        consuming.cancel()

    assert bus.fault is None
    assert await dead_letters_of(own_vhost[1], QUEUE) == [("id-7", "not a readable event")]


async def test_an_outage_is_said_in_words_and_forgotten_when_it_is_over(bus: AmqpBus, rabbitmq: RabbitMq) -> None:
    taken = Taken()
    async with asyncio.TaskGroup() as group:
        consuming = group.create_task(bus.consume(QUEUE, taken.take))
        await bus.publish(message(1))
        said_before = await bus.check()

        rabbitmq.daemon.stop()
        with pytest.raises(BusUnavailable, match="RabbitMQ: "):
            await bus.publish(message(2))
        said_during = await bus.check()

        await asyncio.to_thread(rabbitmq.daemon.start)
        await publish_until_safe(bus, message(2))
        await eventually(lambda: taken.ids == {"id-1", "id-2"})
        said_after = await bus.check()
        consuming.cancel()

    assert said_before is None
    assert said_during is not None
    assert "RabbitMQ" in said_during
    assert said_after is None


async def test_a_broker_that_hangs_is_an_outage_after_the_time_limit(
    own_vhost: tuple[str, str], rabbitmq: RabbitMq
) -> None:
    bus = AmqpBus(own_vhost[1], queues=(QUEUE,), publish_timeout_s=0.5)
    await bus.publish(message(1))

    rabbitmq.daemon.pause()
    with pytest.raises(BusUnavailable, match="did not answer in time"):
        await bus.publish(message(2))
    rabbitmq.daemon.resume()

    await publish_until_safe(bus, message(3))
    await bus.close()


async def test_a_queue_deleted_under_its_consumer_is_declared_again(
    bus: AmqpBus, own_vhost: tuple[str, str], rabbitmq: RabbitMq
) -> None:
    taken = Taken()
    async with asyncio.TaskGroup() as group:
        consuming = group.create_task(bus.consume(QUEUE, taken.take))
        await bus.publish(message(1))
        await eventually(lambda: taken.ids == {"id-1"})

        await asyncio.to_thread(rabbitmq.vhosts.manage, "DELETE", f"queues/{own_vhost[0]}/{QUEUE.name}")
        async with asyncio.timeout(30):
            # What the queue took while it was being deleted is gone with it.
            for number in itertools.count(2):
                await publish_until_safe(bus, message(number))
                await asyncio.sleep(0.05)
                if len(taken.ids) > 1:
                    break
        consuming.cancel()


async def test_a_broker_that_lost_everything_gets_its_topology_again(
    bus: AmqpBus, own_vhost: tuple[str, str], rabbitmq: RabbitMq
) -> None:
    taken = Taken()
    async with asyncio.TaskGroup() as group:
        consuming = group.create_task(bus.consume(QUEUE, taken.take))
        await bus.publish(message(1))
        await eventually(lambda: taken.ids == {"id-1"})

        await asyncio.to_thread(rabbitmq.vhosts.delete, own_vhost[0])
        with pytest.raises(BusUnavailable):
            await bus.publish(message(2))
        await asyncio.to_thread(rabbitmq.vhosts.create, own_vhost[0])
        await publish_until_safe(bus, message(2))
        await eventually(lambda: taken.ids == {"id-1", "id-2"})
        consuming.cancel()


async def test_an_exchange_deleted_by_hand_is_declared_again(
    bus: AmqpBus, own_vhost: tuple[str, str], rabbitmq: RabbitMq
) -> None:
    await bus.publish(message(1))

    await asyncio.to_thread(rabbitmq.vhosts.manage, "DELETE", f"exchanges/{own_vhost[0]}/{EVENTS}")

    await publish_until_safe(bus, message(2))


async def test_a_queue_that_was_made_differently_is_a_fault_in_words(
    own_vhost: tuple[str, str], rabbitmq: RabbitMq
) -> None:
    classic = {"durable": True, "arguments": {"x-queue-type": "classic"}}
    rabbitmq.vhosts.manage("PUT", f"queues/{own_vhost[0]}/{QUEUE.name}", classic)
    bus = AmqpBus(own_vhost[1], queues=(QUEUE,))

    said = await bus.check()

    assert said is not None
    assert "PRECONDITION_FAILED" in said
    assert QUEUE.name in said
    await bus.close()


async def test_a_wrong_password_is_a_fault_that_does_not_repeat_it(rabbitmq: RabbitMq) -> None:
    bus = AmqpBus(rabbitmq.uri.replace("guest:guest", "guest:opensesame"))

    said = await bus.check()

    assert said is not None
    assert "ACCESS_REFUSED" in said or "authentication" in said.lower()
    assert "opensesame" not in said
    await bus.close()


async def test_a_message_that_kills_its_consumer_every_time_ends_as_a_dead_letter_of_the_broker(
    bus: AmqpBus, own_vhost: tuple[str, str], rabbitmq: RabbitMq, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripthut_common.bus.topology._BROKER_DELIVERY_LIMIT", 2)
    deliveries = 0

    async def die(_: Message) -> None:
        nonlocal deliveries
        deliveries += 1
        await asyncio.Event().wait()

    await bus.publish(message(1))
    for _ in range(3):
        before = deliveries
        consuming = asyncio.create_task(bus.consume(QUEUE, die))
        await eventually(lambda before=before: deliveries > before)  # type: ignore[misc]  # bound in the loop
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)

    await asyncio.to_thread(_wait_for_depth, rabbitmq, own_vhost[0], dead_name(QUEUE))
    assert deliveries == 3


async def test_a_bug_among_many_good_messages_costs_them_nothing(own_vhost: tuple[str, str]) -> None:
    fast = Backoff(first_s=0.001, longest_s=0.01)
    bus = AmqpBus(own_vhost[1], queues=(QUEUE,), rules=Rules(delivery_limit=5, redelivering=fast))
    offers: dict[str, int] = {}

    async def take(one: Message) -> None:
        offers[one.id] = offers.get(one.id, 0) + 1
        if one.id == "id-7":
            raise KeyError(one.id)

    async with asyncio.TaskGroup() as group:
        consuming = group.create_task(bus.consume(QUEUE, take))
        await asyncio.gather(*(bus.publish(message(number)) for number in range(500)))
        letters = await dead_letters_of(own_vhost[1], QUEUE)
        await eventually(lambda: len(offers) == 500)
        consuming.cancel()
    await bus.close()

    assert [number for number, _ in letters] == ["id-7"]
    assert offers.pop("id-7") == 5
    assert set(offers.values()) == {1}


async def test_what_amqp_cannot_carry_is_refused_for_good(bus: AmqpBus) -> None:
    with pytest.raises(BadMessage, match="cannot carry"):
        await bus.publish(message(1, "item." + "x" * 300))

    await bus.publish(message(2))


async def test_an_unroutable_message_does_not_disturb_the_connection(bus: AmqpBus) -> None:
    for number in range(3):
        with pytest.raises(Unroutable):
            await bus.publish(message(number, "unknown.kind.daint"))

        await bus.publish(message(10 + number))


async def test_an_event_nobody_is_bound_to_can_be_seen_at_the_alternate_exchange(
    bus: AmqpBus, own_vhost: tuple[str, str], rabbitmq: RabbitMq
) -> None:
    await bus.check()
    name = own_vhost[0]
    rabbitmq.vhosts.manage("PUT", f"queues/{name}/audit", {"durable": True})
    rabbitmq.vhosts.manage("POST", f"bindings/{name}/e/scripthut.unrouted/q/audit", {"routing_key": "outputs.#"})

    await bus.publish(Message(id="1", exchange=EVENTS, routing_key="outputs.collected.a", body=b"{}", mandatory=False))

    await asyncio.to_thread(_wait_for_depth, rabbitmq, name, "audit")


@pytest.mark.parametrize("url", ["", "localhost:5672", "http://localhost", "amqp://", "amqp://host:port/"])
def test_an_address_that_is_none_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="address of RabbitMQ"):
        AmqpBus(url)


def _wait_for_depth(rabbitmq: RabbitMq, vhost: str, queue: str) -> None:
    """Wait until a queue holds a message."""
    for _ in range(300):
        got = rabbitmq.vhosts.manage(
            "POST", f"queues/{vhost}/{queue}/get", {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
        )
        if got:
            return
    raise AssertionError(f"{queue} stayed empty; {DEAD} got nothing")
