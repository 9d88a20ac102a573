"""The blob store in one folder: where blobs lie, reading them, and a way in."""

import asyncio
import sys
from collections.abc import AsyncIterator, Generator
from io import FileIO
from pathlib import Path
from threading import Lock
from uuid import uuid4

from scripthut_common.errors import NotFound, StoreUnavailable

from .arriving import Batch
from .durable import take_temporary_folder, translating

PIECE_BYTES = 256 * 1024


def open_store(folder: str) -> "DiskBlobs":
    """Open the blob store in a folder; nothing is touched yet."""
    return DiskBlobs(Path(folder).expanduser().absolute())


class DiskBlobs:
    """The blob store in one folder; many processes may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._named = folder / "sha256"
        self._room = folder / "tmp"
        self._temporary: Path | None = None

    def local_path(self, sha256: str) -> str | None:
        """Where the blob lies on this machine's disk, if it exists; no input or output."""
        return f"{self._named}/{sha256[:2]}/{sha256[2:]}"

    async def read(self, sha256: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Read a blob or a range of it.

        Raises:
            NotFound: there is no such blob.
            StoreUnavailable: the disk does not answer.
        """
        return await asyncio.to_thread(lambda: b"".join(self._pieces(sha256, start, length)))

    async def stream(self, sha256: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Yield a blob or a range of it in pieces of at most 256 KiB; raises as `read` does."""
        pieces, turn = self._pieces(sha256, start, length), Lock()
        try:
            while piece := await asyncio.to_thread(_next, pieces, turn):
                yield piece
        finally:
            if turn.locked():
                # A thread still reads, for nobody; whoever left does not wait for it.
                asyncio.get_running_loop().run_in_executor(None, _close, pieces, turn)
            else:
                pieces.close()

    async def fault(self) -> str | None:
        """Say why nothing can be stored just now; `None` when it can."""
        try:
            await asyncio.to_thread(self._probe)
        except StoreUnavailable as error:
            return str(error)
        return None

    def batch(self) -> Batch:
        """Begin a batch of blobs that become durable together. Blocks; for a thread.

        Raises:
            StoreUnavailable: the folder is missing, full or read-only.
        """
        with translating(str(self._folder)):
            if self._temporary is None or not self._temporary.is_dir():
                self._make_rooms()
                self._temporary = take_temporary_folder(self._room)
            return Batch(str(self._named), str(self._temporary))

    def _pieces(self, sha256: str, start: int, length: int | None) -> Generator[bytes, None, None]:
        left = sys.maxsize if length is None else length
        with translating(str(self._folder)), self._open(sha256) as file:
            file.seek(start)
            while left and (piece := file.read(min(left, PIECE_BYTES))):
                left -= len(piece)
                yield piece

    def _open(self, sha256: str) -> FileIO:
        try:
            return FileIO(str(self.local_path(sha256)))
        except FileNotFoundError as error:
            raise NotFound(f"there is no blob {sha256}") from error

    def _probe(self) -> None:
        with translating(str(self._folder)):
            self._make_rooms()
            probe = self._room / f"{uuid4()}.probe"
            try:
                probe.write_bytes(b"\0" * 65536)
            finally:
                probe.unlink(missing_ok=True)

    def _make_rooms(self) -> None:
        for room in (self._named, self._room):
            room.mkdir(parents=True, exist_ok=True, mode=0o700)


def _next(pieces: Generator[bytes, None, None], turn: Lock) -> bytes:
    with turn:
        return next(pieces, b"")


def _close(pieces: Generator[bytes, None, None], turn: Lock) -> None:
    with turn:
        pieces.close()
