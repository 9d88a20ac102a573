"""The outbox, the inbox and the relay between them on a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from scripthut_common.bus import Message, Queue, message_of
from scripthut_common.bus.memory import MemoryBus
from scripthut_common.database import Database
from scripthut_common.dead_letters import DeadLetters
from scripthut_common.dead_letters import define as define_dead_letters
from scripthut_common.errors import BusUnavailable, Unroutable
from scripthut_common.events import Type
from scripthut_common.relay import Relay
from scripthut_common.supervision import Pulse, run
from tests.eventing import INBOX, METADATA, OUTBOX, Sample, event
from tests.eventually import eventually


@pytest.fixture
async def sample(database_uri: str) -> AsyncIterator[Sample]:
    database = Database(database_uri)
    found = Sample(database)
    await found.create()
    yield found
    await database.close()


class Wire:
    """A bus that notes what it is given and refuses on request."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.refuse: dict[str, Exception] = {}
        self.fault: str | None = None

    async def publish(self, message: Message) -> None:
        await asyncio.sleep(0)
        if error := self.refuse.get(message.id) or self.refuse.get("*"):
            raise error
        self.ids.append(message.id)

    async def consume(self, queue: Queue, take: object) -> None:
        raise NotImplementedError

    async def check(self) -> str | None:
        return self.fault

    async def close(self) -> None:
        pass


async def test_events_leave_in_the_order_in_which_they_became_true(sample: Sample) -> None:
    wire, said = Wire(), [event(number) for number in range(1200)]
    relay = Relay(sample.database, sample.outbox, wire)
    await sample.say(*said[:700])
    await sample.say(*said[700:])

    while await relay.step():
        pass

    assert wire.ids == [one.id for one in said]
    assert await sample.unpublished() == 0


async def test_an_event_said_twice_is_one_event(sample: Sample) -> None:
    wire = Wire()
    await sample.say(event(1), event(2), event(1))
    await sample.say(event(2))

    await Relay(sample.database, sample.outbox, wire).step()

    assert wire.ids == [event(1).id, event(2).id]


async def test_what_was_rolled_back_never_leaves(sample: Sample) -> None:
    wire = Wire()
    with pytest.raises(ZeroDivisionError):
        async with sample.database.transaction() as connection:
            await sample.outbox.add(connection, [event(1)])
            raise ZeroDivisionError

    await Relay(sample.database, sample.outbox, wire).step()

    assert wire.ids == []


async def test_a_row_keeps_what_the_event_said(sample: Sample) -> None:
    said = event(1, Type.ITEM_COMPLETED)
    await sample.say(said)

    (leaving,) = await sample.outbox.claim(sample.database, limit=10, lease_s=60)

    assert leaving.message == message_of(said)
    assert await sample.outbox.claim(sample.database, limit=10, lease_s=60) == []


async def test_while_the_bus_is_away_rows_wait_unburnt_and_leave_at_once_when_it_is_back(sample: Sample) -> None:
    wire = Wire()
    relay = Relay(sample.database, sample.outbox, wire)
    await sample.say(event(1), event(2))
    wire.refuse = {"*": BusUnavailable("RabbitMQ: away")}
    for _ in range(3):
        with pytest.raises(BusUnavailable, match="2 events wait: RabbitMQ: away"):
            await relay.step()
    failing = await relay.check()

    wire.refuse = {}
    await relay.step()

    assert failing is None
    assert wire.ids == [event(1).id, event(2).id]


async def test_an_event_that_cannot_leave_steps_aside_says_why_and_leaves_later(sample: Sample) -> None:
    wire = Wire()
    relay = Relay(sample.database, sample.outbox, wire)
    await sample.say(event(1), event(2), event(3))
    wire.refuse = {event(2).id: Unroutable("no queue is bound")}

    await relay.step()
    said, left = await relay.check(), list(wire.ids)
    wire.refuse = {}
    await _make_due(sample.database)
    await relay.step()

    assert left == [event(1).id, event(3).id]
    assert said == "1 events cannot be published: no queue is bound"
    assert wire.ids[-1] == event(2).id
    assert await relay.check() is None


async def test_a_relay_stopped_while_it_publishes_gives_its_claims_back(sample: Sample) -> None:
    class Stuck(Wire):
        async def publish(self, message: Message) -> None:
            if message.id != event(1).id:
                await asyncio.Event().wait()
            self.ids.append(message.id)

    stuck, wire = Stuck(), Wire()
    await sample.say(event(1), event(2), event(3))
    stepping = asyncio.create_task(Relay(sample.database, sample.outbox, stuck).step())
    await eventually(lambda: bool(stuck.ids))
    stepping.cancel()
    await asyncio.gather(stepping, return_exceptions=True)

    await Relay(sample.database, sample.outbox, wire).step()

    assert wire.ids == [event(2).id, event(3).id]


async def test_what_a_killed_relay_held_is_claimed_by_another_when_its_lease_ends(sample: Sample) -> None:
    await sample.say(event(1))
    await sample.outbox.claim(sample.database, limit=10, lease_s=60)

    none = await sample.outbox.claim(sample.database, limit=10, lease_s=60)
    await _make_due(sample.database)
    (again,) = await sample.outbox.claim(sample.database, limit=10, lease_s=60)

    assert none == []
    assert again.message.id == event(1).id


async def test_two_relays_share_the_work(sample: Sample) -> None:
    wire = Wire()
    await sample.say(*(event(number) for number in range(2000)))

    async def drain() -> None:
        relay = Relay(sample.database, sample.outbox, wire)
        while await relay.step():
            pass

    await asyncio.gather(drain(), drain(), drain())
    await drain()

    assert sorted(wire.ids) == sorted(event(number).id for number in range(2000))


async def test_an_event_wakes_the_relay_of_another_process(sample: Sample, database_uri: str) -> None:
    wire, stop, pulse = Wire(), asyncio.Event(), Pulse()
    elsewhere = Database(database_uri)
    relay = Relay(elsewhere, sample.outbox, wire)
    async with asyncio.TaskGroup() as group:
        group.create_task(run(relay.loops(), pulse, stop))
        await _until_heard(sample, wire)
        for number in range(1, 20):
            await sample.say(event(number))
            # Far below the five seconds of polling: each event leaves on its own commit.
            await eventually(lambda number=number: len(wire.ids) == number + 1, timeout_s=3)  # type: ignore[misc]
        stop.set()
    await elsewhere.close()

    assert pulse.faults == {}


async def test_in_one_process_a_published_event_is_a_taken_one(sample: Sample) -> None:
    queue = Queue(name="t", exchange="scripthut.events", bindings=("item.#",))
    bus = MemoryBus(queues=(queue,))
    relay = Relay(sample.database, sample.outbox, bus)
    await sample.say(*(event(number) for number in range(300)))
    async with asyncio.TaskGroup() as group:
        consuming = group.create_task(bus.consume(queue, sample.take))
        while await relay.step():
            pass
        seen = await sample.seen()
        consuming.cancel()

    assert seen == {f"t{number}": 1 for number in range(300)}


async def test_the_inbox_takes_a_message_once(sample: Sample) -> None:
    message = message_of(event(1))

    await asyncio.gather(*(sample.take(message) for _ in range(20)))

    assert await sample.seen() == {"t1": 1}


async def test_a_message_rolled_back_can_be_taken_again(sample: Sample) -> None:
    with pytest.raises(ZeroDivisionError):
        async with sample.database.transaction() as connection:
            assert await sample.inbox.take(connection, "m")
            raise ZeroDivisionError

    async with sample.database.transaction() as connection:
        assert await sample.inbox.take(connection, "m")
        assert not await sample.inbox.take(connection, "m")


async def test_rows_older_than_thirty_days_are_dropped_unless_they_still_have_to_leave(sample: Sample) -> None:
    await sample.say(event(1), event(2), event(3))
    (first, *_) = await sample.outbox.claim(sample.database, limit=2, lease_s=1)
    await sample.outbox.settle(sample.database, published=[first.number], waiting=[], aside=[])
    async with sample.database.transaction() as connection:
        await sample.inbox.take(connection, "old")
        old = func.now() - timedelta(days=31)
        await connection.execute(update(OUTBOX).where(OUTBOX.c.message_id != event(3).id).values(added_at=old))
        await connection.execute(update(INBOX).values(taken_at=old))
        await sample.inbox.take(connection, "new")

    assert not await sample.outbox.prune(sample.database)
    assert not await sample.inbox.prune(sample.database)

    async with sample.database.transaction() as connection:
        left = (await connection.execute(select(OUTBOX.c.message_id))).scalars().all()
        taken = (await connection.execute(select(INBOX.c.message_id))).scalars().all()
    assert set(left) == {event(2).id, event(3).id}
    assert taken == ["new"]


async def test_dead_letters_of_one_process_are_kept_once_with_the_reason(sample: Sample) -> None:
    table = define_dead_letters(METADATA.__class__(schema="sample", naming_convention=METADATA.naming_convention))
    async with sample.database.transaction() as connection:
        await connection.run_sync(table.create)
    letters = DeadLetters(sample.database, table)
    queue = Queue(name="t", exchange="scripthut.events", bindings=("item.#",))

    for _ in range(2):
        await letters.bury(queue, message_of(event(1)), "bad \0 \udcff news")

    async with sample.database.transaction() as connection:
        (row,) = (await connection.execute(select(table))).all()
    assert (row.queue, row.message_id, row.body) == ("t", event(1).id, message_of(event(1)).body)
    assert row.reason == "bad \N{SYMBOL FOR NULL} \\udcff news"


async def test_dead_letters_of_one_process_are_gone_once_they_are_taken_after_all(sample: Sample) -> None:
    table = define_dead_letters(METADATA.__class__(schema="sample", naming_convention=METADATA.naming_convention))
    async with sample.database.transaction() as connection:
        await connection.run_sync(table.create)
    letters = DeadLetters(sample.database, table)
    queue = Queue(name="t", exchange="scripthut.events", bindings=("item.#",))
    for number in (1, 2):
        await letters.bury(queue, message_of(event(number)), "bad news")

    async def take_the_first(name: str, message: Message) -> None:
        assert name == "t"
        if message.id == event(2).id:
            await letters.bury(queue, message, "still bad")

    assert await letters.replay(take_the_first) == 1
    async with sample.database.transaction() as connection:
        (row,) = (await connection.execute(select(table))).all()
    assert (row.message_id, row.body, row.reason) == (event(2).id, message_of(event(2)).body, "still bad")


async def _make_due(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(update(OUTBOX).values(claimed_until=func.now() - timedelta(seconds=1)))


async def _until_heard(sample: Sample, wire: Wire) -> None:
    """Wait until the relay listens: the first event may only be found by polling."""
    await sample.say(event(0))
    await eventually(lambda: bool(wire.ids))
    await asyncio.sleep(0.2)
