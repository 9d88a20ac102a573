"""Login in a real browser at a real OpenID provider: in, out, in again, and what a change there changes here."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from playwright.async_api import Page, expect

from scripthut_common.database import Database
from scripthut_outputs.access.oidc_login import CALLBACK
from scripthut_outputs.access.policy import Policy
from tests.integration.outputs.house import House, ended
from tests.integration.outputs.serving_pages import serving
from tests.testbed.browser import Browser
from tests.testbed.oidc import OidcProvider
from tests.testbed.oidc.browsing import BUTTON, log_in
from tests.testbed.ports import reserve_port


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The application on a port, and the provider that it names."""

    address: str
    house: House
    provider: OidcProvider


@pytest.fixture
async def place(
    database: Database, tmp_path: Path, oidc_providers: Callable[[str], OidcProvider]
) -> AsyncIterator[Place]:
    """Both of them, started."""
    port = reserve_port()
    address = f"http://localhost:{port}"
    provider = oidc_providers(f"{address}{CALLBACK}")
    house = House(database, tmp_path, url=address)
    house.policy = Policy(oidc=provider.settings(admin_groups=("wheel",)), trusts_listed_names=True)
    async with serving(house, port):
        yield Place(address=address, house=house, provider=provider)
    house.previewer.close()


async def sign_out(page: Page) -> None:
    """End the session here; the one at the provider goes on."""
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_a_person_logs_in_and_out_and_in_again(place: Place, browser: Browser) -> None:
    await place.house.apply(ended(run_name="A run to look at"))

    async with browser.visit() as visit:
        page = visit.page
        await page.goto(f"{place.address}/ui/runs/r1")
        await log_in(page)
        await expect(page.get_by_role("heading", level=1)).to_have_text("A run to look at")
        assert urlsplit(page.url).path == "/ui/runs/r1"
        await sign_out(page)
        await page.goto(f"{place.address}/ui/")
        await page.get_by_role("link", name=BUTTON).click()
        await expect(page.get_by_role("link", name="A run to look at")).to_be_visible()
        assert visit.errors == []
        kept = {cookie["name"] for cookie in await page.context.cookies(place.address)}
    assert kept == {place.house.sessions.cookie_name}
    assert [row.act for row in await place.house.rows("SELECT act FROM outputs.audit ORDER BY entry")] == [
        "login",
        "login",
    ]


async def test_who_leaves_a_group_sees_its_runs_no_more_from_the_next_login(place: Place, browser: Browser) -> None:
    place.provider.people(ada={"preferred_username": "ada", "groups": ["wheel"]})
    await place.house.apply(ended(owner="bob", run_name="A run of Bob"))

    async with browser.visit() as visit:
        page = visit.page
        await page.goto(f"{place.address}/ui/")
        await log_in(page)
        await expect(page.get_by_role("link", name="A run of Bob")).to_be_visible()
        place.provider.people(ada={"preferred_username": "ada", "groups": []})
        await sign_out(page)
        await page.get_by_role("link", name=BUTTON).click()
        await expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
        await expect(page.get_by_role("link", name="A run of Bob")).to_have_count(0)


async def test_who_turns_back_at_the_provider_is_told_so_and_may_begin_again(place: Place, browser: Browser) -> None:
    async with browser.visit() as visit:
        page = visit.page
        await page.goto(f"{place.address}/ui/")
        await page.get_by_role("link", name=BUTTON).click()
        await page.get_by_role("link", name="Cancel").click()
        await expect(page.get_by_role("alert")).to_contain_text("you turned back there")
        await log_in(page)
        await expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()


async def test_a_login_needs_no_scripts_and_leaves_none_of_its_secrets_in_the_address(
    place: Place, browser: Browser
) -> None:
    async with browser.visit(javascript=False) as visit:
        page = visit.page
        await page.goto(f"{place.address}/ui/")
        await log_in(page)
        await expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
        assert urlsplit(page.url).query == ""
        assert [line for line in visit.console if "Content Security Policy" in line] == []
