"""Open each page as a reader would and keep what they see, at one fixed moment and in one time zone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from tests.integration.outputs import shelf
from tests.integration.outputs.exhibition import Exhibition
from tests.integration.outputs.exhibits import NOW
from tests.pictures.shrinking import shrink

_PHONE_WIDTH, _DESK_WIDTH, _WALL_WIDTH = 390, 1280, 3840


class Shot(msgspec.Struct, frozen=True, kw_only=True):
    """One picture. `height` cuts it, `None` shows the whole page; `is_paper`: as a printer would get it.

    `pressed` is pressed first, as it opens a dialog.
    """

    name: str
    path: str
    width: int = _DESK_WIDTH
    height: int | None = None
    scheme: Literal["light", "dark"] = "light"
    is_signed_in: bool = True
    scale: float = 1.0
    is_paper: bool = False
    pressed: str | None = None


def _file(name: str, path: str, **shown: Any) -> Shot:
    return Shot(name=f"file-{name}", path=f"/ui/runs/{shelf.RUN}/tasks/{shelf.TASK}/files/{path}", **shown)


SHOTS = (
    Shot(name="run", path="/ui/runs/wake", height=1500),
    Shot(name="run-dark", path="/ui/runs/wake", height=1100, scheme="dark"),
    Shot(name="run-phone", path="/ui/runs/wake", width=_PHONE_WIDTH, height=1500),
    Shot(name="run-wall", path="/ui/runs/wake", width=_WALL_WIDTH, height=2160, scale=0.5),
    Shot(name="run-paper", path="/ui/runs/wake", width=794, height=1123, is_paper=True),
    Shot(name="run-failed", path="/ui/runs/unstable", height=1700),
    Shot(name="run-stale", path="/ui/runs/stale"),
    Shot(name="run-empty", path="/ui/runs/empty"),
    Shot(name="run-of-ten-thousand", path="/ui/runs/many", height=1200),
    Shot(name="run-of-every-state", path="/ui/runs/states", height=1400),
    Shot(name="runs", path="/ui/"),
    Shot(name="runs-phone", path="/ui/", width=_PHONE_WIDTH, height=1200),
    Shot(name="runs-dark", path="/ui/", scheme="dark"),
    Shot(name="task", path="/ui/runs/wake/tasks/re-400"),
    Shot(name="task-phone", path="/ui/runs/wake/tasks/re-400", width=_PHONE_WIDTH, height=1500),
    Shot(name="log", path="/ui/runs/unstable/tasks/re-3200/stderr"),
    Shot(name="run-phone-dark", path="/ui/runs/wake", width=_PHONE_WIDTH, height=844, scheme="dark", scale=1.5),
    Shot(name="run-rolled-up", path="/ui/runs/many?under=sweep.", height=900),
    Shot(name="runs-chosen", path="/ui/?q=wake", height=640),
    Shot(name="task-of-every-format", path=f"/ui/runs/{shelf.RUN}/tasks/{shelf.TASK}", height=1800),
    Shot(name="lightbox", path="/ui/runs/wake/tasks/re-400", height=720, pressed=".gallery a[data-image]"),
    Shot(name="keys", path="/ui/runs/wake", height=720, pressed="#show-keys"),
    _file("markdown", "task-summary.md", height=2400),
    _file("table", "profiles.csv", height=900),
    _file("json", "case.json", height=720),
    _file("notebook", "spectra.ipynb"),
    _file("code-dark", "fit.py", height=800, scheme="dark"),
    _file("terminal", "spectra.log", height=560),
    _file("picture", "wake.png", height=760),
    _file("binary", "field.h5", height=640),
    _file("phone", "profiles.csv", width=_PHONE_WIDTH, height=844),
    Shot(name="sign-in", path="/login", height=560, is_signed_in=False),
    Shot(name="tokens", path="/ui/tokens"),
    Shot(name="not-found", path="/ui/runs/nowhere", height=480),
)


async def take(exhibition: Exhibition, folder: Path) -> AsyncIterator[Path]:
    """Take all pictures, telling the path of each."""
    for shot in SHOTS:
        path = folder / f"{shot.name}.png"
        await _take(exhibition, shot, path)
        yield path


async def _take(exhibition: Exhibition, shot: Shot, path: Path) -> None:
    profile: dict[str, Any] = {"locale": "en-GB", "timezone_id": "UTC", "reduced_motion": "reduce"}
    profile |= {"device_scale_factor": shot.scale, "width": shot.width, "height": shot.height or 800}
    async with exhibition.visit(is_signed_in=shot.is_signed_in, color_scheme=shot.scheme, **profile) as visit:
        await visit.page.clock.set_fixed_time(NOW)
        await visit.page.emulate_media(media="print" if shot.is_paper else "screen")
        await visit.page.goto(exhibition.address + shot.path)
        await visit.page.wait_for_load_state("load")
        # Its scripts show it when they have begun.
        await visit.page.wait_for_function("document.querySelector('#show-keys')?.hidden !== true")
        if shot.pressed:
            await visit.page.locator(shot.pressed).first.click()
            await visit.page.locator("dialog[open]").wait_for()
        await visit.page.evaluate("Promise.all([...document.images].map((image) => image.decode().catch(() => null)))")
        taken = await visit.page.screenshot(full_page=shot.height is None, animations="disabled")
    await asyncio.to_thread(path.write_bytes, shrink(taken))
