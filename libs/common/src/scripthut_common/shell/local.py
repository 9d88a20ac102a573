"""The shell on this machine, for the cluster without a scheduler; same rules as over SSH."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from scripthut_common.tasks import RESERVED_ENV_PREFIX

from . import Program
from .bounded import Arrivals, BoundedShell, Running


class LocalShell(BoundedShell):
    """Runs programs as this process's own user, each in a session of its own.

    Args:
        name: the cluster's.
        max_sessions: how many programs run at the same time.
        environment: what programs see; by default what we see, without our settings.
    """

    def __init__(
        self, name: str = "localhost", *, max_sessions: int = 8, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"cluster '{name}'", asyncio.Semaphore(max_sessions))
        self._environment = environment

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    async def start(self, line: str, stdin: bytes, program: Program) -> Running:
        """See `BoundedShell.start`."""
        environment = own_environment() if self._environment is None else self._environment
        transport, protocol = await asyncio.get_running_loop().subprocess_exec(
            lambda: _LocalRun(program.max_stderr_bytes), "/bin/sh", "-c", line, start_new_session=True, env=environment
        )
        pipe = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
        if stdin:
            pipe.write(stdin)
        pipe.close()  # closes once everything is written
        return protocol


def own_environment() -> dict[str, str]:
    """Give our environment without our settings, which hold secrets; with our own python3 if there is no other."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(RESERVED_ENV_PREFIX)}
    return {**ours, "PATH": f"{ours.get('PATH', os.defpath)}:{Path(sys.executable).parent}"}


class _LocalRun(asyncio.SubprocessProtocol):
    """One process: gathers what it writes, knows how it ended."""

    def __init__(self, max_stderr_bytes: int) -> None:
        self.stdout = Arrivals()
        self.stderr = bytearray()
        self.fault: str | None = None
        self._max_stderr_bytes = max_stderr_bytes
        self._closed = asyncio.Event()
        self._transport: asyncio.SubprocessTransport | None = None

    @property
    def exit_status(self) -> int | None:
        """As the shell counts: 128 + N for signal N."""
        code = self._transport.get_returncode() if self._transport else None
        return 128 - code if code is not None and code < 0 else code

    async def end(self) -> None:
        """Kill the whole process group unless everything ended by itself."""
        if self._closed.is_set() or self._transport is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._transport.get_pid(), signal.SIGKILL)
        # Not transport.close(): it reaps the child before asyncio's own watcher does.
        for fd in range(3):
            pipe = self._transport.get_pipe_transport(fd)
            if pipe is not None:
                pipe.close()
        await self._closed.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        pipe = cast("asyncio.ReadTransport", self._transport.get_pipe_transport(1))
        self.stdout.pause, self.stdout.resume = pipe.pause_reading, pipe.resume_reading

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self.stdout.put(data)
        else:
            self.stderr += data[: self._max_stderr_bytes - len(self.stderr)]

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once the process has ended and its pipes are closed."""
        self.fault = str(exc) if exc else None
        self._closed.set()
        self.stdout.end()
