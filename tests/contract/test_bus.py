"""The rules of `bus.Bus`, held by the in-process bus and by RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import pytest

from scripthut_common.bus import COMMANDS_EXCHANGE, EVENTS, Bus, Message, Queue, Take
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.bus.memory import MemoryBus
from scripthut_common.bus.taking import Rules
from scripthut_common.errors import BadMessage, DatabaseUnavailable, LimitExceeded, Unroutable
from scripthut_common.retrying import Backoff
from tests.contract.brokers import dead_letters_of
from tests.eventually import eventually

AT_ONCE = Backoff(first_s=0.01, longest_s=0.05)
RULES = Rules(delivery_limit=3, retrying=AT_ONCE, redelivering=AT_ONCE)
QUEUE = Queue(name="t.items", exchange=EVENTS, bindings=("item.#", "run.completed.*"))
OTHER = Queue(name="t.other", exchange=EVENTS, bindings=("item.completed.#",))
COMMANDS = Queue(name="t.commands", exchange=COMMANDS_EXCHANGE, bindings=("run.#",))
QUEUES = (QUEUE, OTHER, COMMANDS)


class Bench(Protocol):
    """One kind of bus under test."""

    def bus(self, rules: Rules = ..., queues: tuple[Queue, ...] = ...) -> Bus: ...

    async def dead(self, bus: Bus, queue: Queue) -> list[tuple[str, str]]:
        """Wait for a dead letter of the queue; give ids with reasons."""
        ...


class MemoryBench:
    """The in-process bus."""

    def bus(self, rules: Rules = RULES, queues: tuple[Queue, ...] = QUEUES) -> MemoryBus:
        return MemoryBus(rules=rules, queues=queues)

    async def dead(self, bus: Bus, queue: Queue) -> list[tuple[str, str]]:
        assert isinstance(bus, MemoryBus)
        await eventually(lambda: bool(bus.dead))
        return [(letter.message.id, letter.reason) for letter in bus.dead if letter.queue == queue.name]


class AmqpBench:
    """RabbitMQ, in a virtual host of this test alone."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def bus(self, rules: Rules = RULES, queues: tuple[Queue, ...] = QUEUES) -> AmqpBus:
        return AmqpBus(self._uri, rules=rules, queues=queues)

    async def dead(self, bus: Bus, queue: Queue) -> list[tuple[str, str]]:  # noqa: ARG002  the memory bus needs it
        return await dead_letters_of(self._uri, queue)


@pytest.fixture(params=["memory", "amqp"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "memory":
        return MemoryBench()
    return AmqpBench(request.getfixturevalue("amqp_uri"))


def message(number: int, key: str = "item.changed.daint", *, exchange: str = EVENTS, size: int = 10) -> Message:
    return Message(id=f"id-{number}", exchange=exchange, routing_key=key, body=b"x" * size, mandatory=True)


class Taken:
    """A consumer that remembers what it took, and can be made to fail first."""

    def __init__(self, fail: Callable[[Message, int], Exception | None] = lambda _message, _times: None) -> None:
        self.ids: list[str] = []
        self.offers: dict[str, int] = {}
        self._fail = fail
        self._changed = asyncio.Condition()

    async def take(self, message: Message) -> None:
        self.offers[message.id] = self.offers.get(message.id, 0) + 1
        error = self._fail(message, self.offers[message.id])
        if error is not None:
            raise error
        async with self._changed:
            self.ids.append(message.id)
            self._changed.notify_all()

    async def wait_for(self, count: int) -> list[str]:
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(self.ids) >= count)
        return self.ids


@asynccontextmanager
async def consuming(bus: Bus, *pairs: tuple[Queue, Take]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(_consume(bus, queue, take)) for queue, take in pairs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bus.close()


async def _consume(bus: Bus, queue: Queue, take: Take) -> None:
    await bus.consume(queue, take)


async def never(_: Message) -> None:
    await asyncio.Event().wait()


async def test_a_message_reaches_every_queue_that_is_bound_to_its_key(bench: Bench) -> None:
    bus, items, other, commands = bench.bus(), Taken(), Taken(), Taken()

    async with consuming(bus, (QUEUE, items.take), (OTHER, other.take), (COMMANDS, commands.take)):
        await bus.publish(message(1, "item.changed.daint"))
        await bus.publish(message(2, "item.completed.daint"))
        await bus.publish(message(3, "run.completed.daint"))
        await bus.publish(message(4, "run.requested.daint", exchange=COMMANDS_EXCHANGE))

        assert sorted(await items.wait_for(3)) == ["id-1", "id-2", "id-3"]
        assert await other.wait_for(1) == ["id-2"]
        assert await commands.wait_for(1) == ["id-4"]


async def test_a_message_arrives_as_it_was_sent(bench: Bench) -> None:
    bus, found = bench.bus(), asyncio.get_running_loop().create_future()
    sent = Message(id="é-1", exchange=EVENTS, routing_key="item.changed.a-b", body=bytes(range(256)), mandatory=True)

    async def take(arrived: Message) -> None:
        found.set_result(arrived)

    async with consuming(bus, (QUEUE, take), (OTHER, never), (COMMANDS, never)):
        await bus.publish(sent)
        arrived = await asyncio.wait_for(found, 10)

    assert (arrived.id, arrived.exchange, arrived.routing_key, arrived.body) == (
        sent.id,
        sent.exchange,
        sent.routing_key,
        sent.body,
    )


async def test_many_messages_travel_at_once_and_none_is_lost(bench: Bench) -> None:
    bus, items = bench.bus(), Taken()

    async with consuming(bus, (QUEUE, items.take), (OTHER, never), (COMMANDS, never)):
        await asyncio.gather(*(bus.publish(message(number)) for number in range(1000)))
        taken = await items.wait_for(1000)

    assert sorted(taken) == sorted(f"id-{number}" for number in range(1000))


async def test_a_mandatory_message_that_nobody_is_bound_to_is_refused(bench: Bench) -> None:
    bus = bench.bus(queues=(COMMANDS,))

    with pytest.raises(Unroutable, match=r"item\.changed\.daint"):
        await bus.publish(message(1))

    await bus.close()


async def test_unroutable_and_routable_messages_in_flight_together_are_told_apart(bench: Bench) -> None:
    bus, commands = bench.bus(queues=(COMMANDS,)), Taken()
    mixed = [
        message(number, exchange=EVENTS)
        if number % 2
        else message(number, "run.requested.daint", exchange=COMMANDS_EXCHANGE)
        for number in range(40)
    ]

    async with consuming(bus, (COMMANDS, commands.take)):
        results = await asyncio.gather(*(bus.publish(one) for one in mixed), return_exceptions=True)

    assert [isinstance(result, Unroutable) for result in results] == [bool(number % 2) for number in range(40)]


async def test_an_event_that_needs_no_reader_may_go_unread(bench: Bench) -> None:
    bus = bench.bus(queues=())

    await bus.publish(
        Message(id="1", exchange=EVENTS, routing_key="outputs.collected.daint", body=b"{}", mandatory=False)
    )

    await bus.close()


async def test_an_event_above_64_kib_is_refused_and_a_command_is_not(bench: Bench) -> None:
    bus, commands = bench.bus(queues=(QUEUE, COMMANDS)), Taken()

    async with consuming(bus, (COMMANDS, commands.take)):
        with pytest.raises(LimitExceeded, match="65536"):
            await bus.publish(message(1, size=64 * 1024 + 1))
        await bus.publish(message(2, "run.requested.a", exchange=COMMANDS_EXCHANGE, size=512 * 1024))

        assert await commands.wait_for(1) == ["id-2"]


async def test_a_transient_fault_is_waited_out_without_using_up_deliveries(bench: Bench) -> None:
    bus = bench.bus()
    items = Taken(lambda _, times: DatabaseUnavailable("PostgreSQL: down") if times <= 10 else None)

    async with consuming(bus, (QUEUE, items.take), (OTHER, never), (COMMANDS, never)):
        await bus.publish(message(1))
        assert await items.wait_for(1) == ["id-1"]

    assert items.offers == {"id-1": 11}


async def test_while_a_consumer_waits_one_message_alone_is_tried_again(bench: Bench) -> None:
    is_down, active, most_active, retries = True, 0, 0, 0
    bus, items = bench.bus(), Taken()

    async def take(found: Message) -> None:
        nonlocal active, most_active, retries
        active += 1
        await asyncio.sleep(0.01)
        if is_down and items.offers.setdefault(found.id, 0):
            most_active, retries = max(most_active, active), retries + 1
        active -= 1
        items.offers[found.id] = items.offers.get(found.id, 0) + 1
        if is_down:
            raise DatabaseUnavailable("PostgreSQL: down")
        await items.take(found)

    async with consuming(bus, (QUEUE, take), (OTHER, never), (COMMANDS, never)):
        publishing = asyncio.gather(*(bus.publish(message(number)) for number in range(20)))
        await eventually(lambda: retries >= 10)
        fault = bus.fault
        is_down = False
        await publishing
        await items.wait_for(20)

        assert bus.fault is None

    assert fault == "t.items waits: PostgreSQL: down"
    assert most_active == 1
    assert len(items.ids) == 20


async def test_a_message_that_can_never_be_taken_is_buried_with_the_reason(bench: Bench) -> None:
    bus = bench.bus()
    items = Taken(lambda found, _: BadMessage("not a readable event") if found.id == "id-1" else None)

    async with consuming(bus, (QUEUE, items.take), (OTHER, never), (COMMANDS, never)):
        await bus.publish(message(1))
        await bus.publish(message(2))
        await items.wait_for(1)

        assert await bench.dead(bus, QUEUE) == [("id-1", "not a readable event")]

    assert items.ids == ["id-2"]
    assert items.offers["id-1"] == 1


async def test_a_bug_is_offered_up_to_the_delivery_limit_and_then_buried(bench: Bench) -> None:
    bus = bench.bus()
    items = Taken(lambda found, _: KeyError("colour") if found.id == "id-1" else None)

    async with consuming(bus, (QUEUE, items.take), (OTHER, never), (COMMANDS, never)):
        await bus.publish(message(1))
        await bus.publish(message(2))
        await items.wait_for(1)

        assert await bench.dead(bus, QUEUE) == [("id-1", "delivered 3 times, always: KeyError('colour')")]

    assert items.offers == {"id-1": 3, "id-2": 1}


async def test_a_bug_that_goes_away_costs_nothing(bench: Bench) -> None:
    bus = bench.bus()
    items = Taken(lambda _, times: KeyError("colour") if times == 1 else None)

    async with consuming(bus, (QUEUE, items.take), (OTHER, never), (COMMANDS, never)):
        await bus.publish(message(1))

        assert await items.wait_for(1) == ["id-1"]


async def test_a_message_held_too_long_is_let_go_and_comes_again_uncounted(bench: Bench) -> None:
    is_down = True
    impatient = Rules(delivery_limit=1, retrying=AT_ONCE, redelivering=AT_ONCE, let_go_after_s=0.1)
    bus = bench.bus(rules=impatient)
    items = Taken(lambda _message, _times: DatabaseUnavailable("down") if is_down else None)

    async with consuming(bus, (QUEUE, items.take), (OTHER, never), (COMMANDS, never)):
        publishing = asyncio.create_task(bus.publish(message(1)))
        await asyncio.sleep(1)
        is_down = False
        await publishing
        await items.wait_for(1)

    assert items.ids == ["id-1"]


async def test_a_take_that_hangs_is_ended_and_tried_again(bench: Bench) -> None:
    bus = bench.bus(rules=Rules(retrying=AT_ONCE, attempt_timeout_s=0.1))
    offers = 0
    taken = asyncio.Event()

    async def take(_: Message) -> None:
        nonlocal offers
        offers += 1
        if offers == 1:
            await asyncio.Event().wait()
        taken.set()

    async with consuming(bus, (QUEUE, take), (OTHER, never), (COMMANDS, never)):
        await bus.publish(message(1))
        await asyncio.wait_for(taken.wait(), 10)

    assert offers == 2


async def test_what_a_stopped_consumer_held_is_taken_by_the_next(bench: Bench) -> None:
    bus, held, items = bench.bus(queues=(QUEUE,)), asyncio.Event(), Taken()

    async def hold(_: Message) -> None:
        held.set()
        await asyncio.Event().wait()

    first = asyncio.create_task(_consume(bus, QUEUE, hold))
    publishing = asyncio.create_task(bus.publish(message(1)))
    await asyncio.wait_for(held.wait(), 10)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    async with consuming(bus, (QUEUE, items.take)):
        assert await items.wait_for(1) == ["id-1"]
        await publishing


async def test_burying_is_insisted_on_until_it_works() -> None:
    attempts: list[Exception | None] = [DatabaseUnavailable("down"), BadMessage("no text"), KeyError("bug"), None]
    buried: list[str] = []

    async def bury(_queue: Queue, found: Message, reason: str) -> None:
        if (error := attempts.pop(0)) is not None:
            raise error
        buried.append(f"{found.id}: {reason}")

    bus = MemoryBus(bury=bury, queues=(QUEUE,), rules=RULES)
    async with consuming(bus, (QUEUE, Taken(lambda *_: BadMessage("not a readable event")).take)):
        await bus.publish(message(1))

    assert buried == ["id-1: not a readable event"]


async def test_check_says_nothing_when_the_bus_works(bench: Bench) -> None:
    bus = bench.bus()

    async with consuming(bus, *((queue, Taken().take) for queue in QUEUES)):
        await bus.publish(message(1))

        assert await bus.check() is None


async def test_a_consumer_that_is_cancelled_at_any_moment_ends(bench: Bench) -> None:
    for place in range(40):
        bus = bench.bus()
        tasks = [asyncio.create_task(_consume(bus, queue, Taken().take)) for queue in QUEUES]
        await asyncio.sleep(0.002 * place)

        for task in tasks:
            task.cancel()
        _, going_on = await asyncio.wait(tasks, timeout=20)
        await bus.close()

        assert not going_on, f"cancelled after {2 * place} ms"
