"""What every shell does alike: bound a started command in time and bytes, and know that its answer is whole."""

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from scripthut_common.errors import BadOutput, LimitExceeded, TimedOut, Unreachable

from . import MIB, Answer, Program, wire

_HIGH_WATER_BYTES = 4 * MIB
_LOW_WATER_BYTES = 2 * MIB
# What is read at once is copied several times on its way.
_READ_BYTES = MIB
_SAID_BYTES = 400


class Arrivals:
    """Standard output that has arrived and is not yet read; pauses the sender when the reader is slow."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size_bytes = 0
        self._changed = asyncio.Event()
        self._has_ended = False
        self._is_paused = False
        self.pause: Callable[[], None] = _do_nothing
        self.resume: Callable[[], None] = _do_nothing

    def put(self, piece: bytes) -> None:
        """Add what has just arrived."""
        self._pieces.append(piece)
        self._size_bytes += len(piece)
        self._changed.set()
        if self._size_bytes > _HIGH_WATER_BYTES and not self._is_paused:
            self._is_paused = True
            self.pause()

    def end(self) -> None:
        """Say that nothing more will come."""
        self._has_ended = True
        self._changed.set()

    async def read(self) -> bytes:
        """Wait for something and return what is there, about 1 MiB at most; empty at the end."""
        if not self._pieces and not self._has_ended:
            self._changed.clear()
            await self._changed.wait()
        taken: list[bytes] = []
        size_bytes = 0
        while self._pieces and size_bytes < _READ_BYTES:
            taken.append(self._pieces.popleft())
            size_bytes += len(taken[-1])
        self._size_bytes -= size_bytes
        if self._is_paused and self._size_bytes <= _LOW_WATER_BYTES:
            self._let_come()
        return b"".join(taken)

    def _let_come(self) -> None:
        """Take all that was held back before pausing again.

        asyncssh opens its whole window as soon as one piece of what it holds is taken: pausing in between, it would
        hold a window more each time, and in the end all that is sent.
        """
        self.resume()
        self._is_paused = self._size_bytes > _HIGH_WATER_BYTES
        if self._is_paused:
            self.pause()


class Running(Protocol):
    """A started command line."""

    stdout: Arrivals
    stderr: bytearray
    fault: str | None

    @property
    def exit_status(self) -> int | None:
        """The command line's own exit status once it ended; `None` when nobody knows."""

    async def end(self) -> None:
        """Let go of it; kill what still runs."""


class Exchange:
    """One program's run, from its first byte to its exit status."""

    def __init__(self, where: str, program: Program, running: Running, marker: str, not_run: "NotRun") -> None:
        self._where = f"{where}: {program.name}"
        self._not_run = not_run
        self._program = program
        self._running = running
        self._marker = marker
        self._decoder = wire.Decoder(marker)
        self._deadline = asyncio.get_running_loop().time() + program.timeout_s
        self.exit_status = -1

    @property
    def stderr(self) -> bytes:
        """What the program itself wrote to standard error so far."""
        return wire.without_noise(bytes(self._running.stderr), self._marker)

    @property
    def noise_bytes(self) -> int:
        """How much the login shell wrote to either output before the program began."""
        return self._decoder.noise_bytes + wire.noise_bytes(bytes(self._running.stderr), self._marker)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield output while it arrives; at the end `exit_status` is the program's."""
        size_bytes = 0
        while arrived := await self._next():
            piece = self._decoder.feed(arrived)
            size_bytes += len(piece)
            if size_bytes > self._program.max_stdout_bytes:
                raise LimitExceeded(f"{self._where} printed more than {self._program.max_stdout_bytes} bytes")
            if piece:
                yield piece
        self.exit_status = self._conclude()

    async def _next(self) -> bytes:
        left_s = self._deadline - asyncio.get_running_loop().time()
        idle_s = self._program.idle_timeout_s
        try:
            async with asyncio.timeout(min(idle_s, left_s)):
                return await self._running.stdout.read()
        except TimeoutError as error:
            fault = f"was silent for {idle_s:g} s" if idle_s < left_s else f"took over {self._program.timeout_s:g} s"
            raise TimedOut(f"{self._where} {fault}") from error

    def _conclude(self) -> int:
        status = self._decoder.finish()
        if status is not None and self._running.exit_status is not None:
            return status
        if self._running.fault or self._decoder.has_started:
            raise Unreachable(f"{self._where}: the answer is cut: {self._running.fault or 'it has no end marker'}")
        said = bytes(self._running.stderr) or self._decoder.held
        raise self._not_run(self._where, self._running.exit_status, head(said))


# From what a fault's text begins with, the command line's exit status, and what was said.
NotRun = Callable[[str, int | None, str], Unreachable]


class BoundedShell(ABC):
    """Runs programs through `start`, a few at a time.

    Args:
        where: what messages begin with, as `cluster 'daint'`.
        slots: one for each program that runs at the same time; more wait their turn.
    """

    def __init__(self, where: str, slots: asyncio.Semaphore) -> None:
        self._where = where
        self.slots = slots
        self._commands_run = 0

    @abstractmethod
    async def start(self, line: str, stdin: bytes, program: Program) -> Running:
        """Start a command line and see that `stdin` reaches it while its output is read."""

    @property
    def commands_run(self) -> int:
        """How many programs were started so far."""
        return self._commands_run

    async def run(self, program: Program, *argv: str, stdin: bytes = b"") -> Answer:
        """See `RemoteShell.run`."""
        async with self._exchange(program, argv, stdin) as exchange:
            stdout = b"".join([piece async for piece in exchange.pieces()])
            return Answer(
                stdout=stdout,
                stderr=exchange.stderr,
                exit_status=exchange.exit_status,
                noise_bytes=exchange.noise_bytes,
            )

    def stream(
        self, program: Program, *argv: str, stdin: bytes = b""
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `RemoteShell.stream`."""
        return self._stream(program, argv, stdin)

    @asynccontextmanager
    async def _stream(
        self, program: Program, argv: tuple[str, ...], stdin: bytes
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._exchange(program, argv, stdin) as exchange:
            yield self._successful(program, exchange)

    async def _successful(self, program: Program, exchange: Exchange) -> AsyncIterator[bytes]:
        async for piece in exchange.pieces():
            yield piece
        if exchange.exit_status:
            said = head(exchange.stderr)
            raise BadOutput(f"{self._where}: {program.name} ended with exit status {exchange.exit_status}: {said}")

    @asynccontextmanager
    async def _exchange(self, program: Program, argv: tuple[str, ...], stdin: bytes) -> AsyncIterator[Exchange]:
        marker = secrets.token_hex(16)
        line, sent = self._written(program, argv, marker, stdin)
        async with self.slots:
            running = await self.start(line, sent, program)
            self._commands_run += 1
            try:
                yield Exchange(self._where, program, running, marker, self._explain_not_run)
            finally:
                await running.end()

    def _written(self, program: Program, argv: tuple[str, ...], marker: str, stdin: bytes) -> tuple[str, bytes]:
        """Give the command line that runs a program, and what it is sent."""
        return wire.command_line(program.text, argv, marker), stdin

    def _explain_not_run(self, where: str, exit_status: int | None, said: str) -> Unreachable:
        """Say why a command line ended before the program began."""
        return Unreachable(f"{where}: the login shell did not run it (exit status {exit_status}): {said}")


def head(said: bytes) -> str:
    """Show the beginning of what somebody else's program said, in one line."""
    text = said[:_SAID_BYTES].decode("utf-8", "replace").strip()
    return "".join(character if character.isprintable() else " " for character in text) or "it said nothing"


def _do_nothing() -> None:
    """Stand in until there is somebody to pause."""
