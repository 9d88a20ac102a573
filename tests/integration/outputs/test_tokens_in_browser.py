"""The page of tokens in a real browser, with and without JavaScript: made, shown once, revoked, and signing out."""

from itertools import product
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Error, Page, expect

from tests.integration.outputs.house import House
from tests.integration.outputs.serving_pages import Served, signed_in
from tests.testbed.browser import Browser, Visit

_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def address(served: Served) -> str:
    """Where the whole application is served."""
    return served.address


async def make(page: Page, label: str) -> str:
    """Fill in the form and press its button; gives the token that is shown."""
    await page.get_by_role("link", name="Tokens", exact=True).click()
    await page.get_by_label("What it is for").fill(label)
    await page.get_by_role("checkbox", name="submit").check()
    await page.get_by_label("Days until it expires").fill("7")
    await page.get_by_role("button", name="Make it").click()
    return await page.locator("#token").inner_text()


def assert_untouched(visit: Visit) -> None:
    assert visit.errors == []
    assert visit.dialogs == []


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
async def test_a_token_is_made_shown_once_and_revoked(
    house: House,
    browser: Browser,
    address: str,
    javascript: bool,  # noqa: FBT001  a table's column
) -> None:
    async with signed_in(browser, address, javascript=javascript) as visit:
        page = visit.page
        token = await make(page, "nightly <b>plots</b>")
        bearer = {"authorization": f"Bearer {token}"}
        assert (await house.get("/runs", None, **bearer)).status_code == 200
        assert (await house.get("/clusters", None, **bearer)).status_code == 200
        assert not any(token in url for url in visit.requests)
        assert (await page.content()).count("<b>plots") == 0

        await page.goto(f"{address}/ui/tokens")
        assert token not in await page.content()
        await expect(page.locator("#tokens li")).to_contain_text("nightly <b>plots</b>")
        await expect(page.locator("#tokens li")).to_contain_text("read, submit")
        await page.locator("summary", has_text="Revoke").click()
        await page.get_by_role("button", name="Revoke it").click()

        await expect(page.locator("#tokens li")).to_contain_text("Revoked")
        assert page.url == f"{address}/ui/tokens"
        assert (await house.get("/runs", None, **bearer)).status_code == 401
        assert_untouched(visit)


async def test_a_form_that_is_sent_twice_makes_one_token(house: House, browser: Browser, address: str) -> None:
    async with signed_in(browser, address) as visit:
        await make(visit.page, "once")
        await visit.page.reload()

        await expect(visit.page.get_by_role("alert")).to_contain_text("was made already")
        assert await visit.page.locator("#token").count() == 0
    assert len(await house.rows("SELECT * FROM outputs.access_tokens")) == 1


async def test_going_back_does_not_show_it_again(browser: Browser, address: str) -> None:
    async with signed_in(browser, address) as visit:
        await make(visit.page, "gone")
        await visit.page.get_by_role("link", name="Runs", exact=True).click()
        # A browser asks whether it is to send the form once more: it has kept nothing of the answer.
        with pytest.raises(Error, match="ERR_CACHE_MISS"):
            await visit.page.go_back()


async def test_what_is_wrong_is_said_beside_it_and_what_was_filled_in_stays(browser: Browser, address: str) -> None:
    async with signed_in(browser, address) as visit:
        page = visit.page
        await page.goto(f"{address}/ui/tokens")
        await page.locator("form[action='/ui/tokens'][method=post]").evaluate("form => form.noValidate = true")
        await page.get_by_label("What it is for").fill("kept as it was")
        await page.get_by_role("checkbox", name="read").uncheck()
        await page.get_by_label("Days until it expires").fill("400")
        await page.get_by_role("button", name="Make it").click()

        await expect(page.get_by_role("alert")).to_contain_text("Nothing was made")
        await expect(page.locator("#days-fault")).to_contain_text("at most 90")
        await expect(page.locator("#scopes-fault")).to_contain_text("at least one")
        await expect(page.get_by_label("What it is for")).to_have_value("kept as it was")
        await expect(page.get_by_role("checkbox", name="read")).not_to_be_checked()


async def test_signing_out_everywhere_ends_the_session_in_another_browser(browser: Browser, address: str) -> None:
    async with signed_in(browser, address) as here, signed_in(browser, address, javascript=False) as there:
        await here.page.goto(f"{address}/ui/tokens")
        await here.page.get_by_role("button", name="Sign out everywhere").click()
        await expect(here.page.get_by_label("Your token")).to_be_visible()

        await there.page.goto(f"{address}/ui/")
        await expect(there.page.get_by_label("Your token")).to_be_visible()


async def test_a_new_token_can_be_read_by_everybody(browser: Browser, address: str, tmp_path: Path) -> None:
    async with signed_in(browser, address) as visit:
        await make(visit.page, "nightly plots on daint")
        reports = {}
        for scheme, width in product(_SCHEMES, (320, 1280)):
            await visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await visit.page.set_viewport_size({"width": width, "height": 900})
            await visit.screenshot(tmp_path / f"made-{scheme}-{width}.png")
            found = await Axe().run(visit.page, options={"resultTypes": ["violations"]})
            if found.violations_count or await visit.page.evaluate(_WIDER) > 0:
                reports[scheme, width] = found.generate_report()

        assert reports == {}, "\n".join(reports.values())
