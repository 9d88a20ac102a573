"""What the house asks of a blob store, wherever it keeps its bytes."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Protocol

import msgspec


class StoredBlob(msgspec.Struct, frozen=True, kw_only=True):
    """What arrived: its name and its size."""

    sha256: str
    size_bytes: int


class ListedBlob(StoredBlob, frozen=True, kw_only=True):
    """A blob that lies in the store; on disk, `modified_at` is also when a batch last came to rely on it."""

    modified_at: datetime


class ArrivingBlob(Protocol):
    """One blob that arrives in pieces. Everything here blocks."""

    def write(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            StoreUnavailable: where bytes wait is full or failed.
        """

    def finish(self) -> StoredBlob:
        """Note that it is whole; it is durable once the batch is settled.

        Raises:
            StoreUnavailable: where bytes wait is full or failed.
        """

    def abandon(self) -> None:
        """Drop what has arrived."""


class Batch(Protocol):
    """Blobs that become durable together; for one thread at a time. Everything here blocks."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Everything that this batch relies on, new or here already: size in bytes by SHA-256."""

    def begin(self) -> ArrivingBlob:
        """Begin the next blob; the one before is finished or abandoned."""

    def portion(self) -> "Batch":
        """Give what has arrived whole so far as a batch of its own, to settle while more arrives here."""

    def settle(self) -> None:
        """Make everything that arrived durable under its name.

        The catalog must have been told of `sizes` before: from then on no sweep removes any of it.

        Raises:
            StoreUnavailable: the store is full or away, or a sweep has just removed what was here already; nothing of
                this batch may be relied on.
        """

    def abandon(self) -> None:
        """Remove what arrived and was not settled."""


class Readable(Protocol):
    """A store as those see it who serve."""

    def local_path(self, sha256: str) -> str | None:
        """Where the blob lies on this machine's disk, if it exists; `None` when it lies elsewhere."""

    async def read(self, sha256: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Read a blob or a range of it; past its end there is nothing.

        Raises:
            NotFound: there is no such blob.
            StoreUnavailable: the store does not answer.
        """

    def stream(self, sha256: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Yield a blob or a range of it in pieces; raises as `read` does."""


class Fillable(Protocol):
    """A store as those see it who collect."""

    def batch(self) -> Batch:
        """Begin a batch of blobs that become durable together. Blocks; for a thread.

        Raises:
            StoreUnavailable: where bytes wait is missing, full or read-only.
        """

    async def fault(self) -> str | None:
        """Say why nothing can be stored just now, and what to do; `None` when it can."""


class Sweepable(Protocol):
    """A store as those see it who verify and remove."""

    async def size(self, sha256: str) -> int:
        """Tell how many bytes a blob has; raises as `Readable.read` does."""

    async def remove(self, sha256: str) -> None:
        """Remove a blob that may be gone already.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    async def set_aside(self, sha256: str) -> None:
        """Move a damaged blob to where nobody takes it for whole; raises as `remove` does."""

    def list_blobs(self) -> AsyncIterator[ListedBlob]:
        """Yield every blob in no order; raises as `remove` does."""


class BlobStore(Readable, Fillable, Sweepable, Protocol):
    """A whole blob store; many processes may share it."""
