"""The whole application served with something in it, and a browser in which somebody has signed in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import msgspec

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_common.serving import serve
from scripthut_outputs import app
from scripthut_outputs.catalog.changes import Listener
from scripthut_outputs.controllers.standing import Bounds
from scripthut_outputs.migrations import MIGRATIONS
from tests.integration.outputs.house import House
from tests.testbed.browser import Browser, Visit, open_browser
from tests.testbed.ports import reserve_port

_PATIENT = Bounds(silent_after_s=1e6, unseen_after_s=1e6)


class Exhibition:
    """A house that is open.

    Attributes:
        house: what is served.
        address: where.
        browser: to look at it.
    """

    def __init__(self, house: House, address: str, browser: Browser) -> None:
        self.house = house
        self.address = address
        self.browser = browser

    @asynccontextmanager
    async def visit(self, *, is_signed_in: bool = True, actor: str = "ada", **profile: Any) -> AsyncIterator[Visit]:
        """Come with a new browser profile, as somebody or as a stranger."""
        async with self.browser.visit(**profile) as visit:
            if is_signed_in:
                await self._sign_in(visit, actor)
            yield visit

    async def _sign_in(self, visit: Visit, actor: str) -> None:
        cookie = SimpleCookie(self.house.session(actor))
        named = [{"name": name, "value": morsel.value, "url": self.address} for name, morsel in cookie.items()]
        await visit.page.context.add_cookies(named)  # type: ignore[arg-type]  # a list of its own dictionary type


@asynccontextmanager
async def opened(database_uri: str, folder: Path) -> AsyncIterator[Exhibition]:
    """Serve an empty house on a database without tables, until the block ends."""
    database = Database(database_uri)
    try:
        await migrating.upgrade(database, MIGRATIONS)
        house = House(database, folder)
        # Nobody polls here, and nobody is to be told so.
        parts = msgspec.structs.replace(house.parts, bounds=_PATIENT)
        async with asyncio.TaskGroup() as group, open_browser() as browser:
            port = reserve_port()
            tasks = [
                group.create_task(serve(app.build(parts, house.rules), "127.0.0.1", port)),
                group.create_task(Listener(database, house.cache, house.hub).step()),
                group.create_task(house.hub.step()),
            ]
            yield Exhibition(house, f"http://localhost:{port}", browser)
            for task in tasks:
                task.cancel()
    finally:
        await database.close()
