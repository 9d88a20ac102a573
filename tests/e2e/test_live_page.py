"""The page of a real Slurm run that somebody keeps open: from the queue to the end, in one and the same document."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Locator, Page, expect

from tests.e2e.conftest import FOLLOW_INTERVAL_S
from tests.testbed.accounts import ALICE
from tests.testbed.browser import Browser, Visit
from tests.testbed.services import Pair
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

_VIEWERS = 3
_SOON_MS = 90_000
_SESSION = "Starting session:"
_MARK = "window.sameDocument = true"
_SCRIPT = """\
mkdir -p {gates}; chmod 777 {gates}
echo "1 0.5" > "$SCRIPTHUT_OUTPUT_DIR/residuals.dat"
for step in 1 2; do
  {{ echo "# Step $step"; seq -f "- line %g" 60; }} > "$SCRIPTHUT_TASK_SUMMARY"
  seq -f "- step $step, line %g" $((30 * step)) > "$SCRIPTHUT_RUN_SUMMARY"
  echo "$step" > "$SCRIPTHUT_OUTPUT_DIR/only-$step.dat"
  echo "said $step"
  until [ -e {gates}/$step ]; do sleep 0.1; done
  rm "$SCRIPTHUT_OUTPUT_DIR/only-$step.dat"
done
echo "# Done" > "$SCRIPTHUT_TASK_SUMMARY"
echo "- done" > "$SCRIPTHUT_RUN_SUMMARY"
"""


async def test_a_page_left_open_shows_a_run_from_the_queue_to_the_end(
    following: Pair, slurm: SlurmCluster, followed_node: Sshd, browser: Browser
) -> None:
    gates = slurm.directory_of(ALICE) / f"gates-{secrets.token_hex(4)}"
    async with _closed_partition(slurm), browser.visit() as visit:
        page, address = visit.page, await _submit(following, gates)
        await page.goto(await asyncio.to_thread(following.login_url))
        await page.goto(address)
        await page.evaluate(_MARK)
        row, panel = page.locator("#row-solve"), page.locator("#task-solve")

        await expect(row.locator(".chip")).to_have_text("Queued", timeout=_SOON_MS)
        await expect(row).to_contain_text("PartitionDown", timeout=_SOON_MS)

        await _set_partition(slurm, "UP")
        await expect(row.locator(".chip")).to_have_text("Running", timeout=_SOON_MS)
        await _expect_step(page, 1)
        await _read(page)
        before = await _place(page)

        others = [await _open_beside(visit, address) for _ in range(_VIEWERS - 1)]
        await _step_costs_only_the_followers_looks(following, followed_node, gates, [page, *others])
        assert await _place(page) == before

        (gates / "2").touch()
        await expect(row.locator(".chip")).to_have_text("Succeeded", timeout=_SOON_MS)
        await expect(panel.get_by_role("heading", name="Done")).to_be_visible(timeout=_SOON_MS)
        await expect(panel.locator(".followed")).to_have_count(0, timeout=_SOON_MS)
        await expect(_files(page)).to_have_text(["task-summary.md", "residuals.dat"])
        await expect(page.locator("#summary")).to_contain_text("done")
        await expect(page.locator("#masthead .chip").first).to_have_text("Succeeded")

        assert await page.evaluate("window.sameDocument")
        assert await page.locator("#files-solve").evaluate("(drawer) => drawer.open")
        assert await _focused(page) == "residuals.dat"
        _check_quiet(visit, following)


async def _submit(pair: Pair, gates: Path) -> str:
    """Hand in a task that goes on from step to step when it is let; give the address of the run's page."""
    document = {
        "name": "live",
        "cluster": "testbed",
        "tasks": [{"id": "solve", "command": _SCRIPT.format(gates=gates)}],
    }
    with pair.client() as client:
        run_id = await asyncio.to_thread(client.submit, document)
    return f"{pair.url}/ui/runs/{run_id}"


@asynccontextmanager
async def _closed_partition(slurm: SlurmCluster) -> AsyncIterator[None]:
    """Let jobs wait in the queue until the partition is opened; it is open in the end."""
    await _set_partition(slurm, "DOWN")
    try:
        yield
    finally:
        await _set_partition(slurm, "UP")


async def _set_partition(slurm: SlurmCluster, state: str) -> None:
    await asyncio.to_thread(slurm.run, "scontrol", "update", "PartitionName=debug", f"State={state}")


async def _expect_step(page: Page, step: int) -> None:
    """Wait until everything that the step wrote is shown, and said to be of a running task."""
    panel = page.locator("#task-solve")
    await expect(panel.get_by_role("heading", name=f"Step {step}")).to_be_visible(timeout=_SOON_MS)
    await expect(panel.locator(".followed")).to_contain_text("Running, as of", timeout=_SOON_MS)
    await expect(_files(page)).to_have_text(["task-summary.md", f"only-{step}.dat", "residuals.dat"], timeout=_SOON_MS)
    await expect(page.locator("#summary li")).to_have_count(30 * step, timeout=_SOON_MS)
    await expect(page.locator("#summary li").last).to_have_text(f"step {step}, line {30 * step}", timeout=_SOON_MS)


async def _read(page: Page) -> None:
    """Do as a reader does: unfold the files, put the focus on one, scroll to it."""
    await page.locator("#files-solve > summary").click()
    await page.get_by_role("link", name="residuals.dat", exact=True).focus()
    await page.evaluate("document.querySelector('#files-solve').scrollIntoView({ block: 'center' })")


async def _place(page: Page) -> tuple[Any, ...]:
    """Where the reader is: the same document, the same drawer open, scrolled, the same file in focus."""
    drawer = await page.locator("#files-solve").evaluate("(drawer) => drawer.open")
    scrolled = await page.evaluate("scrollY > 0")
    return await page.evaluate("window.sameDocument"), drawer, scrolled, await _focused(page)


async def _focused(page: Page) -> str:
    focused: str = await page.evaluate("document.activeElement.textContent.trim()")
    return focused


async def _open_beside(visit: Visit, address: str) -> Page:
    """Have the same reader look at the run once more, in a window beside."""
    page = await visit.page.context.new_page()
    await page.goto(address)
    await _expect_step(page, 1)
    return page


async def _step_costs_only_the_followers_looks(pair: Pair, login_node: Sshd, gates: Path, pages: list[Page]) -> None:
    """Let the second step come to every page; the follower asks the cluster once a tick, however many look on."""
    pair.poller.pause()
    try:
        began, before = time.monotonic(), _sessions(login_node)
        (gates / "1").touch()
        for page in pages:
            await _expect_step(page, 2)
        asked, ticks = _sessions(login_node) - before, (time.monotonic() - began) / FOLLOW_INTERVAL_S
    finally:
        pair.poller.resume()
    assert 1 <= asked <= ticks + 1


def _sessions(login_node: Sshd) -> int:
    return login_node.daemon.log.read_text(errors="replace").count(_SESSION)


def _files(page: Page) -> Locator:
    return page.locator("#files-solve .files a:not(.download)")


def _check_quiet(visit: Visit, pair: Pair) -> None:
    assert [line for line in visit.console if line.startswith(("error", "warning"))] == []
    assert (visit.errors, visit.dialogs) == ([], [])
    assert [url for url in visit.requests if not url.startswith(f"{pair.url}/")] == []
