"""A shell that lets something happen just before one of its commands, and a clock that stands still."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from scripthut_common.shell import Answer, Program, RemoteShell


class Interrupted:
    """Another shell; `before[n]` is called before its nth command, counted from 1."""

    def __init__(self, shell: RemoteShell) -> None:
        self._shell = shell
        self.before: dict[int, Callable[[], object]] = {}

    @property
    def commands_run(self) -> int:
        return self._shell.commands_run

    async def run(self, program: Program, *argv: str, stdin: bytes = b"") -> Answer:
        self._interrupt()
        return await self._shell.run(program, *argv, stdin=stdin)

    def stream(
        self, program: Program, *argv: str, stdin: bytes = b""
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        self._interrupt()
        return self._shell.stream(program, *argv, stdin=stdin)

    async def close(self) -> None:
        await self._shell.close()

    def _interrupt(self) -> None:
        happen = self.before.get(self.commands_run + 1)
        if happen is not None:
            happen()


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s
