"""Hostile content in a real browser: whatever authors write or name, pages stay ours and nobody hears of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import expect
from sqlalchemy import update

from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.catalog.changes import touch
from scripthut_outputs.catalog.documents import Documents, want
from scripthut_outputs.documents.loop import Renderer
from scripthut_outputs.documents.press import Press
from scripthut_outputs.ledger import FileState, Kind, Place
from scripthut_outputs.rendering import RENDERER, file_url
from scripthut_outputs.tables import COLLECTIONS, FILES, RUNS
from tests.integration.outputs import attacks, flows
from tests.integration.outputs.exhibition import Exhibition, opened
from tests.integration.outputs.harmless import Elsewhere, elsewhere, harm, harm_of_page
from tests.integration.outputs.house import House, ended, item
from tests.testbed.browser import Visit
from tests.testbed.databases import Databases

pytestmark = pytest.mark.asyncio(loop_scope="module")

_RUN_IDS = (f"hostile-{number}" for number in count())
_TAKE_OVER = """<!doctype html><html lang="en"><base href="{elsewhere}/"><h1>a</h1><h1>b</h1><main id="main">
<p id="main"><img name="getElementById" src="{elsewhere}/i"><iframe srcdoc="x"></iframe>
<b onmouseover="x" style="color: red">b</b>
<img class="cell-picture" src="data:image/png;base64,AAAA">
<a href="javascript:alert(1)">a</a><form action="{elsewhere}/"></form>
<svg><image href="{elsewhere}/i.png" /></svg></main>
<header><button>Sign out</button><a href="/ui/">ScriptHut</a></header>
<div style="position: fixed; inset: 0">over</div><script>alert("dialog"); missing()</script>"""
_SIGNS = (
    *("dialog", "asked http", "error missing", "was heard", "2 first headings", "another main", "clobbered", "form"),
    *(
        "links start at",
        "used twice",
        "frame",
        "attribute onmouseover",
        "attribute style",
        "scheme in href",
        "scheme in src",
    ),
    *("foreign drawing", "sign out cannot be used"),
)

# Links to files of ours are followed by no one here: where they may lead is looked at.
# Not a PDF in which something may act: it is shown when its reader says so, and may then open a dialog.
_UNFOLD = "document.querySelectorAll('main details:not(.pdf-frame)').forEach((found) => { found.open = true })"
_CLICK = """() => [...document.querySelectorAll('main :is(a, text, maction, mi, rect)')]
  .filter((found) => !/^https?:$/.test(found.protocol ?? ''))
  .forEach((found) => found.dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true })))"""

Publish = Callable[[str, dict[bytes, bytes]], Awaitable[None]]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def exhibition(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Exhibition]:
    """One house; every test has a run of its own in it."""
    uri = databases.create()
    async with opened(uri, Path(tmp_path_factory.mktemp("hostile"))) as found:
        yield found
    databases.drop(uri)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def other() -> AsyncIterator[Elsewhere]:
    async with elsewhere() as found:
        yield found


@pytest.fixture(scope="module")
def press() -> Iterator[Press]:
    made = Press(timeout_s=10.0)
    yield made
    made.close()


@pytest.fixture
def run_id() -> str:
    return next(_RUN_IDS)


@pytest.fixture
def publish(exhibition: Exhibition, press: Press) -> Publish:
    """Let a task have written Markdown, as outputs and as its part of the run's summary; rendered as in production."""
    house = exhibition.house
    renderer = Renderer(Documents(house.database, RENDERER), house.blobs, press)

    async def publishing(run_id: str, documents: dict[bytes, bytes]) -> None:
        await house.apply(ended("t0", run_id=run_id), ended("t1", run_id=run_id, position=1))
        parts = {"t0": next(iter(documents.values())), "t1": b"# Innocent\n\nstill here"}
        hashes = [await house.store(run_id, "t0", path, text, kind=Kind.OTHER) for path, text in documents.items()]
        for task_id, text in parts.items():
            hashes += [await house.store(run_id, task_id, b"", text, Place.RUN_SUMMARY, kind=Kind.OTHER)]
        async with house.database.transaction() as connection:
            of_run = FILES.c.run_id == run_id
            await connection.execute(update(FILES).where(of_run).values(kind=Kind.MARKDOWN))
            await want(connection, hashes, RENDERER)
            await touch(connection, run_id)
        while await renderer.step():
            pass

    return publishing


@contextmanager
def counted(other: Elsewhere) -> Iterator[None]:
    """Let no test answer for what another one heard."""
    other.heard = 0
    yield


async def settle(visit: Visit) -> None:
    """Let everything that content may have begun come to its end."""
    await visit.page.wait_for_load_state("load")
    await visit.page.evaluate("Promise.all([...document.images].map((image) => image.decode().catch(() => null)))")
    await visit.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


async def harm_on(visit: Visit, exhibition: Exhibition, other: Elsewhere, path: str) -> list[str]:
    """Open a page as people do, unfold and click everything in it that an author made, and tell the harm."""
    address = exhibition.address
    await visit.page.goto(address + path)
    await settle(visit)
    await visit.page.evaluate(_UNFOLD)
    await visit.page.evaluate(_CLICK)
    await settle(visit)
    found = await harm_of_page(visit, address, other)
    return [*found, *([] if visit.page.url == address + path else [f"led to {visit.page.url}"])]


@asynccontextmanager
async def serving(page: str) -> AsyncIterator[str]:
    """Serve one page to everybody who asks, without any policy."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline():
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n{page}".encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_the_harness_sees_a_page_that_was_taken_over(exhibition: Exhibition, other: Elsewhere) -> None:
    async with serving(_TAKE_OVER.format(elsewhere=other.address)) as address, exhibition.visit() as visit:
        await visit.page.goto(f"{address}/")
        await settle(visit)

        found = "\n".join(await harm_of_page(visit, address, other, waits_s=1.0))

        assert [sign for sign in _SIGNS if sign not in found] == []


@pytest.mark.parametrize("attack", attacks.DOCUMENTS)
async def test_a_document_stays_where_it_belongs(
    exhibition: Exhibition, publish: Publish, other: Elsewhere, run_id: str, attack: str
) -> None:
    await publish(run_id, {b"task-summary.md": attacks.aimed(attacks.DOCUMENTS[attack], other.address)})

    async with exhibition.visit() as visit:
        with counted(other):
            harms = [
                await harm_on(visit, exhibition, other, path)
                for path in (f"/ui/runs/{run_id}", f"/ui/runs/{run_id}/tasks/t0")
            ]

        assert harms == [[], []]
        await visit.page.goto(f"{exhibition.address}/ui/runs/{run_id}")
        await visit.page.get_by_role("heading", name="Innocent").wait_for()
        assert await visit.page.get_by_text("still here").is_visible()


async def test_documents_lead_nowhere_without_javascript(
    exhibition: Exhibition, publish: Publish, other: Elsewhere, run_id: str
) -> None:
    shown = {f"{name}.md".encode(): attacks.aimed(text, other.address) for name, text in attacks.DOCUMENTS.items()}
    await publish(run_id, shown)

    async with exhibition.visit(javascript=False) as visit:
        with counted(other):
            await visit.page.goto(f"{exhibition.address}/ui/runs/{run_id}/tasks/t0")
            await visit.page.wait_for_load_state("networkidle")

            assert harm(visit, exhibition.address, other) == []
            assert visit.page.url == f"{exhibition.address}/ui/runs/{run_id}/tasks/t0"


@pytest.mark.parametrize("attack", attacks.TOO_MUCH)
async def test_a_document_that_wants_too_much_is_shown_all_the_same(
    exhibition: Exhibition, publish: Publish, other: Elsewhere, run_id: str, attack: str
) -> None:
    await publish(run_id, {b"task-summary.md": attacks.TOO_MUCH[attack].encode()})

    rows = await exhibition.house.rows("SELECT state, html IS NULL AS is_missing FROM outputs.documents")
    assert {row.state for row in rows} <= {"rendered", "escaped"}
    assert not any(row.is_missing for row in rows)
    async with exhibition.visit() as visit:
        with counted(other):
            assert await harm_on(visit, exhibition, other, f"/ui/runs/{run_id}") == []
        assert await visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("attack", attacks.FILES)
async def test_a_file_opened_by_itself_can_do_nothing(
    exhibition: Exhibition, other: Elsewhere, run_id: str, attack: str
) -> None:
    await store_files(exhibition.house, run_id, other)
    path = file_url(run_id, "t0", attack.encode())

    async with exhibition.visit() as visit:
        with counted(other):
            is_shown = await opened_by_itself(visit, exhibition.address + path)

            assert not is_shown or await visit.page.evaluate("self.origin") == "null"
            assert harm(visit, exhibition.address, other) == []


async def opened_by_itself(visit: Visit, address: str) -> bool:
    """Open a file; answer whether the browser shows it rather than saves it."""
    try:
        answer = await visit.page.goto(address)
    except PlaywrightError as error:
        if "Download is starting" in str(error):
            return False
        raise
    assert answer is not None
    assert answer.status == 200, await answer.text()
    await visit.page.wait_for_load_state("networkidle")
    return True


async def test_pages_that_show_hostile_files_stay_ours(exhibition: Exhibition, other: Elsewhere, run_id: str) -> None:
    await store_files(exhibition.house, run_id, other)
    task = f"/ui/runs/{run_id}/tasks/t0"

    async with exhibition.visit() as visit:
        with counted(other):
            found = {path: await harm_on(visit, exhibition, other, path) for path in (f"/ui/runs/{run_id}", task)}

        assert {path: harms for path, harms in found.items() if harms} == {}


@pytest.mark.parametrize("attack", attacks.FILES)
async def test_the_page_of_a_hostile_file_stays_ours(
    exhibition: Exhibition, other: Elsewhere, run_id: str, attack: str
) -> None:
    await store_files(exhibition.house, run_id, other)
    path = f"/ui/runs/{run_id}/tasks/t0/files/{quote(attack)}"

    async with exhibition.visit() as visit:
        with counted(other):
            assert await harm_on(visit, exhibition, other, path) == []


async def store_files(house: House, run_id: str, other: Elsewhere) -> None:
    await house.apply(ended("t0", run_id=run_id))
    for name, content in attacks.FILES.items():
        await house.store(run_id, "t0", name.encode(), attacks.aimed(content, other.address))
    log = attacks.aimed(attacks.FILES["terminal.log"], other.address)
    for place in (Place.STDOUT, Place.STDERR):
        await house.store(run_id, "t0", b"", log, place, kind=Kind.OTHER)


@pytest.mark.parametrize("attack", attacks.NAMES)
async def test_a_name_is_a_text_wherever_it_is_shown(
    exhibition: Exhibition, other: Elsewhere, run_id: str, attack: str
) -> None:
    name = attacks.aimed(attacks.NAMES[attack], other.address).decode()
    await give_names(exhibition.house, run_id, name)
    run, asked, file = f"/ui/runs/{run_id}", quote(name[:200], safe=""), quote(name.replace("/", "|"), safe="")
    task = f"{run}/tasks/t0"
    echoing = [f"/ui/?q={asked}&owner={asked}", f"{run}?q={asked}"]
    administration = [f"/ui/admin{path}" for path in ("", "/collections", "/storage", "/audit")]
    paths = ["/ui/", run, task, f"{task}/stderr", f"/ui/runs/{file}", *echoing, *administration]

    async with exhibition.visit(actor="root") as visit:
        with counted(other):
            found = {path: await harm_on(visit, exhibition, other, path) for path in paths}

        assert {path: harms for path, harms in found.items() if harms} == {}
        await visit.page.goto(f"{exhibition.address}/ui/runs/{run_id}")
        assert await visit.page.title() != ""
        assert "49" not in await visit.page.inner_text("h1")


@pytest.mark.parametrize("attack", attacks.NAMES)
async def test_a_name_is_a_text_in_the_pages_of_files(
    exhibition: Exhibition, other: Elsewhere, run_id: str, attack: str
) -> None:
    name = attacks.aimed(attacks.NAMES[attack], other.address).decode()
    stem = name.replace("/", "|").encode()[:180]
    files = {stem + b"." + path.encode(): content.encode() for path, content in attacks.named(name).items()}
    await exhibition.house.apply(ended("t0", run_id, run_name=name, task_name=name))
    for path, content in files.items():
        await exhibition.house.store(run_id, "t0", path, content)
    await exhibition.house.store(run_id, "t0", stem, b"", state=FileState.UNREADABLE, sha256=None, reason=name)
    addresses = [f"/ui/runs/{run_id}/tasks/t0/files/{quote(path, safe='')}" for path in (*files, stem)]

    async with exhibition.visit() as visit:
        with counted(other):
            found = {path: await harm_on(visit, exhibition, other, path) for path in addresses}

        assert {path: harms for path, harms in found.items() if harms} == {}


@pytest.mark.parametrize("attack", attacks.NAMES)
async def test_a_name_is_a_text_where_scripts_of_ours_say_it(
    exhibition: Exhibition, other: Elsewhere, run_id: str, attack: str
) -> None:
    name = attacks.aimed(attacks.NAMES[attack], other.address).decode()
    picture = name.replace("/", "|").encode()[:180]
    await exhibition.house.apply(item("t0", run_id, run_name=name, task_name=name, state=ItemState.RUNNING))
    for number in range(3):
        await exhibition.house.store(run_id, "t0", picture + f"_{number}.png".encode(), flows.png(8, 8 + number))

    async with exhibition.visit() as visit:
        page = visit.page
        with counted(other):
            await page.goto(f"{exhibition.address}/ui/runs/{run_id}")
            await exhibition.house.apply(ended("t0", run_id, run_name=name, task_name=name))
            await expect(page.locator("#told")).to_contain_text("succeeded")
            await page.locator("a[data-image]").first.click()
            await expect(page.locator("dialog[open] img")).to_be_visible()
            await page.keyboard.press("ArrowRight")
            await expect(page.locator("dialog[open] .tally").first).to_contain_text("of 3")
            await page.keyboard.press("Escape")
            await settle(visit)

            assert await harm_of_page(visit, exhibition.address, other) == []


async def give_names(house: House, run_id: str, name: str) -> None:
    """A run in which everything that can have a name, or be said by somebody, is this."""
    said: dict[str, Any] = {"run_name": name, "task_name": name, "owner": name, "node": name, "job_id": name}
    said |= {"reason": name, "scheduler_word": name[:200]}
    await house.apply(ended("t0", run_id, outcome=Outcome.FAILED, exit_code=1, extension_error=name, **said))
    await house.apply(item("t1", run_id, position=1, **said))
    path = name.replace("/", "|").encode()[:200]
    for stored in (path, path[:190] + b".png", path[:190] + b".svg", path[:190] + b".md", b"in/" + path):
        await house.store(run_id, "t0", stored, b"<script>alert(1)</script>")
    await house.store(run_id, "t0", b"left/" + path, b"", state=FileState.UNREADABLE, sha256=None, reason=name)
    await house.store(run_id, "t0", b"", name.encode(), Place.STDERR, kind=Kind.OTHER)
    await house.store(run_id, "t0", b"", name.encode(), Place.RUN_SUMMARY, kind=Kind.MARKDOWN)
    async with house.database.transaction() as connection:
        await connection.execute(update(RUNS).where(RUNS.c.run_id == run_id).values(pinned_by=name))
        waits = update(COLLECTIONS).where(COLLECTIONS.c.run_id == run_id)
        await connection.execute(waits.values(reason=name, failures=3))
        await touch(connection, run_id)
    await house.observe("unreachable", error=name, ago_s=60.0)


@pytest.mark.parametrize("attack", attacks.NAMES)
async def test_a_file_of_any_name_is_saved_whole(
    exhibition: Exhibition, other: Elsewhere, run_id: str, attack: str
) -> None:
    path = attacks.NAMES[attack].replace("/", "|").encode()[:200]
    await exhibition.house.apply(ended("t0", run_id))
    await exhibition.house.store(run_id, "t0", path, b"\x00\x01 as it was")

    async with exhibition.visit(accept_downloads=True) as visit:
        await visit.page.goto(f"{exhibition.address}/ui/runs/{run_id}/tasks/t0")
        await visit.page.evaluate(_UNFOLD)
        async with visit.page.expect_download() as coming:
            await visit.page.locator("main a[download]:not([href$='/archive'])").first.click()
        download = await coming.value

        saved = await download.path()
        assert await asyncio.to_thread(saved.read_bytes) == b"\x00\x01 as it was"
        assert not set(download.suggested_filename) & set('/\\\n\r\t"')
