"""What a page asks for when its run has changed: the parts that did, and nothing else."""

import asyncio
import re

import pytest

from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.catalog.changes import Cache
from scripthut_outputs.ledger import Kind, Place
from tests.integration.outputs.house import House, document, ended, item

_PART = re.compile(r'<(?:tr|article|section|div)[^>]* id="([^"]+)" data-part( data-same="(?:must|maybe)")?')


async def version_of(house: House) -> int:
    return (await house.reading.head("r1")).version


async def parts_of(house: House, since: object, query: str = "") -> tuple[set[str], set[str]]:
    """The parts that a page is given anew, and those that are said to be the same."""
    page = await house.get(f"/ui/runs/r1?since={since}{query}")
    assert page.status_code == 200
    found = _PART.findall(page.text.replace(' aria-labelledby="summary-title"', "").replace(" data-item", ""))
    return {id_ for id_, same in found if not same}, {id_ for id_, same in found if same}


async def fill(house: House) -> None:
    await house.apply(*(ended(f"t{number}", position=number) for number in range(3)))
    await house.store("r1", "t0", b"a.txt", b"x")
    await house.store("r1", "t1", b"", b"**one**", Place.RUN_SUMMARY, kind=Kind.MARKDOWN)


async def test_nothing_is_given_again_that_has_not_changed(house: House) -> None:
    await fill(house)

    given, same = await parts_of(house, await version_of(house))

    assert given & {"row-t0", "row-t1", "row-t2", "summary", "task-t0"} == set()
    assert same == {"row-t0", "row-t1", "row-t2", "summary", "task-t0", "task-t1", "task-t2"}


async def test_a_task_that_changed_brings_its_row_and_its_panel(house: House) -> None:
    await fill(house)
    before = await version_of(house)

    await house.store("r1", "t2", b"b.txt", b"y")
    given, same = await parts_of(house, before)

    assert {"row-t2", "masthead"} <= given
    assert {"row-t0", "row-t1", "summary", "task-t0", "task-t1"} == same
    page = await house.get(f"/ui/runs/r1?since={before}")
    assert "b.txt" in page.text
    assert "a.txt" not in page.text
    assert "<html" not in page.text
    assert f'data-version="{await version_of(house)}"' in page.text


async def test_a_new_contribution_brings_the_summary_alone(house: House) -> None:
    await fill(house)
    before = await version_of(house)

    await house.store("r1", "t2", b"", b"**two**", Place.RUN_SUMMARY, kind=Kind.MARKDOWN)
    page = await house.get(f"/ui/runs/r1?since={before}")

    assert "<strong>two</strong>" in page.text
    assert '<section id="summary"' not in page.text


@pytest.mark.parametrize(
    "since",
    ["", "x", "-1", "1e3", "99999999999999999999", "999999", "0x1", "%00", "%F0%9F%92%A9", "1 ", "+1"],
)
async def test_what_is_no_version_of_the_run_brings_everything(house: House, since: str) -> None:
    await fill(house)

    given, same = await parts_of(house, since)

    assert {"row-t0", "row-t1", "row-t2"} <= given
    assert same == set()


async def test_a_version_that_is_too_long_is_refused(house: House) -> None:
    await fill(house)

    assert (await house.get(f"/ui/runs/r1?since={'9' * 100}")).status_code in {400, 422}


async def test_changes_of_a_run_are_shown_to_nobody_else(house: House) -> None:
    await fill(house)

    assert (await house.get("/ui/runs/r1?since=1", "bob")).status_code == 404
    assert (await house.get("/ui/runs/r1?since=1", None)).status_code == 303


async def test_a_task_that_moves_onto_the_page_is_said_to_be_there(house: House) -> None:
    await house.apply(*(item(f"t{number:03}", position=number, state=ItemState.RUNNING) for number in range(102)))
    before = await version_of(house)
    first, _ = await parts_of(house, "all", "&sort=state")
    assert "row-t100" not in first

    await house.apply(ended("t000", position=0))
    given, same = await parts_of(house, before, "&sort=state")

    assert "row-t000" not in given
    assert "row-t100" in same


async def test_the_page_of_a_task_is_given_again_when_the_task_has_changed(house: House) -> None:
    await fill(house)
    before = await version_of(house)
    await house.store("r1", "t2", b"b.txt", b"y")

    other = await house.get(f"/ui/runs/r1/tasks/t0?since={before}")
    changed = await house.get(f"/ui/runs/r1/tasks/t2?since={before}")

    assert 'id="task-t0" data-part data-same="must"' in other.text
    assert "a.txt" not in other.text
    assert "b.txt" in changed.text


async def test_many_who_ask_at_once_cost_one_page(house: House) -> None:
    house.cache.is_listening = True
    await fill(house)
    house.cache.drop("r1")
    queries = 0

    original = house.database.transaction

    def counted() -> object:
        nonlocal queries
        queries += 1
        return original()

    house.database.transaction = counted  # type: ignore[method-assign, assignment]
    async with house.client() as client:
        answers = await asyncio.gather(*(client.get("/ui/runs/r1?since=3") for _ in range(50)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert queries < 20


async def test_a_reader_who_hangs_up_does_not_take_the_page_from_the_others() -> None:
    cache = Cache()
    cache.is_listening = True
    begun, may_end, loads = asyncio.Event(), asyncio.Event(), 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        begun.set()
        await may_end.wait()
        return 7

    first = asyncio.create_task(cache.get("r1", "page", load))
    await begun.wait()
    second = asyncio.create_task(cache.get("r1", "page", load))
    await asyncio.sleep(0)
    first.cancel()
    may_end.set()

    assert await second == 7
    assert loads == 2
    assert await cache.get("r1", "page", load) == 7
    assert loads == 2


async def test_cancelling_is_asked_for_by_a_button_that_asks_back(house: House) -> None:
    run = (await house.post("/runs", document())).json()["run_id"]
    page = (await house.get(f"/ui/runs/{run}")).text
    assert f'<form class="cancel" method="post" action="/ui/runs/{run}/cancel">' in page
    assert page.index('<details class="confirm" id="cancel">') < page.index('<form class="cancel"')

    assert (await house.post(f"/ui/runs/{run}/cancel", actor="bob")).status_code == 404
    answer = await house.post(f"/ui/runs/{run}/cancel")

    assert (answer.status_code, answer.headers["location"]) == (303, f"/ui/runs/{run}?asked=cancel")
    assert "Asked to cancel" in (await house.get(answer.headers["location"])).text
    commands = await house.rows("SELECT convert_from(body, 'UTF8') FROM outputs.outbox ORDER BY number DESC LIMIT 1")
    assert "cancel" in str(commands[0])


async def test_what_is_over_cannot_be_cancelled(house: House) -> None:
    await house.apply(ended(outcome=Outcome.FAILED))

    assert "/cancel" not in (await house.get("/ui/runs/r1")).text
