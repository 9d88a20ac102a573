"""The whole application on a port, with a gate before its streams; and who signs in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from playwright.async_api import expect

from scripthut_common.serving import serve
from scripthut_outputs import app
from scripthut_outputs.catalog.changes import Listener
from tests.eventually import eventually
from tests.integration.outputs.gate import Gate
from tests.integration.outputs.house import TOKENS, House
from tests.testbed.browser import Browser, Visit
from tests.testbed.ports import reserve_port


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """Where the application is, and what stands before its streams."""

    address: str
    gate: Gate

    async def is_opened(self, count: int) -> None:
        """Wait until so many streams were opened."""
        await eventually(lambda: len(self.gate.opened) >= count)

    async def is_closed(self, count: int) -> None:
        """Wait until so many were closed."""
        await eventually(lambda: self.gate.closed >= count)


@asynccontextmanager
async def serving(house: House, port: int | None = None) -> AsyncIterator[Served]:
    """Serve it to the end of the block."""
    port = port or reserve_port()
    gate = Gate(app.build(house.parts, house.rules))
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(serve(gate, "127.0.0.1", port)),
            group.create_task(Listener(house.database, house.cache, house.hub).step()),
            group.create_task(house.hub.step()),
        ]
        yield Served(address=f"http://localhost:{port}", gate=gate)
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def signed_in(
    browser: Browser, address: str, *, javascript: bool = True, width: int = 1280, height: int = 900, **profile: Any
) -> AsyncIterator[Visit]:
    """A browser in which ada has signed in with her token; `profile` as `Browser.visit` takes it."""
    async with browser.visit(javascript=javascript, width=width, height=height, **profile) as visit:
        await visit.page.goto(f"{address}/ui/")
        await visit.page.get_by_label("Your token").fill(TOKENS["ada"])
        await visit.page.get_by_role("button", name="Sign in").click()
        await expect(visit.page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
        yield visit
