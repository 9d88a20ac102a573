"""The blob store in one folder: where blobs lie, reading them, and a way in."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from io import FileIO
from itertools import islice
from pathlib import Path
from uuid import uuid4

from scripthut_common.errors import NotFound, StoreUnavailable

from .arriving import Batch, StoredBlob
from .durable import remove, take_temporary_folder, translating

PIECE_BYTES = 256 * 1024
_LISTED_AT_ONCE = 500
_NAME = re.compile(r"[0-9a-f]{64}")


def open_store(folder: str) -> "DiskBlobs":
    """Open the blob store in a folder; nothing is touched yet."""
    return DiskBlobs(Path(folder).expanduser().absolute())


class DiskBlobs:
    """The blob store in one folder; many processes may share it."""

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
        pieces = self._pieces(sha256, start, length)
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece

    async def size(self, sha256: str) -> int:
        """Tell how many bytes a blob has; raises as `read` does."""
        return await asyncio.to_thread(self._size, sha256)

    async def remove(self, sha256: str) -> None:
        """Remove a blob; one that is not there is removed already.

        Raises:
            StoreUnavailable: the disk does not answer.
        """
        with translating(str(self._folder)):
            await asyncio.to_thread(remove, str(self.local_path(sha256)))

    async def set_aside(self, sha256: str) -> None:
        """Move a damaged blob to the folder `damaged`, where nobody takes it for whole; raises as `remove` does."""
        with translating(str(self._folder)):
            await asyncio.to_thread(self._set_aside, sha256)

    async def list_blobs(self) -> AsyncIterator[StoredBlob]:
        """Yield every blob, however many, in no order; raises as `remove` does."""
        blobs = self._listed()
        while portion := await asyncio.to_thread(lambda: list(islice(blobs, _LISTED_AT_ONCE))):
            for blob in portion:
                yield blob

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

    def _size(self, sha256: str) -> int:
        with translating(str(self._folder)):
            try:
                return Path(str(self.local_path(sha256))).stat().st_size
            except FileNotFoundError as error:
                raise NotFound(f"there is no blob {sha256}") from error

    def _set_aside(self, sha256: str) -> None:
        self._aside.mkdir(exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):
            Path(str(self.local_path(sha256))).replace(self._aside / sha256)

    def _listed(self) -> Iterator[StoredBlob]:
        with translating(str(self._folder)):
            for folder in self._named.iterdir() if self._named.is_dir() else ():
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if _NAME.fullmatch(folder.name + entry.name) and (found := _stat(entry)) is not None:
                            yield StoredBlob(sha256=folder.name + entry.name, size_bytes=found.st_size)

    def _pieces(self, sha256: str, start: int, length: int | None) -> Iterator[bytes]:
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


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Look at a file of the store; `None` when it was removed a moment ago."""
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
