"""Carry TCP connections to another port as if it were far away: every byte, and the opening, comes late.

Run as `python -I delaying.py PORT TARGET_PORT DELAY_MS`. Bytes are late but not fewer: nothing limits the throughput
but a reader that does not read.
"""

import asyncio
import sys
from collections import deque

_HOST = "127.0.0.1"


class Direction(asyncio.Protocol):
    """One end of a connection: what arrives here leaves at the other end after the delay."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.transport: asyncio.Transport | None = None
        self.other: Direction | None = None
        self._late: deque[tuple[float, bytes | None]] = deque()
        self._is_waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection's own end."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=8 * 1024 * 1024)

    def data_received(self, data: bytes) -> None:
        """Keep the bytes until they are due."""
        self._keep(data)

    def eof_received(self) -> bool:
        """Keep the end of the stream until it is due; the way back stays open."""
        self._keep(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """Close the other end, once it has all that arrived here."""
        self._keep(None)

    def pause_writing(self) -> None:
        """Stop reading at the other end: this one does not take more."""
        if self.other and self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read on at the other end."""
        if self.other and self.other.transport and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    @property
    def has_only_ended(self) -> bool:
        """Whether the caller went without a word, as one does who only asks whether the port is open."""
        return bool(self._late) and all(data is None for _, data in self._late)

    def send_due(self) -> None:
        """Pass on what has waited long enough, and come again for the rest."""
        self._is_waiting = False
        if self.other is None or self.other.transport is None:
            return
        loop = asyncio.get_running_loop()
        target = self.other.transport
        while self._late and self._late[0][0] <= loop.time():
            _, data = self._late.popleft()
            if target.is_closing():
                continue
            if data is not None:
                target.write(data)
            elif self.transport is None or self.transport.is_closing():
                target.close()
            else:
                target.write_eof()
        if self._late:
            self._is_waiting = True
            loop.call_at(self._late[0][0], self.send_due)

    def _keep(self, data: bytes | None) -> None:
        self._late.append((asyncio.get_running_loop().time() + self.delay_s, data))
        if not self._is_waiting:
            self.send_due()


class Accepted(Direction):
    """The caller's end; the called one is connected after the one and a half round trips of a far handshake."""

    def __init__(self, target_port: int, delay_s: float, openings: set[asyncio.Task[None]]) -> None:
        super().__init__(delay_s)
        self._target_port = target_port
        self._openings = openings

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to open the way on."""
        super().connection_made(transport)
        opening = asyncio.ensure_future(self._open())
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)

    async def _open(self) -> None:
        await asyncio.sleep(3 * self.delay_s)
        if self.has_only_ended:
            self._abort()
            return
        loop = asyncio.get_running_loop()
        try:
            _, far = await loop.create_connection(lambda: Direction(self.delay_s), _HOST, self._target_port)
        except OSError:
            self._abort()
            return
        self.other, far.other = far, self
        self.send_due()

    def _abort(self) -> None:
        assert self.transport is not None
        self.transport.abort()


async def carry(port: int, target_port: int, delay_s: float) -> None:
    """Accept connections for ever."""
    openings: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Accepted(target_port, delay_s, openings), _HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(carry(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
