"""One kind of blob store after the other, for the rules that all of them keep."""

from pathlib import Path
from typing import Protocol

from scripthut_outputs.blobs import BlobStore, StoredBlob, open_store
from scripthut_outputs.settings import S3Settings
from tests.testbed.s3 import S3Server

PIECE_BYTES = 300_000


class Shelf(Protocol):
    """A kind of store under test: its address, and what lies about besides blobs."""

    url: str
    settings: S3Settings
    waiting_room: Path
    """Where bytes wait that have no name yet."""

    def open(self) -> BlobStore: ...

    def set_aside(self) -> dict[str, bytes]:
        """What was found damaged, by the name that it had."""
        ...

    def leftovers(self) -> list[str]:
        """What is neither a blob nor belongs to a batch."""
        ...

    def written(self) -> int:
        """How many blobs have been written so far, also again."""
        ...


class DiskShelf:
    """A folder."""

    settings = S3Settings()

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "blobs"
        self.url = str(self._folder)
        self.waiting_room = self._folder

    def open(self) -> BlobStore:
        return open_store(self.url)

    def set_aside(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self._folder / "damaged").iterdir()}

    def leftovers(self) -> list[str]:
        return [str(path) for path in self._folder.glob("tmp/**/*") if path.is_file()]

    def written(self) -> int:
        # Inodes are new where a file was written anew; they are not used again while the store only grows.
        return len({path.stat().st_ino for path in self._folder.glob("sha256/*/*")})


class S3Shelf:
    """A bucket, below a prefix."""

    def __init__(self, server: S3Server, folder: Path, *, timeout_s: float = 30.0) -> None:
        self._server = server
        self.bucket = server.create_bucket()
        self.url = f"s3://{self.bucket}/some/prefix"
        self.waiting_room = folder / "spool"
        self.waiting_room.mkdir(exist_ok=True)
        self.settings = server.settings(spool=self.waiting_room, timeout_s=timeout_s)

    def open(self) -> BlobStore:
        return open_store(self.url, self.settings)

    def set_aside(self) -> dict[str, bytes]:
        return self._server.objects(self.bucket, "some/prefix/damaged/")

    def leftovers(self) -> list[str]:
        return [str(path) for path in self.waiting_room.iterdir()]

    def written(self) -> int:
        return len([path for path in self._server.asked("PUT", self.bucket) if "/sha256/" in path])


def store(blobs: BlobStore, *bodies: bytes) -> list[StoredBlob]:
    """Put bodies into a store in one batch, each in pieces."""
    batch = blobs.batch()
    stored = []
    for body in bodies:
        blob = batch.begin()
        for start in range(0, len(body), PIECE_BYTES):
            blob.write(body[start : start + PIECE_BYTES])
        stored.append(blob.finish())
    batch.settle()
    return stored


async def listed(blobs: BlobStore) -> dict[str, int]:
    """Everything in a store: size in bytes by SHA-256."""
    return {blob.sha256: blob.size_bytes async for blob in blobs.list_blobs()}
