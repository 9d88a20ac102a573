"""Blobs on their way to another machine: they wait in one nameless file, which goes with us whatever happens."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from copy import copy
from functools import partial

from .durable import translating
from .ports import StoredBlob
from .uploading import Waiting

_BUFFER_BYTES = 1024 * 1024
_PIECE_BYTES = 1024 * 1024


class SpooledBatch:
    """A `Batch` that waits in one file.

    Args:
        folder: where the file is made.
        upload: gives everything that waits its name.
    """

    def __init__(self, folder: str, upload: Callable[[Mapping[str, Waiting]], None]) -> None:
        self._folder = folder
        self._upload = upload
        self._waiting: dict[str, Waiting] = {}
        self._sizes: dict[str, int] = {}
        self._buffer = bytearray()
        self._written_bytes = 0
        self._is_portion = False
        with self.translating():
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  open as long as the batch

    @property
    def sizes(self) -> Mapping[str, int]:
        """Everything that this batch relies on, new or here already: size in bytes by SHA-256."""
        return self._sizes

    def begin(self) -> "SpooledBlob":
        """Begin the next blob; the one before is finished or abandoned."""
        return SpooledBlob(self, self._written_bytes + len(self._buffer))

    def portion(self) -> "SpooledBatch":
        """Give what has arrived whole so far as a batch of its own, in the same file; settle it before this ends."""
        self._flush()
        portion = copy(self)
        portion._is_portion, portion._buffer = True, bytearray()  # noqa: SLF001  one of us
        self._waiting, self._sizes = {}, {}
        return portion

    def settle(self) -> None:
        """Upload everything that is not there.

        Raises:
            StoreUnavailable: the store is full or away; nothing of this batch may be relied on.
        """
        self._flush()
        self._upload(self._waiting)
        self.abandon()

    def abandon(self) -> None:
        """Give the room back; that of a portion with the whole."""
        self._waiting.clear()
        if not self._is_portion:
            self._file.close()

    def write(self, piece: bytes) -> None:
        """Append to what waits."""
        self._buffer += piece
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()

    def cut(self, start: int) -> None:
        """Give back the room from there on."""
        if start >= self._written_bytes:
            del self._buffer[start - self._written_bytes :]
            return
        self._buffer.clear()
        self._written_bytes = start
        with self.translating():
            os.ftruncate(self._file.fileno(), start)

    def take(self, sha256: str, start: int, size_bytes: int) -> None:
        """Rely on a blob, whose bytes end the file."""
        self._sizes[sha256] = size_bytes
        if sha256 in self._waiting:
            self.cut(start)
        else:
            self._waiting[sha256] = Waiting(size_bytes=size_bytes, pieces=partial(self._pieces, start, size_bytes))

    def translating(self) -> AbstractContextManager[None]:
        """Name the folder in faults of the disk."""
        return translating(f"the folder {self._folder}, where bytes wait for the blob store,")

    def _flush(self) -> None:
        rest, end = memoryview(bytes(self._buffer)), self._written_bytes
        with self.translating():
            while rest:
                count = os.pwrite(self._file.fileno(), rest, end)
                rest, end = rest[count:], end + count
        self._written_bytes = end
        self._buffer.clear()

    def _pieces(self, start: int, size_bytes: int) -> Iterator[bytes]:
        end = start + size_bytes
        while start < end:
            with self.translating():
                piece = os.pread(self._file.fileno(), min(_PIECE_BYTES, end - start), start)
            if not piece:
                return
            yield piece
            start += len(piece)


class SpooledBlob:
    """One blob that arrives in pieces."""

    def __init__(self, batch: SpooledBatch, start: int) -> None:
        self._batch = batch
        self._start = start
        self._size_bytes = 0
        self._hash = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            StoreUnavailable: the disk is full or failed.
        """
        self._hash.update(piece)
        self._batch.write(piece)
        self._size_bytes += len(piece)

    def finish(self) -> StoredBlob:
        """Note that it is whole.

        Raises:
            StoreUnavailable: the disk is full or failed.
        """
        stored = StoredBlob(sha256=self._hash.hexdigest(), size_bytes=self._size_bytes)
        self._batch.take(stored.sha256, self._start, stored.size_bytes)
        return stored

    def abandon(self) -> None:
        """Give back the room of what has arrived."""
        self._batch.cut(self._start)
