"""A way to a cluster that breaks on purpose: before a program runs, or after, when its answer is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from scripthut_common.errors import NoConnection, Unreachable
from scripthut_common.shell import Answer, Program, RemoteShell


class FaultyShell:
    """Runs programs through another shell; those named in `away` do not run, those in `cut` run unheard.

    What stands in `after` is called when a program has run, before its answer is given.
    """

    def __init__(self, inner: RemoteShell) -> None:
        self.away: set[str] = set()
        self.cut: set[str] = set()
        self.after: dict[str, Callable[[], None]] = {}
        self.ran: list[str] = []
        self._inner = inner

    async def run(self, program: Program, *argv: str, stdin: bytes = b"") -> Answer:
        if program.name in self.away or "*" in self.away:
            raise NoConnection("cluster 'here': no route to host")
        self.ran.append(program.name)
        answer = await self._inner.run(program, *argv, stdin=stdin)
        if program.name in self.after:
            await asyncio.to_thread(self.after[program.name])
        if program.name in self.cut:
            raise Unreachable("cluster 'here': the answer is cut")
        return answer

    def stream(
        self, program: Program, *argv: str, stdin: bytes = b""
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._inner.stream(program, *argv, stdin=stdin)

    async def close(self) -> None:
        await self._inner.close()

    @property
    def commands_run(self) -> int:
        return self._inner.commands_run
