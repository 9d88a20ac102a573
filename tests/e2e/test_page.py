"""The page of the real run in a real browser: complete, quiet, and at home on its own origin."""

from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Page

from tests.e2e.conftest import Finished
from tests.testbed.browser import Browser, Visit

_UNFOLD = "document.querySelectorAll('details').forEach(details => { details.open = true })"
_PLOTS = 8
_IMAGES = """async () => {
    const images = [...document.querySelectorAll('main img')];
    images.forEach(image => { image.loading = 'eager' });
    await Promise.all(images.map(image => image.decode().catch(() => null)));
    return images.map(image => [image.getAttribute('src'), image.naturalWidth]);
}"""


async def test_a_link_logs_one_browser_in_once(finished: Finished, browser: Browser) -> None:
    url = finished.pair.login_url()
    async with browser.visit() as visit:
        await visit.page.goto(url)
        assert urlsplit(visit.page.url).path == "/ui/"
        assert await visit.page.get_by_text("thirty $(touch").count() == 1

    async with browser.visit() as stranger:
        answer = await stranger.page.goto(url)

        assert answer is not None
        assert answer.status == 403
        assert "used already" in await stranger.page.inner_text("main")


async def test_the_page_of_the_run_shows_plots_tables_and_why_tasks_failed(
    finished: Finished, browser: Browser, tmp_path: Path
) -> None:
    async with browser.visit() as visit:
        await _open(finished, visit)
        await visit.page.evaluate(_UNFOLD)

        widths = dict(await visit.page.evaluate(_IMAGES))
        await visit.screenshot(tmp_path / "run.png")

        assert len(widths) >= 2 * _PLOTS
        assert [src for src, width in widths.items() if not width] == []
        await _check_content(visit.page)
        _check_quiet(finished, visit)


async def test_the_page_is_complete_without_javascript(finished: Finished, browser: Browser, tmp_path: Path) -> None:
    async with browser.visit(javascript=False) as visit:
        await _open(finished, visit)
        await visit.screenshot(tmp_path / "run-no-javascript.png")

        await _check_content(visit.page)
        summary = visit.page.locator("#summary img")
        assert await summary.count() == 2 * _PLOTS
        boxes = [await image.bounding_box() for image in await summary.all()]
        assert all(box is not None and box["width"] >= 100 for box in boxes)
        _check_quiet(finished, visit)


async def test_the_page_of_a_failed_task_shows_its_outputs_and_its_errors(
    finished: Finished, browser: Browser, tmp_path: Path
) -> None:
    async with browser.visit() as visit:
        await _open(finished, visit, "/tasks/fails-with-3")
        await visit.page.evaluate(_UNFOLD)
        await visit.screenshot(tmp_path / "task.png")

        text = await visit.page.inner_text("main")
        for words in (
            "It diverged",
            "partial.csv",
            "the solver diverged at step 2",
            "exit 3: its program ended with an error",
        ):
            assert words in text
        _check_quiet(finished, visit)


async def test_hostile_names_are_texts_on_the_page(finished: Finished, browser: Browser, tmp_path: Path) -> None:
    async with browser.visit() as visit:
        await _open(finished, visit, "/tasks/names")
        await visit.page.evaluate(_UNFOLD)
        await visit.screenshot(tmp_path / "names.png")

        text = await visit.page.inner_text("main")
        for words in ("with space.txt", "$(touch pwned).txt", "-rf", "<img src=x onerror=alert(1)>"):
            assert words in text
        _check_quiet(finished, visit)


async def _open(finished: Finished, visit: Visit, path: str = "") -> None:
    await visit.page.goto(finished.pair.login_url())
    answer = await visit.page.goto(f"{finished.pair.url}/ui/runs/{finished.run_id}{path}")
    assert answer is not None
    assert answer.status == 200


async def _check_content(page: Page) -> None:
    assert await page.locator("h1").count() == 1
    titles = await page.locator("#summary h3").all_inner_texts()
    assert [title.strip() for title in titles][:3] == ["plot-zeta", "plot-eta", "plot-theta"]
    assert await page.locator("#tasks tbody tr").count() == 30
    assert await page.locator("#panel-plot-zeta .document table").count() == 1
    assert await page.locator("#panel-plot-zeta .glimpse table").count() == 1
    failed = await page.locator("#task-fails-with-3").text_content() or ""
    for words in (
        "exit 3: its program ended with an error",
        "It diverged",
        "partial.csv",
        "the solver diverged at step 2",
    ):
        assert words in failed


def _check_quiet(finished: Finished, visit: Visit) -> None:
    """Nothing complained, nothing asked, nothing was fetched from elsewhere."""
    assert [line for line in visit.console if line.startswith(("error", "warning"))] == []
    assert visit.errors == []
    assert visit.dialogs == []
    assert [url for url in visit.requests if not url.startswith(f"{finished.pair.url}/")] == []
