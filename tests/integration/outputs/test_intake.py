"""Events reach the catalog once, whatever their order."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from scripthut_common import events
from scripthut_common.bus import message_of
from scripthut_common.bus.memory import MemoryBus
from scripthut_common.errors import BadMessage, InvalidInput, PermanentError
from scripthut_common.events import ClusterObserved, ItemEvent, ItemState, Outcome, RunCompleted, RunState, Type
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.intake import Intake
from tests.integration.outputs.house import House, ended, item, said

NOW = datetime(2026, 1, 2, tzinfo=UTC)


async def test_any_item_event_makes_its_run_and_item(house: House) -> None:
    await house.apply(item(state=ItemState.RUNNING))

    run = (await house.get("/runs/r1")).json()
    assert (run["name"], run["cluster"], run["owner"], run["state"]) == ("a run", "daint", "ada", "running")
    assert [(found["task_id"], found["state"]) for found in run["items"]] == [("t0", "running")]


async def test_an_ending_wants_a_collection(house: House) -> None:
    await house.apply(ended())

    assert await house.rows("SELECT task_id, attempt, cluster FROM outputs.collections WHERE due_at <= now()") == [
        ("t0", 1, "daint")
    ]
    assert (await house.get("/runs/r1/tasks/t0")).json()["outputs_state"] == "pending"


@pytest.mark.parametrize("outcome", [Outcome.DEPENDENCY_FAILED, Outcome.SUBMISSION_FAILED])
async def test_what_never_started_is_not_collected(house: House, outcome: Outcome) -> None:
    await house.apply(ended(outcome=outcome))

    assert await house.rows("SELECT * FROM outputs.collections") == []
    assert (await house.get("/runs/r1/tasks/t0")).json()["outputs_state"] == "none"


async def test_a_verdict_confirmed_in_other_words_is_not_collected_again(house: House) -> None:
    await house.apply(ended(confirmed=False))

    await house.apply(ended(confirmed=True, sequence=10))

    assert await house.rows("SELECT wanted FROM outputs.collections") == [(1,)]


async def test_a_corrected_verdict_is_collected_again(house: House) -> None:
    await house.apply(ended(outcome=Outcome.UNKNOWN))

    await house.apply(ended(revision=1, sequence=10))

    assert await house.rows("SELECT wanted FROM outputs.collections") == [(2,)]


async def test_the_same_event_twice_is_one(house: House) -> None:
    await house.apply(ended())
    version = await house.rows("SELECT version FROM outputs.runs")

    await house.apply(ended())

    assert await house.rows("SELECT version FROM outputs.runs") == version


def history(task_id: str) -> list[ItemEvent]:
    return [
        item(task_id, sequence=1),
        item(task_id, sequence=2, state=ItemState.QUEUED),
        item(task_id, sequence=3, state=ItemState.RUNNING),
        item(task_id, sequence=4, attempt=2, state=ItemState.RUNNING),
        ended(task_id, sequence=5, attempt=2, outcome=Outcome.UNKNOWN),
        ended(task_id, sequence=6, attempt=2, revision=1, outcome=Outcome.TIMED_OUT),
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_of_events_taken_at_once_ends_in_the_highest(house: House, seed: int) -> None:
    told = [event for task in range(5) for event in history(f"t{task}")] * 2
    random.Random(seed).shuffle(told)

    async with asyncio.TaskGroup() as group:
        for event in told:
            group.create_task(house.apply(event))

    found = (await house.get("/runs/r1")).json()["items"]
    assert [(one["attempt"], one["outcome"]) for one in found] == [(2, "timed_out")] * 5


async def test_how_a_cluster_does_is_kept_by_its_latest_word(house: House) -> None:
    for sequence, state in [(1, "reachable"), (3, "unreachable"), (2, "reachable"), (3, "reachable")]:
        observed = ClusterObserved(
            cluster="daint", state=state, sequence=sequence, error="no route" if sequence == 3 else None
        )
        at = NOW + timedelta(seconds=sequence)
        await house.applying.apply(events.event(Type.CLUSTER_OBSERVED, observed, source="poller", at=at))

    found = (await house.reading.clusters())["daint"]
    assert (found.state, found.error, found.observed_at) == ("unreachable", "no route", NOW + timedelta(seconds=3))


async def test_a_poller_whose_counter_starts_anew_is_heard(house: House) -> None:
    """Its first events have ids that were taken before, too."""
    for sequence in (1, 2, 3):
        await house.observe(sequence=sequence, ago_s=100 - sequence)

    await house.observe("unreachable", sequence=1, ago_s=10)
    await house.observe("reachable", sequence=2, ago_s=99)

    assert (await house.reading.clusters())["daint"].state == "reachable"
    await house.observe("degraded", sequence=2, ago_s=5)
    assert (await house.reading.clusters())["daint"].state == "degraded"


async def test_a_poller_whose_clock_was_set_back_is_heard(house: House) -> None:
    await house.observe(sequence=7, ago_s=-3600)

    await house.observe("unreachable", sequence=8)

    assert (await house.reading.clusters())["daint"].state == "unreachable"


async def test_what_the_collector_says_first_leaves_the_poller_its_word(house: House) -> None:
    collections = Collections(house.database)
    await collections.note_cluster("daint", "no key")

    before = (await house.reading.clusters())["daint"]
    await house.observe("degraded", ago_s=3600)

    after = (await house.reading.clusters())["daint"]
    assert (before.state, before.observed_at, before.collection_error) == ("unknown", None, "no key")
    assert (after.state, after.collection_error) == ("degraded", "no key")


async def test_an_endless_error_of_a_cluster_is_cut(house: House) -> None:
    await house.observe("s" * 1000, error="e" * 100_000)

    found = (await house.reading.clusters())["daint"]
    assert (len(found.state), len(found.error or "")) == (64, 4000)


@pytest.mark.parametrize("change", [(b'"succeeded"', b'"dreamt"'), (b'"final"', b'"asleep"')])
async def test_words_of_later_versions_go_to_the_dead_letters(house: House, change: tuple[bytes, bytes]) -> None:
    message = message_of(said(ended()))
    later = msgspec.structs.replace(message, body=message.body.replace(*change))
    assert later.body != message.body

    with pytest.raises(BadMessage):
        await Intake(MemoryBus(), house.applying).take(later)


async def test_the_end_of_a_run_that_is_not_known_yet_is_taken(house: House) -> None:
    over = RunCompleted(run_id="r9", run_name="r", cluster="daint", owner="ada", state=RunState.SUCCEEDED, sequence=1)

    await house.applying.apply(events.event(Type.RUN_COMPLETED, over, source="poller", at=NOW))

    assert (await house.get("/runs/r9")).status_code == 404


@pytest.mark.parametrize("changes", [{"owner": "bob"}, {"cluster": "eiger"}])
async def test_an_event_cannot_move_an_item_into_another_owners_run(house: House, changes: dict[str, str]) -> None:
    await house.apply(item())

    with pytest.raises(BadMessage, match="is ada's on daint"):
        await house.apply(item("t1", **changes))

    assert len((await house.get("/runs/r1")).json()["items"]) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"task_id": "../escape"},
        {"run_id": "a/b"},
        {"task_id": "_run"},
        {"reason": "nul \0 inside"},
        {"task_name": "nul \0 inside"},
        {"exit_code": 2**40},
        {"position": 2**70},
    ],
)
async def test_an_event_that_no_row_can_hold_is_bad_for_good(house: House, changes: dict[str, Any]) -> None:
    with pytest.raises(PermanentError):
        await house.apply(item(**changes))

    assert await house.rows("SELECT * FROM outputs.inbox") == []


async def test_bytes_that_are_no_event_are_bad_for_good(house: House) -> None:
    intake = Intake(MemoryBus(), house.applying)
    for body in (b"", b"{", b'{"specversion":"1.0"}', b"[" * 100_000, b"\xff"):
        message = message_of(said(item()))

        with pytest.raises((BadMessage, InvalidInput)):
            await intake.take(msgspec.structs.replace(message, body=body))


async def test_types_of_later_versions_are_passed_over(house: House) -> None:
    intake = Intake(MemoryBus(), house.applying)
    message = message_of(said(item()))
    later = message.body.replace(b"item.changed", b"item.dreamed")

    await intake.take(msgspec.structs.replace(message, body=later))

    assert await house.rows("SELECT * FROM outputs.inbox") == []


async def test_events_arrive_over_the_bus(house: House) -> None:
    bus = MemoryBus()
    async with asyncio.TaskGroup() as group:
        consuming = group.create_task(Intake(bus, house.applying).step())

        await bus.publish(message_of(said(ended())))

        assert (await house.get("/runs/r1")).json()["counts"] == {"succeeded": 1}
        consuming.cancel()
