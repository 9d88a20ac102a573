"""Headless Chromium for tests that look at pages: what a page said, asked for and tried is kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from playwright import async_api

PROGRAMS = (Path("/usr/bin/chromium"),)
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Visit:
    """One page in a profile of its own.

    Attributes:
        page: playwright's page.
        console: what scripts and the browser wrote there, as `error: …`.
        errors: exceptions that no script caught.
        dialogs: texts of alerts and questions, each dismissed.
        requests: every URL asked for.
        refused: those that the browser asked nobody for, since a policy of the page forbids it.
    """

    def __init__(self, page: async_api.Page) -> None:
        self.page = page
        self.console: list[str] = []
        self.errors: list[str] = []
        self.dialogs: list[str] = []
        self.requests: list[str] = []
        self.refused: list[str] = []
        page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", self._note_refusal)
        page.on("dialog", self._dismiss)

    async def screenshot(self, path: Path) -> None:
        """Save the whole page, below the fold too, as a PNG."""
        await self.page.screenshot(path=path, full_page=True)

    def _note_refusal(self, request: async_api.Request) -> None:
        if request.failure == "csp":
            self.refused.append(request.url)

    async def _dismiss(self, dialog: async_api.Dialog) -> None:
        self.dialogs.append(dialog.message)
        await dialog.dismiss()


class Browser:
    """A running Chromium."""

    def __init__(self, chromium: async_api.Browser) -> None:
        self._chromium = chromium

    @asynccontextmanager
    async def visit(
        self,
        *,
        javascript: bool = True,
        color_scheme: Literal["light", "dark"] = "light",
        width: int = 1200,
        height: int = 900,
        **profile: Any,
    ) -> AsyncIterator[Visit]:
        """Open an empty page in a new profile: no cookies, no cache; `profile` goes to playwright's `new_context`."""
        context = await self._chromium.new_context(
            java_script_enabled=javascript,
            color_scheme=color_scheme,
            viewport={"width": width, "height": height},
            **profile,
        )
        try:
            yield Visit(await context.new_page())
        finally:
            await context.close()


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Start Chromium, and end it with the block."""
    async with async_api.async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=PROGRAMS[0], args=list(_FLAGS))
        try:
            yield Browser(chromium)
        finally:
            await chromium.close()
