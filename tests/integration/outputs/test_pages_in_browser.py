"""Pages in a real browser: hostile content does nothing, pictures are there, what the reader opened stays."""

from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, expect

from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.ledger import Kind, Place
from tests.integration.outputs.exhibits import HOSTILE
from tests.integration.outputs.flows import png
from tests.integration.outputs.house import House, ended, item
from tests.integration.outputs.serving_pages import Served, signed_in
from tests.testbed.browser import Browser, Visit

FORMS = ".who, .again, .again-all, .pin, .cancel, .filters, .sharing *, .keys *"
HOSTILE_MARKDOWN = f"""
# {HOSTILE}

<script>alert('script')</script>
<img src="https://elsewhere.example/pixel.png" onerror="alert('image')">
<iframe srcdoc="<script>parent.alert('frame')</script>"></iframe>
<style>@import url("https://elsewhere.example/style.css"); body {{ display: none }}</style>
<form action="https://elsewhere.example/"><input name="token" autofocus onfocus="alert('focus')"></form>
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert('mutation')&gt;">
<details open ontoggle="alert('toggle')"><summary>s</summary></details>
[click](javascript:alert('link')) <a href="java&#10;script:alert('entity')" autofocus>x</a>
</section></details></article></main><h1 id="live">taken over</h1> <div> <b> <table><tr><td>
"""


@pytest.fixture
def address(served: Served) -> str:
    """Where the whole application is served."""
    return served.address


def assert_harmless(visit: Visit, address: str) -> None:
    """Nothing acted, nothing was asked of anybody else, and nothing broke a policy."""
    assert visit.dialogs == []
    assert visit.errors == []
    assert {urlsplit(url).netloc for url in visit.requests} == {urlsplit(address).netloc}
    assert [line for line in visit.console if "Content Security Policy" in line or "Refused" in line] == []


async def store_run(house: House) -> None:
    """A run with a task that shows something of every kind."""
    await house.apply(ended(run_name="A run to look at", task_name="Draw"))
    await house.store(
        "r1", "t0", b"task-summary.md", b"See:\n\n![the curve](my curve.png)\n\n| a | b |\n|--|--:|\n| 1 | 2 |"
    )
    await house.store("r1", "t0", b"my curve.png", png(8, 8))
    await house.store("r1", "t0", b"sub/alone.png", png(8, 8))
    await house.store("r1", "t0", b"", b"drew the **curve** ![](my curve.png)", Place.RUN_SUMMARY, kind=Kind.MARKDOWN)
    await house.store("r1", "t0", b"", b"step 1\nstep 2\n", Place.STDOUT, kind=Kind.OTHER)


async def broken_images(page: Page) -> int:
    """How many pictures of a page could not be shown."""
    for image in await page.locator("img").all():
        await expect(image).to_have_js_property("complete", value=True)
    count: int = await page.evaluate("[...document.images].filter((image) => !image.naturalWidth).length")
    return count


async def test_a_run_can_be_read_from_signing_in_to_signing_out(house: House, address: str, browser: Browser) -> None:
    await store_run(house)

    async with signed_in(browser, address) as visit:
        page = visit.page
        await page.get_by_role("link", name="A run to look at").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("A run to look at")
        await expect(page.get_by_role("heading", name="Run summary")).to_be_visible()
        assert await page.locator("img").count() == 4
        assert await broken_images(page) == 0
        await page.get_by_text("Standard output").click()
        await expect(page.get_by_text("step 1 step 2")).to_be_visible()
        await page.get_by_role("link", name="Page of this task").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Draw")
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        assert_harmless(visit, address)


async def test_a_run_can_be_read_without_javascript(house: House, address: str, browser: Browser) -> None:
    await store_run(house)

    async with signed_in(browser, address, javascript=False) as visit:
        await visit.page.goto(f"{address}/ui/runs/r1")

        await expect(visit.page.get_by_role("img", name="the curve")).to_be_visible()
        await visit.page.get_by_text("Standard output").click()
        await expect(visit.page.get_by_text("step 1")).to_be_visible()
        assert_harmless(visit, address)


async def test_hostile_names_and_documents_do_nothing(house: House, address: str, browser: Browser) -> None:
    await house.apply(
        ended("t0", run_name=HOSTILE, task_name=HOSTILE, outcome=Outcome.FAILED, reason=HOSTILE, node=HOSTILE,
              job_id=HOSTILE, scheduler_word=HOSTILE),
        ended("t1", task_name="The next task", position=1),
    )  # fmt: skip
    for task_id in ("t0", "t1"):
        await house.store("r1", task_id, b"", HOSTILE_MARKDOWN.encode(), Place.RUN_SUMMARY, kind=Kind.MARKDOWN)
    name = HOSTILE.replace("/", "|").encode()
    for document in (b"task-summary.md", name + b".md", b"sub/" + name + b".md"):
        await house.store("r1", "t0", document, HOSTILE_MARKDOWN.encode())
    await house.store("r1", "t0", name + b".svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    await house.store("r1", "t0", name, b"x")
    await house.store("r1", "t0", b"", HOSTILE.encode(), Place.STDERR, kind=Kind.OTHER)

    async with signed_in(browser, address) as visit:
        page = visit.page
        for path in ("/ui/", "/ui/runs/r1", "/ui/runs/r1/tasks/t0", "/ui/runs/r1/tasks/t0/stderr", f"/ui/{HOSTILE}"):
            await page.goto(address + path)
            assert await page.locator("h1").count() == 1
            assert (
                await page.locator(f"iframe, svg[onload], form:not({FORMS}), input:not(.filters *, .sharing *)").count()
                == 0
            )
        await page.goto(f"{address}/ui/runs/r1")
        sections = page.locator("#summary .contribution")
        assert await sections.count() == 2
        assert await page.locator("main > #summary + #tasks").count() == 1
        for link in await page.get_by_text("click", exact=True).all():
            await link.click(force=True)
        assert_harmless(visit, address)


async def test_a_page_follows_its_run_and_keeps_what_the_reader_opened(
    house: House, address: str, browser: Browser
) -> None:
    await house.apply(
        ended("t0", task_name="Over"), item("t1", task_name="Under way", state=ItemState.RUNNING, position=1)
    )
    await house.store("r1", "t0", b"", b"line\n", Place.STDOUT, kind=Kind.OTHER)

    async with signed_in(browser, address) as visit:
        page = visit.page
        await page.goto(f"{address}/ui/runs/r1")
        await expect(page.locator("#tasks")).to_contain_text("Running")
        await page.evaluate("window.isTheSamePage = true")
        summary = page.locator("#log-t0-stdout > summary")
        await summary.focus()
        await summary.press("Enter")
        await expect(page.locator("#log-t0-stdout pre")).to_be_visible()

        await house.store("r1", "t0", b"late.txt", b"x")
        await house.apply(
            ended("t1", task_name="Under way", outcome=Outcome.FAILED, exit_code=4, position=1, sequence=10)
        )
        await house.store("r1", "t1", b"task-summary.md", b"**over** now")

        await expect(page.locator("#tasks")).to_contain_text("Failed")
        await expect(page.locator("#task-t1")).to_contain_text("over now")
        await expect(page.locator("#files-t0")).to_contain_text("late.txt")
        await expect(page).to_have_title("a run · ScriptHut")
        await expect(page.locator("#told")).to_have_text("Under way failed")
        assert await page.evaluate("window.isTheSamePage")
        assert await page.locator("#log-t0-stdout").get_attribute("open") is not None
        assert await summary.evaluate("(element) => element === document.activeElement")
        assert_harmless(visit, address)


@pytest.mark.parametrize("width", [320, 1280, 3840])
async def test_a_page_fits_every_screen(house: House, address: str, browser: Browser, width: int) -> None:
    await store_run(house)
    await house.apply(ended("t1", task_name="x" * 300, reason="y" * 300, node="z" * 60, position=1))
    await house.store(
        "r1", "t1", b"w" * 200 + b".md", b"v" * 400 + b"\n\n| " + b"u" * 300 + b" | b |\n|--|--|\n| 1 | 2 |"
    )

    async with signed_in(browser, address, width=width) as visit:
        for path in ("/ui/", "/ui/runs/r1", "/ui/runs/r1/tasks/t1"):
            await visit.page.goto(address + path)
            assert await visit.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [320, 1280, 3840])
async def test_a_hostile_error_of_a_cluster_does_nothing_and_fits(
    house: House, address: str, browser: Browser, width: int
) -> None:
    error = HOSTILE + HOSTILE_MARKDOWN + "\u05d0\u0627" + "x" * 100_000
    await house.apply(item(run_name="A run under way", state=ItemState.RUNNING))
    await house.observe("unreachable", ago_s=60, error=error)

    async with signed_in(browser, address, width=width) as visit:
        for path in ("/ui/", "/ui/runs/r1", "/ui/runs/r1/tasks/t0"):
            await visit.page.goto(address + path)
            told = visit.page.locator(".banner, .notices li")
            await expect(told).to_contain_text("daint has not answered since")
            await expect(told).to_contain_text("</title></bdi></a></script>")
            assert await visit.page.evaluate("document.documentElement.scrollWidth") <= width
            assert len(await told.inner_text()) < 800
        assert_harmless(visit, address)


async def test_a_banner_goes_when_the_cluster_answers_again(house: House, address: str, browser: Browser) -> None:
    await house.apply(item(state=ItemState.RUNNING))
    await house.observe("unreachable", ago_s=60, error="connection refused")

    async with signed_in(browser, address) as visit:
        await visit.page.goto(f"{address}/ui/runs/r1")
        await expect(visit.page.locator(".banner")).to_contain_text("connection refused")
        await house.observe(sequence=2)
        await expect(visit.page.locator(".banner")).to_have_count(0, timeout=20_000)
