"""Blobs on their way to the disk: hashed while they arrive, synced together. Everything here blocks."""

import hashlib
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from copy import copy
from pathlib import Path
from uuid import uuid4

from .durable import remove, sync, translating
from .ports import StoredBlob

_IN_MEMORY_BYTES = 1024 * 1024


class DiskBatch:
    """A `Batch` of files.

    Paths are plain text here: a batch has thousands, and `Path` would take longer than the disk.

    Args:
        store: the folder of named blobs, by the first two digits.
        temporary: a folder of this process on the same file system.
    """

    def __init__(self, store: str, temporary: str) -> None:
        self._store = store
        self._temporary = temporary
        self._waiting: dict[str, str] = {}
        self._folders: set[str] = set()
        self._sizes: dict[str, int] = {}

    @property
    def sizes(self) -> Mapping[str, int]:
        """Everything that this batch relies on, new or here already: size in bytes by SHA-256."""
        return self._sizes

    def begin(self) -> "ArrivingFile":
        """Begin one blob."""
        return ArrivingFile(self, f"{self._temporary}/{uuid4()}")

    def portion(self) -> "DiskBatch":
        """Give what has arrived whole so far as a batch of its own, to settle while more arrives here."""
        portion = copy(self)
        self._waiting, self._folders, self._sizes = {}, set(), {}
        return portion

    def settle(self) -> None:
        """Make everything that arrived durable under its name, and see that the rest is still here.

        Raises:
            StoreUnavailable: the disk is full or failed, or a sweep has just removed what was here already; nothing of
                this batch may be relied on.
        """
        with self.translating():
            for sha256 in self._sizes.keys() - self._waiting.keys():
                os.stat(self._name(sha256))  # noqa: PTH116  see above
            sync(self._waiting.values(), on=self._temporary)
            for sha256, temporary in self._waiting.items():
                folder, name = self._folder(sha256), self._name(sha256)
                if folder not in self._folders:
                    Path(folder).mkdir(exist_ok=True, mode=0o700)
                    self._folders.add(folder)
                os.replace(temporary, name)  # noqa: PTH105  see above
            sync([*self._folders, self._store], on=self._temporary)
        self._waiting.clear()

    def abandon(self) -> None:
        """Remove what arrived and was not settled."""
        for temporary in self._waiting.values():
            remove(temporary)
        self._waiting.clear()

    def has(self, sha256: str) -> bool:
        """Whether this content is here or on its way already; keeps it from the sweep."""
        if sha256 in self._waiting:
            return True
        try:
            os.utime(self._name(sha256))
        except FileNotFoundError:
            return False
        self._folders.add(self._folder(sha256))  # another process may have named it a moment ago
        return True

    def note(self, sha256: str, size_bytes: int) -> None:
        """Rely on a blob."""
        self._sizes[sha256] = size_bytes

    def add(self, sha256: str, temporary: str) -> None:
        """Take a complete temporary file."""
        if self.has(sha256):
            remove(temporary)
        else:
            self._waiting[sha256] = temporary

    def translating(self) -> AbstractContextManager[None]:
        """Name the store in faults of the disk."""
        return translating(f"the blob store {self._store}")

    def _folder(self, sha256: str) -> str:
        return f"{self._store}/{sha256[:2]}"

    def _name(self, sha256: str) -> str:
        return f"{self._store}/{sha256[:2]}/{sha256[2:]}"


class ArrivingFile:
    """One blob that arrives in pieces; a small one stays in memory until it is whole."""

    def __init__(self, batch: DiskBatch, temporary: str) -> None:
        self._batch = batch
        self._temporary = temporary
        self._hash = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._in_memory_bytes = 0
        self._size_bytes = 0
        self._fd = -1

    def write(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            StoreUnavailable: the disk is full or failed.
        """
        self._hash.update(piece)
        self._pieces.append(piece)
        self._size_bytes += len(piece)
        self._in_memory_bytes += len(piece)
        if self._in_memory_bytes > _IN_MEMORY_BYTES:
            with self._batch.translating():
                self._spill()

    def finish(self) -> StoredBlob:
        """Note that it is whole; it is durable once the batch is settled.

        Raises:
            StoreUnavailable: the disk is full or failed.
        """
        sha256 = self._hash.hexdigest()
        with self._batch.translating():
            if self._fd >= 0 or not self._batch.has(sha256):
                self._spill()
                self._close()
                self._batch.add(sha256, self._temporary)
        self._batch.note(sha256, self._size_bytes)
        return StoredBlob(sha256=sha256, size_bytes=self._size_bytes)

    def abandon(self) -> None:
        """Drop what has arrived."""
        if self._fd >= 0:
            self._close()
            remove(self._temporary)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)

    def _spill(self) -> None:
        if self._fd < 0:
            self._fd = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        rest = memoryview(b"".join(self._pieces))
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._pieces.clear()
        self._in_memory_bytes = 0
