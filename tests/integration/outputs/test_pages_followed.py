"""Pages of a task that is read while it runs: what was read when, pictures that change in place, and how it ends."""

from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.async_api import expect
from sqlalchemy import delete, update

from scripthut_common.events import ItemState
from scripthut_outputs.catalog.changes import touch
from scripthut_outputs.ledger import OutputsState
from scripthut_outputs.tables import FILES, ITEMS
from tests.integration.outputs.flows import png
from tests.integration.outputs.house import House, ended, item
from tests.integration.outputs.serving_pages import Served, signed_in
from tests.integration.outputs.test_pages import text_of
from tests.testbed.browser import Browser

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
RUN, TASK = "/ui/runs/r1", "/ui/runs/r1/tasks/t0"
FILE = f"{TASK}/files/loss.png"


async def look(house: House, path: bytes, content: bytes) -> str:
    """Let a look at the running task have found this."""
    return await find(house, path, content, OutputsState.PARTIAL, AT)


async def collect(house: House, path: bytes, content: bytes) -> str:
    """Let the task have ended and left this."""
    await house.apply(ended(sequence=10))
    return await find(house, path, content, OutputsState.COLLECTED, None)


async def find(house: House, path: bytes, content: bytes, state: OutputsState, at: datetime | None) -> str:
    async with house.database.transaction() as connection:
        await connection.execute(delete(FILES).where(FILES.c.path == path))
    sha256 = await house.store("r1", "t0", path, content, followed_at=at)
    async with house.database.transaction() as connection:
        values: dict[str, Any] = {"outputs_state": state, "followed_at": at, "has_outputs": True}
        await connection.execute(update(ITEMS).values(values))
        await touch(connection, "r1", items=["t0"])
    return sha256


@pytest.mark.parametrize("path", [RUN, TASK, FILE])
async def test_what_is_followed_says_as_of_when_and_offers_no_collection(house: House, path: str) -> None:
    await house.apply(item(state=ItemState.RUNNING))
    await look(house, b"loss.png", png(8, 8))

    page = await house.get(path)

    assert "Running, as of 2 Jan 2026, 03:04 UTC" in text_of(page)
    assert "More may come" not in page.text
    assert "Collect again" not in page.text


@pytest.mark.parametrize("path", [RUN, TASK, FILE])
async def test_the_last_collection_takes_the_mark_away_in_place(
    house: House, served: Served, browser: Browser, path: str
) -> None:
    await house.apply(item(state=ItemState.RUNNING))
    before = await look(house, b"loss.png", png(8, 8))

    async with signed_in(browser, served.address) as visit:
        page = visit.page
        await page.goto(served.address + path)
        await page.evaluate("window.isTheSamePage = true")
        await expect(page.locator(".followed")).to_contain_text("Running, as of")
        picture = page.locator("main img")
        await expect(picture).to_have_attribute("src", f"/runs/r1/tasks/t0/outputs/file/loss.png?v={before[:12]}")

        after = await look(house, b"loss.png", png(16, 8))
        await expect(picture).to_have_attribute("src", f"/runs/r1/tasks/t0/outputs/file/loss.png?v={after[:12]}")
        await expect(page.locator("main img")).to_have_js_property("naturalWidth", 16)
        await collect(house, b"loss.png", png(16, 8))
        await expect(page.locator(".followed")).to_have_count(0)
        assert await page.evaluate("window.isTheSamePage")
        assert visit.errors == []


async def test_a_picture_in_a_document_changes_in_place(house: House, served: Served, browser: Browser) -> None:
    await house.apply(item(state=ItemState.RUNNING))
    await house.store("r1", "t0", b"task-summary.md", b"![](loss.png)")
    await look(house, b"loss.png", png(8, 8))

    async with signed_in(browser, served.address) as visit:
        await visit.page.goto(served.address + RUN)
        await expect(visit.page.locator("main img")).to_have_js_property("naturalWidth", 8)
        await look(house, b"loss.png", png(16, 8))
        await expect(visit.page.locator("main img")).to_have_js_property("naturalWidth", 16)
        assert await visit.page.locator("main img").count() == 1


async def test_only_the_page_of_what_is_followed_holds_a_stream(house: House) -> None:
    await house.apply(item(state=ItemState.RUNNING))
    await look(house, b"loss.png", png(8, 8))
    followed = await house.get(FILE)
    await collect(house, b"loss.png", png(8, 8))
    over = await house.get(FILE)
    part = await house.get(f"{FILE}?since=1")

    assert 'data-events="/runs/r1/events"' in followed.text
    assert 'data-task="t0"' in followed.text
    assert "data-events" not in over.text
    assert "data-version" in part.text
    assert "<html" not in part.text


async def test_an_address_that_names_the_content_is_answered_as_the_plain_one(house: House) -> None:
    await house.apply(ended())
    sha256 = await house.store("r1", "t0", b"loss.png", png(8, 8))

    plain = await house.get("/runs/r1/tasks/t0/outputs/file/loss.png")
    named = await house.get(f"/runs/r1/tasks/t0/outputs/file/loss.png?v={sha256[:12]}")
    wrong = await house.get("/runs/r1/tasks/t0/outputs/file/loss.png?v=..%2f%00")

    assert plain.status_code == 200
    assert plain.headers == named.headers == wrong.headers
    assert plain.content == named.content == wrong.content
