"""Pages of runs that change under their reader: what is open stays, answers come one at a time, addresses lead."""

import asyncio

from playwright.async_api import Route, expect
from sqlalchemy import update

from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.catalog.changes import touch
from scripthut_outputs.tables import ITEMS, RUNS
from tests.eventually import eventually
from tests.integration.outputs.house import House, document, ended, item
from tests.integration.outputs.serving_pages import Served, signed_in
from tests.testbed.browser import Browser

LONG_MS = 60_000  # the first preview starts a process


async def test_what_is_unfolded_stays_as_it_is_while_files_come(house: House, served: Served, browser: Browser) -> None:
    await house.apply(item(state=ItemState.RUNNING))
    await house.store("r1", "t0", b"conf.json", b'{"steps": [1, 2]}')
    await house.store("r1", "t0", b"t.csv", b"name,value\nb,2\na,1\n")

    async with signed_in(browser, served.address) as visit:
        page = visit.page
        await page.goto(f"{served.address}/ui/runs/r1/tasks/t0")
        await page.locator(".downloads > summary").click()
        await page.get_by_text("Show it here").first.click()
        await expect(page.locator(".in-place .tree")).to_contain_text("steps", timeout=LONG_MS)
        await page.locator(".glimpse").get_by_role("link", name="value").click()
        await house.store("r1", "t0", b"a.json", b"{}")
        await expect(page.locator("#files-t0")).to_contain_text("a.json")

        await expect(page.locator(".in-place[open]")).to_have_count(1)
        await expect(page.locator(".in-place[open] .tree")).to_contain_text("steps")
        assert await page.locator(".glimpse tbody td:nth-child(2)").all_inner_texts() == ["a", "b"]
        assert len([url for url in visit.requests if "fragment=1" in url]) == 1
        assert visit.errors == []


async def test_answers_come_one_at_a_time(house: House, served: Served, browser: Browser) -> None:
    await house.apply(item("t0", state=ItemState.RUNNING), item("t1", position=1, state=ItemState.RUNNING))
    may_go_on, in_flight, most = asyncio.Event(), 0, 0

    async def hold(route: Route) -> None:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await may_go_on.wait()
        await route.continue_()
        in_flight -= 1

    async with signed_in(browser, served.address) as visit:
        page = visit.page
        await page.goto(f"{served.address}/ui/runs/r1")
        await served.is_opened(1)
        await page.route("**/ui/runs/r1?since=*", hold)
        await house.apply(ended("t0", sequence=10))
        await eventually(lambda: in_flight == 1)
        await house.apply(ended("t1", position=1, outcome=Outcome.FAILED, sequence=10))
        # The browser gives up the stream, and asks for the page itself.
        served.gate.refuse(503)
        await served.is_opened(2)
        may_go_on.set()
        await expect(page.locator("#row-t0")).to_contain_text("Succeeded")
        await expect(page.locator("#row-t1")).to_contain_text("Failed", timeout=20_000)
        assert most == 1


async def test_a_database_put_back_is_shown_as_it_is_now(house: House, served: Served, browser: Browser) -> None:
    await house.apply(ended(outcome=Outcome.FAILED))
    await house.store("r1", "t0", b"a.txt", b"x")

    async with signed_in(browser, served.address) as visit:
        page = visit.page
        await page.goto(f"{served.address}/ui/runs/r1")
        await served.is_opened(1)
        served.gate.refuse(503)
        async with house.database.transaction() as connection:
            await connection.execute(update(RUNS).values(version=0))
            await connection.execute(update(ITEMS).values(version=0, outcome="succeeded"))
            await touch(connection, "r1", items=["t0"])
        served.gate.admit()

        await eventually(lambda: any("since=all" in url for url in visit.requests))
        await expect(page.locator("#rows")).to_contain_text("Succeeded")
        await expect(page.locator("main")).to_have_attribute("data-version", "1")
        await served.is_opened(3)
        await house.store("r1", "t0", b"later.txt", b"x")
        await expect(page.locator("#files-t0")).to_contain_text("later.txt")
        assert visit.errors == []


async def test_a_cancelled_run_says_that_it_was_asked_and_then_that_it_ended(
    house: House, served: Served, browser: Browser
) -> None:
    run_id = (await house.post("/runs", document())).json()["run_id"]
    await house.apply(item(run_id=run_id, state=ItemState.RUNNING))

    async with signed_in(browser, served.address) as visit:
        page = visit.page
        await page.goto(f"{served.address}/ui/runs/{run_id}")
        await page.get_by_text("Cancel…").click()
        await page.get_by_role("button", name="Cancel it").click()
        await expect(page.get_by_text("Asked to cancel")).to_be_visible()
        await house.apply(ended(run_id=run_id, outcome=Outcome.CANCELLED, exit_code=None, sequence=10))

        await expect(page.locator("#row-t0")).to_contain_text("Cancelled")
        await expect(page.get_by_text("Asked to cancel")).to_have_count(0)
        await expect(page.locator("#cancel")).to_have_count(0)
        await expect(page.locator("#told")).to_have_text("task t0 was cancelled")


async def test_an_address_of_a_heading_unfolds_what_holds_it(house: House, served: Served, browser: Browser) -> None:
    await house.apply(*(ended(f"t{number:02}", position=number) for number in range(14)))
    for number in range(14):
        await house.store("r1", f"t{number:02}", b"task-summary.md", b"para\n\n" * 30 + b"# Eddies \xc3\xa9\n")

    async with signed_in(browser, served.address) as visit:
        page = visit.page
        await page.goto(f"{served.address}/ui/runs/r1#doc:t09/task-summary.md:eddies-%C3%A9")
        await expect(page.locator("#panel-t09")).to_have_attribute("open", "")
        await expect(page.locator("#panel-t09").get_by_role("heading", name="Eddies é")).to_be_in_viewport()
        await expect(page.locator(".panel > details[open]")).to_have_count(1)
        await page.evaluate("location.hash = '#task-t04'")
        await expect(page.locator("#panel-t04")).to_have_attribute("open", "")
        await expect(page.locator("#title-t04")).to_be_in_viewport()
        for odd in ("#%E0%A4%A", "#doc:", "#task-../../x", "#doc:<img src=x onerror=alert(1)>:x", "#__proto__"):
            await page.evaluate("(odd) => { location.hash = odd; }", odd)
        assert visit.errors == visit.dialogs == []


async def test_an_address_of_a_heading_on_another_page_leads_to_its_task(
    house: House, served: Served, browser: Browser
) -> None:
    await house.apply(*(ended(f"t{number:03}", position=number) for number in range(101)))
    await house.store("r1", "t100", b"task-summary.md", b"# Eddies\n")

    async with signed_in(browser, served.address) as visit:
        await visit.page.goto(f"{served.address}/ui/runs/r1#doc:t100/task-summary.md:eddies")
        await expect(visit.page.get_by_role("heading", level=1)).to_have_text("task t100")
        await expect(visit.page.get_by_role("heading", name="Eddies")).to_be_in_viewport()
