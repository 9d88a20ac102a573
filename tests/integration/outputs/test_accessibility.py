"""Every page can be used by everybody: by WCAG 2.2 AA as axe checks it, by keyboard, by touch, at every width, calmly.

Pages are listed in `exhibits.PAGES`. Where axe asks a person, or does not look, there are checks of our own.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

from tests.integration.outputs.exhibition import Exhibition, opened
from tests.integration.outputs.exhibits import DIALOGS, PAGES, Exhibit, fill
from tests.testbed.databases import Databases

pytestmark = pytest.mark.asyncio(loop_scope="module")

_AXE = {
    "resultTypes": ["violations"],
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
    "rules": {"target-size": {"enabled": True}},
}
# Between the schemes nothing differs but colours.
_AXE_OF_COLOURS = {"resultTypes": ["violations"], "runOnly": {"type": "rule", "values": ["color-contrast"]}}
_DESK = {"width": 1200, "height": 900}
_MAX_STOPS = 120
# What a keyboard must reach, as far as it can be seen; of radio buttons the chosen one.
_REACHABLE = """() => [...(document.querySelector('dialog[open]') ?? document).querySelectorAll(
    'a[href], button, input:not([type=hidden]), select, textarea, summary, iframe, [tabindex="0"]')]
  .filter((found) => !found.disabled && found.checkVisibility({ visibilityProperty: true })
    && !found.closest('[inert]') && found.getBoundingClientRect().width > 0)"""
_COUNT_REACHABLE = f"""() => {{
    const reachable = ({_REACHABLE})();
    for (const [place, found] of reachable.entries()) found.dataset.stop = place;
    return reachable.length;
}}"""
_STOP = """() => {
    const at = document.activeElement;
    if (!at || at === document.body) return null;
    const style = getComputedStyle(at), box = at.getBoundingClientRect();
    const x = Math.min(innerWidth - 1, Math.max(0, box.left + Math.min(box.width / 2, 8)));
    const y = Math.min(innerHeight - 1, Math.max(0, box.top + Math.min(box.height / 2, 8)));
    const over = document.elementFromPoint(x, y);
    return {
        stop: at.dataset.stop ?? null,
        name: at.outerHTML.slice(0, 160),
        isFrame: at.tagName === 'IFRAME',
        isMarked: (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2) || at.tagName === 'IFRAME',
        isSeen: !!over && (at.contains(over) || over.contains(at)),
        isOnScreen: box.bottom > 0 && box.top < innerHeight,
    };
}"""
# Targets within a line of text are exempt: their size is that of the text. Source: WCAG 2.2, 2.5.8.
_SMALL = """(least) => [...document.querySelectorAll(
    'button, select, input:not([type=hidden]), summary, nav a')]
  .filter((found) => found.checkVisibility() && !found.closest('.document, .skip'))
  .map((found) => [found.outerHTML.slice(0, 120), found.getBoundingClientRect()])
  .filter(([, box]) => box.width > 0 && (box.height < least - 0.5 || box.width < least - 0.5))
  .map(([name, box]) => `${name} is ${box.width} by ${box.height}`)"""
# Source: WCAG 2.2, 1.4.12. A constructed sheet passes a policy that refuses inline styles.
_SPACE_OUT = """() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`
        * { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important }
        p { margin-block-end: 2em !important }`);
    document.adoptedStyleSheets = [sheet];
}"""
_CUT = """() => [...document.querySelectorAll('main *, header *')]
  .filter((found) => found.checkVisibility() && found.childNodes.length && !found.closest('.unseen, svg, pre, thead'))
  .filter((found) => {
    const style = getComputedStyle(found);
    const isClipped = (overflow) => overflow === 'hidden' || overflow === 'clip';
    return (isClipped(style.overflowX) && found.scrollWidth > found.clientWidth + 1)
        || (isClipped(style.overflowY) && found.scrollHeight > found.clientHeight + 1);
  })
  .map((found) => found.outerHTML.slice(0, 160))"""
_WIDER = """() => [...document.querySelectorAll('body *')]
  .filter((found) => found.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((found) => found.outerHTML.slice(0, 120)).slice(0, 5)"""
_CONTROLS = """() => [...document.querySelectorAll('body > header, nav, button, .skip, .acts, .choices, .filters')]
  .filter((found) => found.checkVisibility())
  .map((found) => found.outerHTML.slice(0, 120))"""
_LINE_CHARACTERS = """() => [...document.querySelectorAll('.document p')]
  .filter((found) => found.checkVisibility())
  .map((found) => found.getBoundingClientRect().width / parseFloat(getComputedStyle(found).fontSize) / 0.48)"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def exhibition(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Exhibition]:
    """One house for all tests: they look, and change nothing."""
    uri = databases.create()
    async with opened(uri, Path(tmp_path_factory.mktemp("exhibition"))) as found:
        await fill(found.house)
        yield found
    databases.drop(uri)


class Opened(msgspec.Struct, frozen=True):
    """A page that somebody has open at a desk."""

    page: Page
    exhibit: Exhibit


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def opened_once(exhibition: Exhibition, request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    """One page, opened once for all tests that look at it."""
    exhibit: Exhibit = request.param
    async with exhibition.visit(
        actor=exhibit.actor, is_signed_in=exhibit.is_signed_in, reduced_motion="reduce"
    ) as visit:
        await look(exhibition, visit.page, exhibit)
        yield Opened(visit.page, exhibit)


@pytest_asyncio.fixture(loop_scope="module")
async def at_desk(opened_once: Opened) -> Opened:
    """The same as it was when it was opened, whatever was done to it since."""
    page = opened_once.page
    await page.emulate_media(media="screen", color_scheme="light")
    await page.set_viewport_size(_DESK)  # type: ignore[arg-type]  # a dictionary type of its own
    await page.evaluate("() => { document.adoptedStyleSheets = []; scrollTo(0, 0) }")
    return opened_once


def _each(fixture: str, exhibits: Iterable[Exhibit]) -> pytest.MarkDecorator:
    is_opened = fixture == "opened_once"
    return pytest.mark.parametrize(fixture, exhibits, ids=lambda exhibit: exhibit.name, indirect=is_opened)


def every_page() -> pytest.MarkDecorator:
    return _each("opened_once", PAGES)


def every_page_and_dialog(fixture: str = "opened_once") -> pytest.MarkDecorator:
    return _each(fixture, [*PAGES, *DIALOGS])


async def look(exhibition: Exhibition, page: Page, exhibit: Exhibit) -> None:
    answer = await page.goto(exhibition.address + exhibit.path)
    assert answer is not None
    await page.wait_for_load_state("load")
    if exhibit.pressed:
        await page.locator(exhibit.pressed).first.click()
        await page.locator("dialog[open]").wait_for()
    framed = page.locator("iframe.pdf")
    if await framed.count():
        await framed.scroll_into_view_if_needed()
        await _viewer_stands(page)
        await page.evaluate("scrollTo(0, 0)")


async def _viewer_stands(page: Page) -> None:
    """Wait for Chromium's viewer of PDFs, which passes no focus on until its own frame for the content is there."""
    async with asyncio.timeout(20):
        while sum(frame.url.endswith("?framed=1") for frame in page.frames) < 2:  # noqa: ASYNC110 - has no event
            await asyncio.sleep(0.05)


@every_page_and_dialog()
async def test_axe_finds_nothing(at_desk: Opened) -> None:
    page, reports = at_desk.page, {}

    for width in (320, 1280):
        await page.set_viewport_size({"width": width, "height": 900})
        for scheme, options in {"light": _AXE, "dark": _AXE_OF_COLOURS}.items():
            await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of its words
            found = await Axe().run(page, options=options)
            if found.violations_count:
                reports[scheme, width] = found.generate_report()

    assert reports == {}, "\n".join(reports.values())


@every_page_and_dialog("exhibit")
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (320, 256)], ids=["desk", "zoomed-to-400-percent"])
async def test_a_keyboard_reaches_everything_and_focus_is_seen(
    exhibition: Exhibition, exhibit: Exhibit, width: int, height: int
) -> None:
    async with exhibition.visit(
        actor=exhibit.actor, is_signed_in=exhibit.is_signed_in, width=width, height=height
    ) as visit:
        page = visit.page
        await look(exhibition, page, exhibit)
        await page.evaluate("() => { document.activeElement?.blur() }")
        reachable = min(await page.evaluate(_COUNT_REACHABLE), _MAX_STOPS)

        # Where a field has the focus from the start, the way leads once around and past the browser's own controls.
        stops = await walk(page, reachable + 2)

        assert {stop["stop"] for stop in stops} >= {str(place) for place in range(reachable)}
        assert [stop["name"] for stop in stops if not stop["isMarked"]] == []
        assert [stop["name"] for stop in stops if not (stop["isSeen"] and stop["isOnScreen"])] == []


async def walk(page: Page, steps: int) -> list[dict[str, Any]]:
    """Press Tab so often and tell what had the focus; what the browser's own viewer in a frame takes is not counted."""
    stops: list[dict[str, Any]] = []
    allowed = _MAX_STOPS
    while steps > 0 and allowed > 0:
        await page.keyboard.press("Tab")
        stop = await page.evaluate(_STOP)
        is_within_frame = stop is not None and stop["isFrame"] and stops and stops[-1]["stop"] == stop["stop"]
        steps, allowed = (steps, allowed - 1) if is_within_frame else (steps - 1, allowed)
        if stop is not None:
            stops.append(stop)
    return stops


@every_page_and_dialog()
async def test_targets_are_large_enough_for_a_mouse(at_desk: Opened) -> None:
    assert await at_desk.page.evaluate(_SMALL, 24) == []


@every_page_and_dialog("exhibit")
async def test_targets_are_large_enough_for_a_finger(exhibition: Exhibition, exhibit: Exhibit) -> None:
    async with exhibition.visit(
        actor=exhibit.actor, is_signed_in=exhibit.is_signed_in, width=390, has_touch=True, is_mobile=True
    ) as visit:
        await look(exhibition, visit.page, exhibit)

        assert await visit.page.evaluate("matchMedia('(pointer: coarse)').matches")
        assert await visit.page.evaluate(_SMALL, 44) == []


@every_page_and_dialog()
async def test_nothing_is_wider_than_the_screen_or_cut(at_desk: Opened) -> None:
    page = at_desk.page

    for width in (3840, 1280, 768, 320):
        await page.set_viewport_size({"width": width, "height": 900})
        scrolls = await page.evaluate("document.documentElement.scrollWidth")
        assert scrolls <= width, await page.evaluate(_WIDER)
        assert all(characters < 110 for characters in await page.evaluate(_LINE_CHARACTERS))

    await page.evaluate(_SPACE_OUT)
    for width in (320, 1280):
        await page.set_viewport_size({"width": width, "height": 900})
        assert await page.evaluate(_CUT) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_facts_of_a_task_stand_beside_each_other(exhibition: Exhibition) -> None:
    async with exhibition.visit() as visit:
        await visit.page.goto(f"{exhibition.address}/ui/runs/wake/tasks/re-400")
        facts = visit.page.locator(".properties > div")
        tops = await facts.evaluate_all("(facts) => facts.map((fact) => fact.getBoundingClientRect().top)")

    assert len(tops) > 5
    assert len(set(tops)) <= 2


@every_page()
async def test_headings_and_landmarks_tell_the_order_of_a_page(at_desk: Opened) -> None:
    page = at_desk.page
    levels = await page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((found) => Number(found.tagName[1]))"
    )
    title = await page.title()

    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))
    assert await page.get_by_role("main").count() == 1
    assert await page.get_by_role("banner").count() == 1
    assert title.endswith(" · ScriptHut")
    assert await page.evaluate("document.documentElement.lang") == "en"
    names = [await nav.get_attribute("aria-label") for nav in await page.get_by_role("navigation").all()]
    assert all(names)
    assert len(names) == len(set(names))


async def test_nothing_moves_for_who_wants_no_motion(exhibition: Exhibition) -> None:
    async with exhibition.visit(reduced_motion="reduce") as visit:
        await visit.page.goto(f"{exhibition.address}/ui/runs/states")

        assert await visit.page.locator(".icon-ring").count() > 0
        assert await visit.page.evaluate("document.getAnimations().length") == 0


async def test_colours_that_people_choose_hide_no_state(exhibition: Exhibition) -> None:
    async with exhibition.visit(forced_colors="active") as visit:
        await visit.page.goto(f"{exhibition.address}/ui/runs/states")
        chips = visit.page.locator(".chip")

        assert await chips.count() > 10
        for chip in await chips.all():
            assert (await chip.inner_text()).strip()
            assert await chip.evaluate("(found) => getComputedStyle(found).borderTopStyle") == "solid"
        drawn = "[...document.querySelectorAll('.bar rect')].map((found) => getComputedStyle(found).fill)"
        assert len(set(await visit.page.evaluate(drawn))) > 3


@every_page()
async def test_paper_shows_what_was_found_and_no_controls(at_desk: Opened) -> None:
    page = at_desk.page
    await page.set_viewport_size({"width": 700, "height": 900})
    await page.emulate_media(media="print", color_scheme="dark")

    assert await page.evaluate(_CONTROLS) == []
    assert await page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert await page.get_by_role("heading", level=1).is_visible() == at_desk.exhibit.is_signed_in
    assert await page.evaluate("document.documentElement.scrollWidth") <= 700
