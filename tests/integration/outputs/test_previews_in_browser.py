"""Previews in a real browser: keys, order, frames, and files that are not what they claim."""

import json

import pytest
from playwright.async_api import Page, expect

from tests.integration.outputs.exhibits import HOSTILE
from tests.integration.outputs.flows import png
from tests.integration.outputs.house import House, ended
from tests.integration.outputs.serving_pages import signed_in
from tests.integration.outputs.test_pages_in_browser import address, assert_harmless
from tests.testbed.browser import Browser

__all__ = ["address"]  # a fixture
FILES = "/ui/runs/r1/tasks/t0/files/"
LONG_MS = 60_000  # the first preview starts a process
TABLE = b"name,value\nb,10\na,9\nc,\nd,-1e3\n"
QUIET_PDF = (
    b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
    b"2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n"
    b"3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] >>\nendobj\n"
    b"trailer << /Size 4 /Root 1 0 R >>\n%%EOF"
)
SCRIPTED_PDF = QUIET_PDF.replace(
    b"/Pages 2 0 R >>", b"/Pages 2 0 R /OpenAction << /S /JavaScript /JS (app.alert\\('pdf'\\);) >> >>"
)


@pytest.fixture
async def gallery(house: House) -> None:
    """A task with two pictures and a series of three."""
    await house.apply(ended())
    for name in ("a.png", "b.png", "flow_001.png", "flow_002.png", "flow_003.png"):
        await house.store("r1", "t0", name.encode(), png(40, 30))


async def names(page: Page) -> list[str]:
    """The first column of a table, as it stands."""
    return await page.locator("table.cells tbody td:nth-child(2)").all_inner_texts()


async def test_pictures_open_large_and_are_walked_by_keys(
    house: House, address: str, browser: Browser, gallery: None
) -> None:
    async with signed_in(browser, address) as visit:
        page = visit.page
        await page.goto(f"{address}/ui/runs/r1/tasks/t0")
        link = page.locator("a[data-image]").first
        await link.focus()
        await page.keyboard.press("Enter")
        box = page.locator("dialog.lightbox")
        await expect(box).to_be_visible()
        await expect(box.locator(".caption")).to_have_text("a.png1 of 5")
        await page.keyboard.press("ArrowRight")
        await expect(box.locator(".caption")).to_contain_text("b.png")
        await page.keyboard.press("ArrowLeft")
        await page.keyboard.press("ArrowLeft")
        await expect(box.locator(".caption")).to_have_text("flow_003.png5 of 5")
        await expect(box.get_by_role("link", name="Page of this file")).to_have_attribute(
            "href", f"{address}{FILES}flow_003.png"
        )
        await page.keyboard.press("+")
        await expect(box).to_contain_text("150 %")
        await page.keyboard.press("0")
        await expect(box).to_contain_text("100 %")
        await box.locator(".stage").click(position={"x": 200, "y": 200})
        await expect(box).to_contain_text("250 %")
        await box.get_by_role("button", name="Next picture").click()
        await expect(box.locator(".caption")).to_contain_text("1 of 5")
        await page.keyboard.press("Escape")
        await expect(box).to_have_count(0)
        assert await link.evaluate("(element) => element === document.activeElement")
        assert_harmless(visit, address)


async def test_without_javascript_pictures_are_links(
    house: House, address: str, browser: Browser, gallery: None
) -> None:
    async with signed_in(browser, address, javascript=False) as visit:
        page = visit.page
        await page.goto(f"{address}/ui/runs/r1/tasks/t0")
        await page.get_by_text("All of them").click()
        await expect(page.get_by_role("link", name="flow_002.png")).to_be_visible()
        await page.locator(".gallery a").first.click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("a.png")
        await expect(page.locator("figure.picture img")).to_be_visible()
        await page.get_by_role("link", name="b.png").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("b.png")


async def test_a_series_is_stepped_through_and_played(
    house: House, address: str, browser: Browser, gallery: None
) -> None:
    async with signed_in(browser, address) as visit:
        page = visit.page
        await page.goto(f"{address}/ui/runs/r1/tasks/t0")
        series = page.locator("figure.series")
        await expect(series.locator("output")).to_have_text("1 of 3")
        await series.get_by_role("slider").focus()
        await page.keyboard.press("ArrowRight")
        await expect(series.locator("output")).to_have_text("2 of 3")
        await expect(series.locator("img")).to_have_attribute("alt", "flow_002.png")
        await series.get_by_role("button", name="Play").click()
        await expect(series.locator("output")).to_have_text("3 of 3")
        await expect(series.get_by_role("button")).to_have_text("Play")
        assert_harmless(visit, address)


async def test_a_table_is_sorted_in_place(house: House, address: str, browser: Browser) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"t.csv", TABLE)

    async with signed_in(browser, address) as visit:
        page = visit.page
        await page.goto(f"{address}{FILES}t.csv")
        heading = page.get_by_role("link", name="value")
        await heading.click()
        assert await names(page) == ["d", "a", "b", "c"]
        await heading.click()
        assert await names(page) == ["b", "a", "d", "c"]
        await expect(page.locator("th", has=heading)).to_have_attribute("aria-sort", "descending")
        await heading.click()
        assert await names(page) == ["b", "a", "c", "d"]
        assert page.url == f"{address}{FILES}t.csv"


async def test_a_table_is_sorted_without_javascript(house: House, address: str, browser: Browser) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"t.csv", TABLE)

    async with signed_in(browser, address, javascript=False) as visit:
        page = visit.page
        await page.goto(f"{address}{FILES}t.csv")
        await page.get_by_role("link", name="value").click()
        assert await names(page) == ["d", "a", "b", "c"]
        await page.get_by_role("link", name="value").click()
        assert await names(page) == ["b", "a", "d", "c"]


async def test_a_file_unfolds_in_its_panel(house: House, address: str, browser: Browser) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"conf.json", b'{"steps": [1, 2]}')
    await house.store("r1", "t0", b"run.log", b"\x1b[31mred\x1b[0m\n")

    async with signed_in(browser, address) as visit:
        page = visit.page
        await page.goto(f"{address}/ui/runs/r1/tasks/t0")
        await page.locator(".downloads > summary").click()
        for place in await page.get_by_text("Show it here").all():
            await place.click()
        await expect(page.locator(".in-place .tree")).to_contain_text("steps", timeout=LONG_MS)
        await expect(page.locator(".in-place .t-ink-1")).to_have_text("red", timeout=LONG_MS)
        assert_harmless(visit, address)


async def test_a_fragment_that_does_not_come_says_so_and_comes_later(
    house: House, address: str, browser: Browser
) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"conf.json", b'{"steps": 1}')

    async with signed_in(browser, address) as visit:
        page = visit.page
        await page.goto(f"{address}/ui/runs/r1/tasks/t0")
        await page.locator(".downloads > summary").click()
        await page.route("**/*fragment=1&*", lambda route: route.abort())
        summary = page.get_by_text("Show it here")
        await summary.click()
        await expect(page.get_by_role("alert")).to_contain_text("It cannot be shown here")
        await page.unroute("**/*fragment=1&*")
        await summary.click()
        await summary.click()
        await expect(page.locator(".in-place .tree")).to_contain_text("steps", timeout=LONG_MS)


async def test_a_line_of_a_log_has_an_address(house: House, address: str, browser: Browser) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.log", b"".join(b"line %d\n" % n for n in range(1, 400)))

    async with signed_in(browser, address) as visit:
        await visit.page.goto(f"{address}{FILES}a.log#L300")
        await expect(visit.page.locator("#L300")).to_be_in_viewport()
        await expect(visit.page.locator(".line:target")).to_have_text("line 300")


async def test_a_pdf_with_a_script_does_nothing_unasked(house: House, address: str, browser: Browser) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"scripted.pdf", SCRIPTED_PDF)

    async with signed_in(browser, address) as visit:
        await visit.page.goto(f"{address}{FILES}scripted.pdf")
        await expect(visit.page.get_by_text("Show it here")).to_be_visible()
        await expect(visit.page.get_by_role("link", name="Download the PDF")).to_be_visible()
        assert not [url for url in visit.requests if "framed" in url]
        assert_harmless(visit, address)


async def test_a_pdf_that_cannot_act_is_shown_in_its_frame(house: House, address: str, browser: Browser) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"quiet.pdf", QUIET_PDF)

    async with signed_in(browser, address) as visit:
        async with visit.page.expect_response("**/quiet.pdf?framed=1") as answered:
            await visit.page.goto(f"{address}{FILES}quiet.pdf")
        answer = await answered.value
        assert answer.headers["content-disposition"].startswith("inline;")
        await expect(visit.page.locator("iframe.pdf")).to_be_visible()
        assert visit.dialogs == []


async def test_files_that_are_not_what_they_claim_do_nothing(house: House, address: str, browser: Browser) -> None:
    await house.apply(ended(run_name=HOSTILE, task_name=HOSTILE))
    name = HOSTILE.replace("/", "|").encode()
    html = f"<html><body>{HOSTILE}</body></html>".encode()
    output = {"output_type": "display_data", "data": {"text/html": HOSTILE, "application/javascript": "alert('js')"}}
    cells = [
        {"cell_type": "markdown", "source": HOSTILE},
        {"cell_type": "code", "source": HOSTILE, "outputs": [output]},
    ]
    files = {
        b".png": html,
        b".svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>alert(2)</script></svg>",
        b".pdf": html,
        b".csv": name + b"," + name + b"\n=1+1," + name + b"\n",
        b".json": json.dumps({HOSTILE: [HOSTILE, {HOSTILE: None}]}).encode(),
        b".jsonl": json.dumps(HOSTILE).encode() + b"\n" + html,
        b".ipynb": json.dumps({"nbformat": 4, "cells": cells}).encode(),
        b".html": html,
        b".log": html + b"\x1b[31m" + html,
        b".md": HOSTILE.encode(),
        b".bin": bytes(8) + html,
    }
    for suffix, content in files.items():
        await house.store("r1", "t0", name + suffix, content)

    async with signed_in(browser, address) as visit:
        page = visit.page
        await page.goto(f"{address}/ui/runs/r1/tasks/t0")
        await page.locator(".downloads > summary").click()
        for place in await page.get_by_text("Show it here").all():
            await place.click()
        await expect(page.locator(".in-place .preview[aria-busy]")).to_have_count(0, timeout=LONG_MS)
        addresses = await page.locator(".files li > a:first-child").evaluate_all("(links) => links.map((a) => a.href)")
        assert len(addresses) == len(files)
        for one in addresses:
            await page.goto(one)
            assert await page.locator("h1").count() == 1
            assert (
                await page.evaluate("document.querySelectorAll('main :is(iframe, input, svg[onload], form)').length")
                == 0
            )
        assert_harmless(visit, address)


@pytest.mark.parametrize("width", [320, 1280])
async def test_every_preview_fits_every_screen(house: House, address: str, browser: Browser, width: int) -> None:
    await house.apply(ended())
    wide = b"w" * 3000
    files = {
        "t.csv": b",".join([b"column"] * 60) + b"\n" + b",".join([wide] * 60),
        "a.json": json.dumps({"k" * 300: [["x" * 900]]}).encode(),
        "a.log": wide,
        "a.py": b"x = '" + wide + b"'",
        "a.bin": bytes(300),
        "n.ipynb": json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": "y" * 900}]}).encode(),
        f"{'n' * 200}.png": png(3000, 40),
    }
    for name, content in files.items():
        await house.store("r1", "t0", name.encode(), content)

    async with signed_in(browser, address, width=width) as visit:
        for path in [f"{FILES}{name}" for name in files] + ["/ui/runs/r1/tasks/t0"]:
            await visit.page.goto(address + path)
            assert await visit.page.evaluate("document.documentElement.scrollWidth") <= width, path
