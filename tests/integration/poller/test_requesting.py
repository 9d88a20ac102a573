"""Commands become runs and items: once, whole, or not at all."""

import asyncio

import pytest

from scripthut_common.bus import Message
from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.errors import BadMessage, Conflict, InvalidInput
from scripthut_common.events import ItemState, Outcome, RunCompleted, RunState, Type
from scripthut_poller.requesting import Requesting
from tests.integration.poller.told import cancellation, events, part_of_run, request, rows, run_row, tasks

CLUSTERS = {"here": Cluster(scheduler=SchedulerKind.LOCALHOST, name="here")}


@pytest.fixture
def woken() -> list[str]:
    return []


@pytest.fixture
def requesting(database: Database, woken: list[str]) -> Requesting:
    return Requesting(database, CLUSTERS, woken.append)


async def test_a_run_stands_when_its_last_part_is_in_whatever_their_order(
    requesting: Requesting, database: Database, woken: list[str]
) -> None:
    first = part_of_run(tasks("a", "b"), parts=2)
    second = part_of_run(tasks("c"), part=1, parts=2, first_position=2)

    await requesting.take(request(second))
    assert (await rows(database), woken) == ({}, [])
    await requesting.take(request(first))

    items = await rows(database)
    assert [(item.task_id, item.position, item.state) for item in items.values()] == [
        ("a", 0, "pending"),
        ("b", 1, "pending"),
        ("c", 2, "pending"),
    ]
    assert items["a"].output_dir == "/logs/outputs/r1/a"
    assert woken == ["here"]


async def test_parts_that_come_twice_and_at_once_make_one_run(requesting: Requesting, database: Database) -> None:
    parts = [part_of_run(tasks(f"t{n}"), part=n, parts=8, first_position=n) for n in range(8)]

    await asyncio.gather(*(requesting.take(request(part)) for part in [*parts, *parts]))
    await requesting.take(request(parts[3]))

    assert len(await rows(database)) == 8


async def test_a_second_document_for_a_run_is_refused(requesting: Requesting, database: Database) -> None:
    await requesting.take(request(part_of_run(tasks("a"))))

    with pytest.raises(Conflict, match="another document"):
        await requesting.take(request(part_of_run(tasks("b"), document_sha256="1" * 64)))

    assert list(await rows(database)) == ["a"]


async def test_a_second_document_is_refused_while_the_first_still_arrives(requesting: Requesting) -> None:
    await requesting.take(request(part_of_run(tasks("a"), parts=2)))

    with pytest.raises(Conflict, match="another document"):
        await requesting.take(request(part_of_run(tasks("b"), parts=2, document_sha256="1" * 64)))


async def test_parts_that_contradict_each_other_make_no_run(requesting: Requesting, database: Database) -> None:
    await requesting.take(request(part_of_run(tasks("a"), parts=2)))

    with pytest.raises(BadMessage, match="different owners"):
        await requesting.take(request(part_of_run(tasks("b"), part=1, parts=2, owner="mallory")))

    assert await run_row(database) is None


@pytest.mark.parametrize("bad", [{"id_": "../x"}, {"deps": ("gone",)}, {"partition": "a b; rm -rf /"}])
async def test_tasks_that_the_door_should_have_refused_are_refused_here_too(
    requesting: Requesting, database: Database, bad: dict[str, str]
) -> None:
    id_ = bad.pop("id_", "a")

    with pytest.raises(InvalidInput):
        await requesting.take(request(part_of_run(tasks(id_, **bad))))

    assert await run_row(database) is None


async def test_an_unknown_cluster_ends_every_item_with_the_reason(requesting: Requesting, database: Database) -> None:
    await requesting.take(request(part_of_run(tasks("a", "b"), cluster="nowhere", log_dir=None)))

    told = await events(database)
    assert [one.type for one in told] == [Type.ITEM_COMPLETED, Type.ITEM_COMPLETED, Type.RUN_COMPLETED]
    item = (await rows(database))["a"]
    assert (item.state, item.outcome) == (ItemState.FINAL, Outcome.SUBMISSION_FAILED)
    assert item.reason == "no cluster 'nowhere' is configured for this poller; configured: here"
    ended = told[-1].data
    assert isinstance(ended, RunCompleted)
    assert ended.state is RunState.FAILED


async def test_cancelling_ends_what_was_not_submitted(requesting: Requesting, database: Database) -> None:
    await requesting.take(request(part_of_run(tasks("a", "b"))))

    await requesting.take(cancellation())
    await requesting.take(cancellation())

    assert {item.outcome for item in (await rows(database)).values()} == {Outcome.CANCELLED}
    assert len(await events(database, Type.ITEM_COMPLETED)) == 2
    assert len(await events(database, Type.RUN_COMPLETED)) == 1


async def test_a_run_that_was_cancelled_before_it_came_never_starts(requesting: Requesting, database: Database) -> None:
    await requesting.take(cancellation())

    await requesting.take(request(part_of_run(tasks("a"))))

    assert (await rows(database))["a"].outcome == Outcome.CANCELLED


async def test_a_message_that_is_no_command_is_refused(requesting: Requesting) -> None:
    garbled = Message(id="1", exchange="x", routing_key="run.requested.here", body=b"\xff{", mandatory=True)

    with pytest.raises(BadMessage):
        await requesting.take(garbled)


async def test_ten_thousand_tasks_are_stored_at_once(requesting: Requesting, database: Database) -> None:
    ids = [f"t{n}" for n in range(10_000)]

    await requesting.take(request(part_of_run(tasks(*ids))))
    await requesting.take(cancellation())

    assert len(await events(database, Type.ITEM_COMPLETED)) == 10_000
