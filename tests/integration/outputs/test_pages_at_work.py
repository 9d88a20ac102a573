"""Pages at work in a real browser: they follow their run in place, take keys, copy, and say when they are not live."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, expect
from sqlalchemy.dialects.postgresql import insert

from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.catalog.changes import touch
from scripthut_outputs.ledger import Kind, Place
from scripthut_outputs.tables import ITEMS, RUNS
from tests.integration.outputs.flows import png
from tests.integration.outputs.house import House, document, ended, item
from tests.integration.outputs.serving_pages import Served, signed_in
from tests.testbed.browser import Browser, Visit

CURRENT = "document.activeElement.closest('[data-item]')?.id"


@asynccontextmanager
async def looking_at(browser: Browser, served: Served, path: str, height: int = 800) -> AsyncIterator[Visit]:
    """A browser in which ada looks at a page."""
    async with signed_in(browser, served.address, height=height) as visit:
        await visit.page.goto(served.address + path)
        yield visit


async def lines(house: House, task_id: str, count: int) -> None:
    text = b"".join(b"line %d\n" % number for number in range(count))
    await house.store("r1", task_id, b"", text, Place.STDOUT, kind=Kind.OTHER)


async def test_what_grows_above_moves_nothing_that_is_being_read(
    house: House, served: Served, browser: Browser
) -> None:
    await house.apply(*(ended(f"t{number}", position=number) for number in range(3)))
    await house.apply(item("t3", position=3, state=ItemState.RUNNING))
    for number in range(3):
        await house.store("r1", f"t{number}", b"task-summary.md", b"para\n\n" * 30)

    async with looking_at(browser, served, "/ui/runs/r1") as visit:
        heading = visit.page.locator("#title-t2")
        await heading.scroll_into_view_if_needed()
        await visit.page.mouse.wheel(0, 200)
        before = await settled(visit.page, "#title-t2")
        await house.store("r1", "t0", b"later.md", b"more\n\n" * 40)
        await house.store("r1", "t3", b"", b"first\n\n" * 20, Place.RUN_SUMMARY, kind=Kind.MARKDOWN)
        await expect(visit.page.locator("#summary")).to_contain_text("first")
        await expect(visit.page.locator("#task-t0")).to_contain_text("more")
        assert abs(await settled(visit.page, "#title-t2") - before) <= 2


async def test_pictures_that_stay_the_same_stay_when_what_holds_them_grows(
    house: House, served: Served, browser: Browser
) -> None:
    await house.apply(ended("t0"), item("t1", position=1, state=ItemState.RUNNING))
    await house.store("r1", "t0", b"tall.png", png(40, 600))
    await house.store("r1", "t0", b"", b"![](tall.png)\n\nfirst", Place.RUN_SUMMARY, kind=Kind.MARKDOWN)

    async with looking_at(browser, served, "/ui/runs/r1") as visit:
        picture = visit.page.locator("#summary img")
        await expect(picture).to_have_js_property("naturalHeight", 600)
        await picture.evaluate("picture => { picture.wasHere = true }")
        await house.store("r1", "t1", b"", b"second", Place.RUN_SUMMARY, kind=Kind.MARKDOWN)
        await expect(visit.page.locator("#summary")).to_contain_text("second")
        await expect(picture).to_have_js_property("wasHere", True)


async def settled(page: Page, selector: str) -> float:
    """Where an element stands in the window once two frames in a row agree."""
    script = """async (selector) => {
        const frame = () => new Promise(requestAnimationFrame);
        const top = () => document.querySelector(selector).getBoundingClientRect().top;
        for (let last = NaN; ; await frame()) {
            const now = top();
            if (now === last) return now;
            last = now;
        }
    }"""
    top: float = await page.evaluate(script, selector)
    return top


async def test_what_is_selected_stays_until_the_selection_is_gone(
    house: House, served: Served, browser: Browser
) -> None:
    await house.apply(ended("t0"), item("t1", position=1, state=ItemState.RUNNING))
    await house.store("r1", "t0", b"task-summary.md", b"words to select")

    async with looking_at(browser, served, "/ui/runs/r1") as visit:
        page = visit.page
        text = page.get_by_text("words to select")
        await text.evaluate("(element) => getSelection().selectAllChildren(element)")
        await house.store("r1", "t0", b"new.txt", b"x")
        await house.apply(ended("t1", position=1, sequence=10))
        await expect(page.locator("#row-t1")).to_contain_text("Succeeded")
        assert await page.evaluate("getSelection().toString().trim()") == "words to select"
        await expect(page.locator("#files-t0")).to_have_count(1)
        await expect(page.locator("#files-t0")).not_to_contain_text("new.txt")
        await page.evaluate("getSelection().removeAllRanges()")
        await expect(page.locator("#files-t0")).to_contain_text("new.txt")


async def test_an_open_question_and_typed_words_stay(house: House, served: Served, browser: Browser) -> None:
    await house.apply(*(item(f"t{number}", position=number, state=ItemState.RUNNING) for number in range(3)))

    async with looking_at(browser, served, "/ui/runs/r1") as visit:
        page = visit.page
        await page.locator("#cancel > summary").click()
        await page.get_by_label("Name or id").fill("half a wo")
        await house.apply(ended("t1", position=1, outcome=Outcome.FAILED, exit_code=137, sequence=10))
        await expect(page.locator("#row-t1")).to_contain_text("killed by signal 9 (KILL), often out of memory")
        await expect(page.get_by_label("Name or id")).to_have_value("half a wo")
        await expect(page.get_by_label("Name or id")).to_be_focused()
        await expect(page.get_by_role("button", name="Cancel them")).to_be_visible()
        await expect(page).to_have_title("1/3 · a run · ScriptHut")
        await expect(page.locator("#told")).to_have_text("task t1 failed")


async def test_new_tasks_appear_in_their_place(house: House, served: Served, browser: Browser) -> None:
    await house.apply(item("t0", position=0, state=ItemState.RUNNING), item("t9", position=9))

    async with looking_at(browser, served, "/ui/runs/r1") as visit:
        await house.apply(item("t5", position=5, generated_by="t0"))
        await house.store("r1", "t5", b"a.txt", b"x")
        await house.store("r1", "t0", b"b.txt", b"x")
        await expect(visit.page.locator("#panels > article")).to_have_count(2)
        ids = "(all) => all.map((element) => element.id)"
        assert await visit.page.locator("#rows > tr").evaluate_all(ids) == ["row-t0", "row-t5", "row-t9"]
        assert await visit.page.locator("#panels > article").evaluate_all(ids) == ["task-t0", "task-t5"]


async def test_a_page_that_is_not_live_says_so_and_recovers(house: House, served: Served, browser: Browser) -> None:
    await house.apply(item(state=ItemState.RUNNING))

    async with looking_at(browser, served, "/ui/runs/r1") as visit:
        page = visit.page
        await expect(page.locator("#rows")).to_contain_text("Running")
        served.gate.refuse(503)
        await expect(page.locator("#live")).to_have_text("Not live just now. Trying again.", timeout=30_000)
        await house.apply(ended(sequence=10))
        await expect(page.locator("#rows")).to_contain_text("Succeeded", timeout=40_000)
        served.gate.admit()
        await expect(page.locator("#live")).to_be_hidden(timeout=40_000)


async def test_a_hidden_page_lets_go_of_its_stream_and_catches_up(
    house: House, served: Served, browser: Browser
) -> None:
    await house.apply(item(state=ItemState.RUNNING))
    hide = "Object.defineProperty(document, 'hidden', {{configurable: true, get: () => {hidden}}});"
    hide += "document.dispatchEvent(new Event('visibilitychange'))"

    async with looking_at(browser, served, "/ui/runs/r1") as visit:
        await served.is_opened(1)
        await visit.page.evaluate(hide.format(hidden="true"))
        await served.is_closed(1)
        await house.apply(ended(sequence=10))
        await visit.page.evaluate(hide.format(hidden="false"))
        await expect(visit.page.locator("#rows")).to_contain_text("Succeeded")
        assert len(served.gate.opened) == 2


async def test_keys_lead_through_a_run(house: House, served: Served, browser: Browser) -> None:
    await house.apply(*(ended(f"t{number}", position=number, task_name=f"Task {number}") for number in range(3)))
    for name in (b"a.png", b"b.png"):
        await house.store("r1", "t1", name, b"\x89PNG")

    async with looking_at(browser, served, "/ui/runs/r1") as visit:
        page = visit.page
        keys = page.keyboard
        for key, current in (("j", "row-t0"), ("j", "row-t1"), ("j", "row-t2"), ("j", "task-t1"), ("k", "row-t2")):
            await keys.press(key)
            assert await page.evaluate(CURRENT) == current
        await keys.press("n")
        assert "a.png" in await page.evaluate("document.activeElement.href")
        await keys.press("n")
        assert "b.png" in await page.evaluate("document.activeElement.href")
        await keys.press("p")
        assert "a.png" in await page.evaluate("document.activeElement.href")
        await keys.press("?")
        await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        await keys.press("j")
        await keys.press("Escape")
        await expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
        await keys.press("/")
        await expect(page.get_by_label("Name or id")).to_be_focused()
        await keys.type("gr/?jk")
        await expect(page.get_by_label("Name or id")).to_have_value("gr/?jk")
        await page.get_by_label("Name or id").blur()
        await keys.press("j")
        await keys.press("o")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Task 0")
        await keys.press("g")
        await keys.press("r")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
        await keys.press("j")
        assert await page.evaluate(CURRENT) == "run-r1"
        await keys.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("a run")


async def test_ids_paths_and_commands_are_copied_as_they_are(house: House, served: Served, browser: Browser) -> None:
    command = "echo 'one' && \\\n  echo \"two\" <&0"
    run_id = (await house.post("/runs", document({"id": "t0", "command": command}))).json()["run_id"]
    directory = f"/scratch/a b/outputs/{run_id}/t0"
    await house.apply(item(run_id=run_id, job_id="4711", output_dir=directory))
    of_task = {
        "the id of this task": "t0",
        "job": "4711",
        "directory on the cluster": directory,
        "the command": command,
    }
    pages = {"": {"the id of this run": run_id}, "/tasks/t0": of_task}

    async with signed_in(browser, served.address) as visit:
        await visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        for path, copied in pages.items():
            await visit.page.goto(f"{served.address}/ui/runs/{run_id}{path}")
            for what, text in copied.items():
                await visit.page.evaluate("document.getElementById('told').textContent = ''")
                await visit.page.get_by_role("button", name=f"Copy {what}", exact=True).click()
                await expect(visit.page.locator("#told")).to_have_text("Copied")
                assert await visit.page.evaluate("navigator.clipboard.readText()") == text


@pytest.mark.parametrize(
    ("zone", "time", "exact"),
    [
        ("Asia/Tokyo", "2 Jan 2026, 12:04", "2 January 2026 .*12:04:05"),
        ("America/Lima", "1 Jan 2026, 22:04", "1 January 2026 .*22:04:05"),
    ],
)
async def test_times_are_those_of_the_readers_clock_and_exact_under_the_pointer(
    house: House, served: Served, browser: Browser, zone: str, time: str, exact: str
) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    await house.apply(ended(started_at=at, ended_at=at + timedelta(minutes=1)))

    async with signed_in(browser, served.address, timezone_id=zone, locale="en-GB") as visit:
        await visit.page.goto(f"{served.address}/ui/runs/r1")
        started = visit.page.locator("#row-t0 time")
        await expect(started).to_have_text(time)
        await expect(started).to_have_attribute("title", re.compile(exact))


async def test_without_javascript_times_say_their_zone(house: House, served: Served, browser: Browser) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    await house.apply(ended(started_at=at, ended_at=at + timedelta(minutes=1)))

    async with signed_in(browser, served.address, javascript=False, timezone_id="Asia/Tokyo") as visit:
        await visit.page.goto(f"{served.address}/ui/runs/r1")
        await expect(visit.page.locator("#row-t0 time")).to_have_text("2 Jan 2026, 03:04 UTC")


async def test_a_run_is_cancelled_without_javascript(house: House, served: Served, browser: Browser) -> None:
    run_id = (await house.post("/runs", document())).json()["run_id"]

    async with signed_in(browser, served.address, javascript=False) as visit:
        page = visit.page
        await page.goto(f"{served.address}/ui/runs/{run_id}")
        await expect(page.get_by_role("button", name="Copy")).to_have_count(0)
        await expect(page.get_by_role("button", name="Cancel it")).to_be_hidden()
        await page.get_by_text("Cancel…").click()
        await page.get_by_role("button", name="Cancel it").click()
        await expect(page.get_by_text("Asked to cancel")).to_be_visible()


@pytest.mark.parametrize("javascript", [True, False])
async def test_ten_thousand_tasks_are_found_through(
    house: House, served: Served, browser: Browser, *, javascript: bool
) -> None:
    await fill(house, 10_000)

    async with signed_in(browser, served.address, javascript=javascript) as visit:
        page = visit.page
        await page.goto(f"{served.address}/ui/runs/r1")
        await expect(page.locator("#rows > tr")).to_have_count(100)
        await expect(page.locator("#tasks-title")).to_have_text("Tasks 10,000")
        await page.locator("#rollups").get_by_text("sim.", exact=True).click()
        await expect(page.locator("#tasks-title")).to_have_text("Tasks 10,000 of 10,000")
        await page.locator("#rollups").get_by_text("sim.07.", exact=True).click()
        await expect(page.locator("#tasks-title")).to_have_text("Tasks 250 of 10,000")
        await page.get_by_label("State").select_option("failed")
        await page.get_by_role("button", name="Show", exact=True).click()
        await expect(page.locator("#tasks-title")).to_have_text("Tasks 5 of 10,000")
        await expect(page.locator("#rows > tr")).to_have_count(5)
        await page.get_by_role("link", name="Show all").click()
        await page.get_by_role("link", name="failures first").click()
        await expect(page.locator("#rows > tr").first).to_contain_text("Failed")
        await page.get_by_role("link", name="More tasks").click()
        await expect(page.locator("#rows > tr").first).to_contain_text("Failed")
        await page.goto(f"{served.address}/ui/runs/r1?q=no+such")
        await expect(page.get_by_text("No task of this run is like that.")).to_be_visible()


async def fill(house: House, count: int) -> None:
    """A run of many tasks in forty groups; one in fifty failed."""
    rows = [
        {
            "run_id": "r1",
            "task_id": f"sim.{number % 40:02}.{number:05}",
            "task_name": f"Step {number}",
            "position": number,
            "state": "final",
            "outcome": "failed" if number // 40 % 50 == 0 else "succeeded",
            "confirmed": True,
        }
        for number in range(count)
    ]
    async with house.database.transaction() as connection:
        await connection.execute(insert(RUNS).values(run_id="r1", name="A large run", cluster="daint", owner="ada"))
        await connection.execute(insert(ITEMS), rows)
        await touch(connection, "r1")


async def test_a_link_to_a_task_on_another_page_leads_to_it(house: House, served: Served, browser: Browser) -> None:
    await fill(house, 150)

    async with looking_at(browser, served, "/ui/runs/r1#task-sim.29.00149") as visit:
        await expect(visit.page.get_by_role("heading", level=1)).to_have_text("Step 149")
