"""A port on loopback that carries connections to another and cuts them all, again and again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.testbed import ports

_HOST = "127.0.0.1"
_TABLE = Path("/proc/net/tcp")
_ESTABLISHED = "01"
_PIECE_BYTES = 65536


class CutPort:
    """A proxy in this process.

    Attributes:
        port: where it listens.
        cuts: how often it has cut what was open.
        most_open: how many connections the target has had at once at most.
    """

    def __init__(self, target_port: int) -> None:
        self.port = ports.reserve_port()
        self.cuts = 0
        self.most_open = 0
        self._target_port = target_port
        self._open: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def cutting(self, every_s: float) -> AsyncIterator[None]:
        """Carry connections, and cut them until the block ends."""
        server = await asyncio.start_server(self._carry, _HOST, self.port)
        tasks = [asyncio.ensure_future(self._cut(every_s)), asyncio.ensure_future(self._count())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            server.close()
            self._abort()

    async def _carry(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            far_reader, far = await asyncio.open_connection(_HOST, self._target_port)
        except OSError:
            near.transport.abort()
            return
        self._open |= {near, far}
        await asyncio.gather(_copy(near_reader, far), _copy(far_reader, near))
        self._open -= {near, far}

    async def _cut(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self.cuts += bool(self._open)
            self._abort()

    async def _count(self) -> None:
        while True:
            self.most_open = max(self.most_open, connections_to(self._target_port))
            await asyncio.sleep(0.02)

    def _abort(self) -> None:
        for writer in self._open:
            writer.transport.abort()


def connections_to(port: int) -> int:
    """Count the established connections that a server on this port has, as the kernel knows them."""
    rows = [line.split() for line in _TABLE.read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == _ESTABLISHED for row in rows)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    writer.close()
