"""The program `scripthut-outputs` as a person or a script starts it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from scripthut_common.serving import serve
from scripthut_outputs import app
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
        process = await self.start(*arguments, actor=actor, **variables)
        async with asyncio.timeout(90):
            out, err = await process.communicate(stdin)
        assert process.returncode is not None
        ended = Ended(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in ended.err, ended.err
        assert not any(token in ended.out + ended.err for token in TOKENS.values())
        return ended

    async def start(
        self, *arguments: str, actor: str | None = "ada", out: int = asyncio.subprocess.PIPE, **variables: str
    ) -> asyncio.subprocess.Process:
        """Start one command."""
        return await asyncio.create_subprocess_exec(
            *PROGRAM,
            *arguments,
            cwd=self.folder,
            env=self.environment(actor) | variables,
            stdin=asyncio.subprocess.PIPE,
            stdout=out,
            stderr=asyncio.subprocess.PIPE,
        )

    def environment(self, actor: str | None = "ada") -> dict[str, str]:
        """What the program sees of the world."""
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "VIRTUAL_ENV")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        environment |= {"SCRIPTHUT_URL": self.url, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return environment | ({"SCRIPTHUT_TOKEN": TOKENS[actor]} if actor else {})


@asynccontextmanager
async def served(house: House) -> AsyncIterator[str]:
    """The application on a real port, by the real server; yields its address."""
    port = reserve_port()
    rules = Rules(allowed_hosts=frozenset({"localhost", HOST}), cors_origins=frozenset())
    serving = asyncio.ensure_future(serve(app.build(house.parts, rules), HOST, port))
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
