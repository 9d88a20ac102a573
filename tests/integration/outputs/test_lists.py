"""Lists of runs and items: every filter, every order, every page."""

import asyncio
import json
import random
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.dialects.postgresql import insert

from scripthut_common.events import Extension, ItemState, Outcome, RunState
from scripthut_outputs.catalog import run_states
from scripthut_outputs.catalog.asked import EVERYTHING, ItemsAsked, ItemSort, RunsAsked, RunSort, Visible
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.catalog.views import Item, RunOverview
from scripthut_outputs.tables import ITEMS, RUNS
from tests.integration.outputs.house import House, document, ended, item

AT = datetime(2026, 11, 3, 17, 5, 9, tzinfo=UTC)
NAMES = ("Sweep", "sweep", "train", "50% of it_", "Ünïcode", "")
FAILURES_FIRST = ["failed", "out_of_memory", "cancelled", "unknown", "running", "queued", "succeeded"]


async def fill_runs(house: House, seed: int, count: int = 60) -> None:
    """Runs with equal names and equal times among them, in every state."""
    dice = random.Random(seed)
    runs, items = [], []
    for number in range(count):
        run_id = f"r{dice.randrange(10**6):06}-{number}"
        at = AT + timedelta(microseconds=dice.randrange(6))
        runs.append(
            {"run_id": run_id, "name": dice.choice(NAMES), "cluster": dice.choice(["daint", "eiger"]), "created_at": at}
            | {"owner": dice.choice(["ada", "bob"])}
        )
        items += [some_item(dice, run_id, task) for task in range(dice.randrange(4))]
    async with house.database.transaction() as connection:
        await connection.execute(insert(RUNS), runs)
        await connection.execute(insert(ITEMS), items)
        for run in runs:
            await run_states.keep(connection, str(run["run_id"]))


def some_item(dice: random.Random, run_id: str, number: int) -> dict[str, Any]:
    """Any item that there may be, odd ones too."""
    outcome = dice.choice([None, None, "succeeded", "succeeded", "succeeded", *Outcome, "dreamt"])
    state = dice.choice([state for state in ItemState if state is not ItemState.FINAL]) if outcome is None else "final"
    extension = dice.choice([None, None, None, *Extension])
    started = dice.choice([None, AT, AT + timedelta(microseconds=dice.randrange(5))])
    lasted = timedelta(microseconds=dice.randrange(5))
    return {
        "run_id": run_id,
        "task_id": f"{dice.choice(['a.', 'a.b.', 'c.', 'A'])}{number}",
        "task_name": dice.choice(NAMES),
        "position": dice.randrange(max(1, number)) if number else 0,
        "state": state,
        "outcome": outcome,
        "extension": extension,
        "started_at": started,
        "ended_at": None if started is None or outcome is None else started + lasted,
    }


async def fill_items(house: House, seed: int, count: int = 70) -> None:
    dice = random.Random(seed)
    async with house.database.transaction() as connection:
        await connection.execute(insert(RUNS).values(run_id="r1", name="a run", cluster="daint", owner="ada"))
        await connection.execute(insert(ITEMS), [some_item(dice, "r1", number) for number in range(count)])


async def all_pages(read: Callable[[str | None], Awaitable[Any]]) -> list[Any]:
    """Follow the cursors to the end."""
    pages, cursor = [], None
    while True:
        page = await read(cursor)
        pages.append(page)
        cursor = page.next
        if cursor is None:
            return pages


async def runs_of(reading: Reading, asked: RunsAsked, owner: str | None = None) -> list[RunOverview]:
    pages = await all_pages(
        lambda cursor: reading.runs(
            asked, visible=EVERYTHING if owner is None else Visible(owner=owner), limit=7, cursor=cursor
        )
    )
    assert all(len(page.runs) == 7 for page in pages[:-1])
    return [run for page in pages for run in page.runs]


async def items_of(reading: Reading, asked: ItemsAsked) -> list[Item]:
    pages = await all_pages(lambda cursor: reading.items("r1", asked, limit=7, cursor=cursor))
    assert all(len(page.items) == 7 for page in pages[:-1])
    return [found for page in pages for found in page.items]


def run_key(sort: RunSort, run: RunOverview) -> Any:
    return {
        RunSort.NEWEST: -run.created_at.timestamp() * 1e6,
        RunSort.OLDEST: run.created_at.timestamp() * 1e6,
        RunSort.NAME: run.name.lower().replace("ü", "\U0010ffff"),
        RunSort.STATE: run.state,
    }[sort]


@pytest.mark.parametrize("seed", [1, 2])
async def test_pages_of_runs_show_every_run_once_in_every_order(house: House, seed: int) -> None:
    await fill_runs(house, seed)
    everything = (await house.reading.runs(visible=EVERYTHING, limit=1000, cursor=None)).runs

    for sort in RunSort:
        found = await runs_of(house.reading, RunsAsked(sort=sort))
        assert sorted(run.run_id for run in found) == sorted(run.run_id for run in everything), sort
        if sort is not RunSort.NAME:
            keys = [run_key(sort, run) for run in found]
            assert keys == sorted(keys), sort


@pytest.mark.parametrize("seed", [3, 4])
async def test_filters_of_runs_leave_what_they_say(house: House, seed: int) -> None:
    await fill_runs(house, seed)
    everything = (await house.reading.runs(visible=EVERYTHING, limit=1000, cursor=None)).runs
    assert {run.state for run in everything} == set(RunState)

    asked = [RunsAsked(state=state, sort=sort) for state in RunState for sort in RunSort]
    asked += [
        RunsAsked(cluster="daint", owner="bob"),
        RunsAsked(text="SWEEP"),
        RunsAsked(text="%"),
        RunsAsked(text="-1"),
    ]
    for wanted in asked:
        found = {run.run_id for run in await runs_of(house.reading, wanted)}
        assert found == {run.run_id for run in everything if is_asked(wanted, run)}, wanted


def is_asked(asked: RunsAsked, run: RunOverview) -> bool:
    wanted = asked.text.lower()
    return (
        asked.state in {None, run.state}
        and asked.cluster in {None, run.cluster}
        and asked.owner in {None, run.owner}
        and (wanted in run.name.lower() or wanted in run.run_id)
    )


async def test_what_a_run_is_follows_its_items(house: House) -> None:
    await house.post("/runs", document({"id": "t0", "command": "x"}, {"id": "t1", "command": "y"}, run_id="r1"))

    async def listed() -> list[str]:
        states = ["pending", "running", "failed", "succeeded", "unknown"]
        return [state for state in states if (await house.get(f"/runs?state={state}")).json()["runs"]]

    assert await listed() == ["pending"]
    await house.apply(item("t0", state=ItemState.RUNNING))
    assert await listed() == ["running"]
    await house.apply(ended("t0"), ended("t1", position=1, extension=Extension.PENDING))
    assert await listed() == ["running"]
    await house.apply(ended("t1", position=1, extension=Extension.DONE, sequence=10))
    assert await listed() == ["succeeded"]
    await house.apply(item("t2", position=2, generated_by="t1", state=ItemState.PENDING, sequence=0))
    assert await listed() == ["running"]
    await house.apply(ended("t2", position=2, outcome=Outcome.TIMED_OUT))
    assert await listed() == ["failed"]


async def test_what_a_run_is_stays_true_when_its_tasks_end_at_once(house: House) -> None:
    await house.apply(*(item(f"t{number}", position=number, state=ItemState.RUNNING) for number in range(12)))

    await asyncio.gather(*(house.apply(ended(f"t{number}", position=number)) for number in range(12)))

    assert [tuple(row) for row in await house.rows("SELECT state FROM outputs.runs")] == [("succeeded",)]


@pytest.mark.parametrize("seed", [6])
async def test_runs_of_before_get_the_state_that_their_items_make(house: House, seed: int) -> None:
    await fill_runs(house, seed)
    states = "SELECT run_id, state FROM outputs.runs ORDER BY run_id"
    kept = await house.rows(states)
    migration = import_module("scripthut_outputs.migrations.versions.0005_live")

    async with house.database.transaction() as connection:
        await connection.execute(update(RUNS).values(state="pending"))
        await connection.execute(text(migration._STATES))

    assert await house.rows(states) == kept


async def test_filters_show_nobody_what_is_not_theirs(house: House) -> None:
    await house.apply(ended(run_id="mine"), ended(run_id="theirs", owner="bob"))

    for query in ("owner=bob", "q=theirs", "state=succeeded", "cluster=daint", "sort=oldest"):
        assert "theirs" not in (await house.get(f"/runs?{query}")).text, query
        assert "/ui/runs/theirs" not in (await house.get(f"/ui/?{query}")).text, query
    assert [run["run_id"] for run in (await house.get("/runs?owner=bob", "root")).json()["runs"]] == ["theirs"]


@pytest.mark.parametrize(
    "query",
    ["state=asleep", "sort=sideways", "q=%00", "cluster=a%00b", "owner=%00", "q=" + "x" * 201],
)
async def test_what_cannot_be_asked_is_refused(house: House, query: str) -> None:
    await house.apply(item())

    assert (await house.get(f"/runs?{query}")).status_code in {400, 422}
    assert (await house.get(f"/ui/?{query}")).status_code in {400, 422}


async def test_a_cursor_of_another_order_is_refused_or_goes_on(house: House) -> None:
    await fill_runs(house, 5, count=9)
    cursor = (await house.get("/runs?limit=2&sort=name", "root")).json()["next"]

    assert (await house.get(f"/runs?sort=newest&cursor={cursor}", "root")).status_code == 422


@pytest.mark.parametrize("position", [["\0", "r1"], ["x", "\0"], ["x"], ["x", "y", "z"], [1, 2]])
async def test_a_cursor_that_somebody_made_up_is_refused(house: House, position: list[Any]) -> None:
    await house.apply(item())

    cursor = urlsafe_b64encode(json.dumps(position).encode()).decode()

    assert (await house.get(f"/runs?sort=name&cursor={cursor}")).status_code == 422


@pytest.mark.parametrize("seed", [1, 2])
async def test_pages_of_items_show_every_item_once_in_every_order(house: House, seed: int) -> None:
    await fill_items(house, seed)
    everything = (await house.reading.items("r1", limit=1000, cursor=None)).items

    for sort in ItemSort:
        found = await items_of(house.reading, ItemsAsked(sort=sort))
        assert sorted(one.task_id for one in found) == sorted(one.task_id for one in everything), sort


async def test_items_are_sorted_as_the_words_say(house: House) -> None:
    words = {"a": "succeeded", "b": "unknown", "c": "failed", "d": "cancelled", "e": "out_of_memory"}
    for number, (task_id, outcome) in enumerate(words.items()):
        begun = AT + timedelta(seconds=number)
        await house.apply(
            ended(task_id, position=number, outcome=Outcome(outcome), task_name=f"{9 - number}", started_at=begun,
                  ended_at=begun + timedelta(seconds=(number * 7) % 5))
        )  # fmt: skip
    await house.apply(item("f", position=5, state=ItemState.QUEUED, task_name="z", reason="Priority"))
    await house.apply(item("g", position=6, state=ItemState.RUNNING, task_name="y", started_at=AT))

    async def ordered(sort: ItemSort) -> str:
        return "".join(one.task_id for one in await items_of(house.reading, ItemsAsked(sort=sort)))

    assert await ordered(ItemSort.ORDER) == "abcdefg"
    assert await ordered(ItemSort.STATE) == "cebdgfa"
    assert await ordered(ItemSort.DURATION) == "cebdafg"
    assert await ordered(ItemSort.STARTED) == "edcbagf"
    assert await ordered(ItemSort.NAME) == "edcbagf"


async def test_items_are_filtered_by_word_text_and_prefix(house: House) -> None:
    for number, task_id in enumerate(["sim.1.a", "sim.1.b", "sim.2.a", "sim.x", "plot", "Sim.1.c"]):
        await house.apply(ended(task_id, position=number, outcome=Outcome.FAILED if number == 1 else Outcome.SUCCEEDED))

    async def found(**asked: Any) -> list[str]:
        return [one.task_id for one in await items_of(house.reading, ItemsAsked(**asked))]

    assert await found(under="sim.1.") == ["sim.1.a", "sim.1.b"]
    assert await found(under="sim.", word="failed") == ["sim.1.b"]
    assert await found(text="SIM.1") == ["sim.1.a", "sim.1.b", "Sim.1.c"]
    assert await found(text="%") == []
    chosen = await house.reading.chosen("r1", ItemsAsked())
    assert (chosen.count, [(group.prefix, dict(group.counts)) for group in chosen.groups]) == (
        6, [("sim.", {"succeeded": 3, "failed": 1})]
    )  # fmt: skip
    deeper = await house.reading.chosen("r1", ItemsAsked(under="sim."))
    assert (deeper.count, [group.prefix for group in deeper.groups]) == (4, ["sim.1."])


async def test_groups_are_bounded(house: House) -> None:
    rows = [
        {"run_id": "r1", "task_id": f"g{number}.{part}", "task_name": "x", "position": number}
        for number in range(100)
        for part in (0, 1)
    ]
    async with house.database.transaction() as connection:
        await connection.execute(insert(RUNS).values(run_id="r1", name="a run", cluster="daint", owner="ada"))
        await connection.execute(insert(ITEMS), rows)

    chosen = await house.reading.chosen("r1", ItemsAsked())

    assert (chosen.count, len(chosen.groups), chosen.has_more_groups) == (200, 60, True)
    assert [group.prefix for group in chosen.groups[:2]] == ["g0.", "g1."]


async def test_the_schema_tells_of_filters_and_orders(house: House) -> None:
    schema = (await house.get("/schema/openapi.json")).json()

    told = {parameter["name"]: parameter for parameter in schema["paths"]["/runs"]["get"]["parameters"]}
    assert {"cluster", "owner", "state", "q", "sort", "cursor", "limit"} <= set(told)
    assert all(told[name]["description"] for name in ("cluster", "owner", "state", "q", "sort"))
