"""The blob store in one folder: `sha256/ab/cdef…`.

A blob arrives in a temporary file, is synced, and only then gets its name; a batch of many is synced at once. What a
crash leaves are temporary files, removed when the next process begins to store.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from threading import Lock
from uuid import uuid4

from scripthut_common.errors import NotFound, StoreUnavailable

from .durable import remove, take_temporary_folder, translating
from .filing import DiskBatch
from .ports import ListedBlob

PIECE_BYTES = 256 * 1024
_FOLDER = re.compile(r"[0-9a-f]{2}")
_NAME = re.compile(r"[0-9a-f]{62}")


class DiskBlobs:
    """A `BlobStore` in one folder; nothing is touched when it is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._named = folder / "sha256"
        self._room = folder / "tmp"
        self._aside = folder / "damaged"
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

    def batch(self) -> DiskBatch:
        """Begin a batch of blobs that become durable together. Blocks; for a thread.

        Raises:
            StoreUnavailable: the folder is missing, full or read-only.
        """
        with self._translating():
            if self._temporary is None or not self._temporary.is_dir():
                self._make_rooms()
                self._temporary = take_temporary_folder(self._room)
            return DiskBatch(str(self._named), str(self._temporary))

    async def size(self, sha256: str) -> int:
        """Tell how many bytes a blob has; raises as `read` does."""
        return await asyncio.to_thread(self._size, sha256)

    async def remove(self, sha256: str) -> None:
        """Remove a blob that may be gone already.

        Raises:
            StoreUnavailable: the disk does not let us.
        """
        with self._translating():
            await asyncio.to_thread(remove, str(self.local_path(sha256)))

    async def set_aside(self, sha256: str) -> None:
        """Move a damaged blob to the folder `damaged`; raises as `remove` does."""
        with self._translating():
            await asyncio.to_thread(self._set_aside, sha256)

    async def list_blobs(self) -> AsyncIterator[ListedBlob]:
        """Yield every blob, folder by folder; what is named like none is left out.

        Raises:
            StoreUnavailable: the disk does not answer.
        """
        for folder in await asyncio.to_thread(self._folders):
            for blob in await asyncio.to_thread(self._lying_in, folder):
                yield blob

    def _size(self, sha256: str) -> int:
        with self._translating():
            try:
                return Path(str(self.local_path(sha256))).stat().st_size
            except FileNotFoundError as error:
                raise NotFound(f"there is no blob {sha256}") from error

    def _set_aside(self, sha256: str) -> None:
        self._aside.mkdir(exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):
            Path(str(self.local_path(sha256))).replace(self._aside / sha256)

    def _folders(self) -> list[str]:
        with self._translating():
            if not self._named.is_dir():
                return []
            return sorted(name for name in os.listdir(self._named) if _FOLDER.fullmatch(name))  # noqa: PTH208  text

    def _lying_in(self, folder: str) -> list[ListedBlob]:
        with self._translating(), os.scandir(self._named / folder) as entries:
            found = [(entry.name, _stat(entry)) for entry in entries if _NAME.fullmatch(entry.name)]
        return [
            ListedBlob(
                sha256=folder + name,
                size_bytes=status.st_size,
                modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
            )
            for name, status in found
            if status is not None
        ]

    def _translating(self) -> AbstractContextManager[None]:
        return translating(f"the blob store {self._folder}")

    def _pieces(self, sha256: str, start: int, length: int | None) -> Generator[bytes, None, None]:
        left = sys.maxsize if length is None else length
        with self._translating(), self._open(sha256) as file:
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
        with self._translating():
            self._make_rooms()
            probe = self._room / f"{uuid4()}.probe"
            try:
                probe.write_bytes(b"\0" * 65536)
            finally:
                probe.unlink(missing_ok=True)

    def _make_rooms(self) -> None:
        for room in (self._named, self._room):
            room.mkdir(parents=True, exist_ok=True, mode=0o700)


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Tell what lies there; `None` where it was removed a moment ago."""
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def _next(pieces: Generator[bytes, None, None], turn: Lock) -> bytes:
    with turn:
        return next(pieces, b"")


def _close(pieces: Generator[bytes, None, None], turn: Lock) -> None:
    with turn:
        pieces.close()
