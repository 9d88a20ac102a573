"""Sharing a run in Chromium, with scripts and without."""

import pytest
from playwright.async_api import expect

from scripthut_outputs.access.policy import Policy
from tests.integration.outputs.house import House, ended
from tests.integration.outputs.serving_pages import Served, signed_in
from tests.testbed.browser import Browser


@pytest.mark.parametrize("javascript", [True, False])
async def test_a_link_goes_from_its_maker_to_a_guest_and_back(
    house: House, served: Served, browser: Browser, *, javascript: bool
) -> None:
    house.policy = Policy(groups={"lattice": ("ada", "bob")})
    await house.apply(ended())
    await house.store("r1", "t0", b"task-summary.md", b"# For the referee")

    async with signed_in(browser, served.address, javascript=javascript) as owner:
        await owner.page.goto(f"{served.address}/ui/runs/r1")
        await owner.page.get_by_text("Share", exact=True).click()
        await owner.page.get_by_label("Who may read this run").select_option("the group lattice")
        await owner.page.get_by_role("button", name="Set").click()
        await expect(owner.page.get_by_text("open to lattice")).to_be_visible()
        await owner.page.get_by_text("Share", exact=True).click()
        await owner.page.get_by_label("Label", exact=True).fill("for <b>the referee</b>")
        await owner.page.get_by_role("button", name="Make a link").click()
        address = await owner.page.get_by_role("textbox", name="Address").input_value()
        await owner.page.get_by_role("link", name="Back to the run").click()

        async with browser.visit(javascript=javascript) as guest:
            await guest.page.goto(address)
            await expect(guest.page).to_have_url(f"{served.address}/ui/runs/r1")
            await expect(guest.page.get_by_role("heading", name="For the referee")).to_be_visible()
            await expect(guest.page.get_by_text("Shared by link")).to_be_visible()
            assert await guest.page.get_by_role("button", name="Pin").count() == 0
            assert await guest.page.get_by_text("Share", exact=True).count() == 0

            await owner.page.get_by_text("Share").first.click()
            await owner.page.get_by_role("button", name="Take back the link for <b>the referee</b>").click()
            await expect(owner.page.get_by_role("heading", name="task t0")).to_be_visible()
            await guest.page.goto(address)
            await expect(guest.page.get_by_role("heading", name="Nothing is here")).to_be_visible()
            await guest.page.goto(f"{served.address}/ui/runs/r1")
            await expect(guest.page.get_by_role("heading", name="Nothing is here")).to_be_visible()
            assert guest.errors + owner.errors == []
            assert guest.refused + owner.refused == []
