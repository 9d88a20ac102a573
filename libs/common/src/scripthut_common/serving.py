"""Serve one ASGI application on granian, as a loop among the other loops of a process."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from .errors import SettingsError

App = Callable[[Any, Any, Any], Awaitable[None]]

_CLOSE_TIMEOUT_S = 5.0
# Every open page holds one; granian alone would leave those beyond 128 waiting without a word.
_MAX_CONNECTIONS = 4096
# Granian's own messages go the way of all others; `telemetry` decides what is shown.
_LOGGING = {"loggers": {"_granian": {"propagate": True}}, "handlers": {}}


async def serve(app: App, host: str, port: int, *, grace_s: float = 3.0) -> None:
    """Answer requests until cancelled; requests under way then have `grace_s` to end before they are cut.

    Raises:
        SettingsError: another program listens there, or the address is not ours.
    """
    _require_free(host, port)
    requests = _Requests(app)
    server = Server(
        requests.answer,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        websockets=False,
        backpressure=_MAX_CONNECTIONS,
        log_level=LogLevels.error,
        log_dictconfig=_LOGGING,
    )
    try:
        await server.serve()
    finally:
        for worker in server.wrks:
            worker.terminate()  # type: ignore[no-untyped-call]  # granian's own
        await requests.end(grace_s)
        # Its `join` would cancel what it waits for.
        ending = [worker._task for worker in server.wrks if worker._task is not None]  # noqa: SLF001
        if ending:
            await asyncio.wait(ending, timeout=_CLOSE_TIMEOUT_S)


class _Requests:
    """The requests under way; granian alone would wait for ever for a stream that nobody ends."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_cutting = False

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("granian calls applications from tasks")
        self._tasks.add(task)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # Cut by `end`, which nobody needs to read about; this is the task's outermost frame of ours.
            if not self._is_cutting:
                raise
        finally:
            self._tasks.discard(task)

    async def end(self, grace_s: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks.copy(), timeout=grace_s)
        self._is_cutting = True
        for task in self._tasks.copy():
            task.cancel()


def _require_free(host: str, port: int) -> None:
    """Refuse a taken port: granian binds with SO_REUSEPORT and would share it in silence."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
