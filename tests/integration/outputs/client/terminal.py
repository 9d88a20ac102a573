"""The program `scripthut-outputs` as a person or a script starts it."""

import asyncio
import json
import os
import pty
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from scripthut_common.serving import serve
from scripthut_outputs import app
from scripthut_outputs.catalog.changes import Listener
from scripthut_outputs.controllers.door import Rules
from tests.integration.outputs.house import TOKENS, House
from tests.testbed.ports import reserve_port

HOST = "127.0.0.1"
PROGRAM = [sys.executable, "-m", "scripthut_outputs"]


class Ended(msgspec.Struct, frozen=True):
    """How a program ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which is one JSON document and nothing else."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Terminal:
    """Starts the program in a folder of its own, as somebody, against one address."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        folder.mkdir(exist_ok=True)

    async def run(self, *arguments: str, actor: str | None = "ada", stdin: bytes = b"", **variables: str) -> Ended:
        """Run one command to its end."""
        process = await self.start(*arguments, actor=actor, variables=variables)
        async with asyncio.timeout(90):
            out, err = await process.communicate(stdin)
        assert process.returncode is not None
        ended = Ended(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in ended.err, ended.err
        assert not any(token in ended.out + ended.err for token in TOKENS.values())
        return ended

    async def start(
        self,
        *arguments: str,
        actor: str | None = "ada",
        variables: Mapping[str, str] | None = None,
        out: int = asyncio.subprocess.PIPE,
    ) -> asyncio.subprocess.Process:
        """Start one command."""
        return await asyncio.create_subprocess_exec(
            *PROGRAM,
            *arguments,
            cwd=self.folder,
            env=self.environment(actor) | dict(variables or {}),
            stdin=asyncio.subprocess.PIPE,
            stdout=out,
            stderr=asyncio.subprocess.PIPE,
        )

    @asynccontextmanager
    async def screen(self, *arguments: str, columns: int, **variables: str) -> AsyncIterator["Shown"]:
        """Start one command on a real terminal of this width."""
        near, far = pty.openpty()
        sized = {"COLUMNS": str(columns), "TERM": "xterm-256color"} | variables
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, *arguments, env=self.environment() | sized, stdin=far, stdout=far, stderr=far
        )
        os.close(far)
        shown = Shown(near, process)
        try:
            yield shown
        finally:
            if process.returncode is None:
                process.kill()
            await shown.code()

    def environment(self, actor: str | None = "ada") -> dict[str, str]:
        """What the program sees of the world."""
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "VIRTUAL_ENV")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        environment |= {"SCRIPTHUT_URL": self.url, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return environment | ({"SCRIPTHUT_TOKEN": TOKENS[actor]} if actor else {})


class Shown:
    """A terminal with a program in it; `said` is all that it was told to show."""

    def __init__(self, near: int, process: asyncio.subprocess.Process) -> None:
        self.said = ""
        self._near, self._process = near, process
        self._reading = asyncio.ensure_future(asyncio.to_thread(self._read))

    def type(self, keys: str) -> None:
        os.write(self._near, keys.encode())

    async def code(self) -> int:
        """Wait for the program's end."""
        async with asyncio.timeout(90):
            await self._reading
            return await self._process.wait()

    def _read(self) -> None:
        with suppress(OSError):
            while piece := os.read(self._near, 65536):
                self.said += piece.decode("utf-8", "replace")
        with suppress(OSError):
            os.close(self._near)


@asynccontextmanager
async def served(house: House) -> AsyncIterator[str]:
    """The application on a real port, by the real server; yields its address."""
    port = reserve_port()
    rules = Rules(allowed_hosts=frozenset({"localhost", HOST}), cors_origins=frozenset())
    listener = Listener(house.database, house.cache, house.hub)
    steps = (serve(app.build(house.parts, rules), HOST, port), listener.step(), house.hub.step())
    serving = asyncio.gather(*steps)
    try:
        async with asyncio.timeout(30):
            while not await _answers(port):  # noqa: ASYNC110  what is waited for sets no event
                await asyncio.sleep(0.02)
        yield f"http://{HOST}:{port}"
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
