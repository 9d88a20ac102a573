"""Small files are kept in memory, and a reader of many does not drive out what others look at."""

from collections.abc import AsyncIterator

import pytest

from scripthut_common.errors import NotFound, StoreUnavailable
from scripthut_outputs.controllers.small import MAX_BYTES, SmallBlobs


class Shelf:
    """Blobs of one letter each; counts how often one is read."""

    def __init__(self) -> None:
        self.reads: list[str] = []

    def local_path(self, sha256: str) -> str | None:  # noqa: ARG002  the port's
        return None

    async def read(self, sha256: str, *, start: int = 0, length: int | None = None) -> bytes:  # noqa: ARG002  the port's
        if sha256 == "gone":
            raise NotFound("gone")
        self.reads.append(sha256)
        return sha256.encode() * 100

    async def stream(self, sha256: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        yield await self.read(sha256, start=start, length=length)


async def test_a_blob_is_read_once() -> None:
    shelf = Shelf()
    small = SmallBlobs(shelf)

    assert [await small.read("a", 100) for _ in range(3)] == [b"a" * 100] * 3
    assert shelf.reads == ["a"]


async def test_large_blobs_are_left_to_the_server() -> None:
    assert await SmallBlobs(Shelf()).read("a", MAX_BYTES + 1) is None


async def test_a_walk_through_many_drives_out_nothing_that_is_in_use() -> None:
    shelf = Shelf()
    small = SmallBlobs(shelf, max_held_bytes=250, clock=lambda: 0.0)
    await small.read("a", 100)
    await small.read("b", 100)

    assert await small.read("c", 100) is None
    assert await small.read("a", 100) == b"a" * 100
    assert shelf.reads == ["a", "b"]


async def test_what_nobody_asked_for_in_a_minute_makes_room() -> None:
    shelf, now = Shelf(), [0.0]
    small = SmallBlobs(shelf, max_held_bytes=250, clock=lambda: now[0])
    await small.read("a", 100)
    await small.read("b", 100)
    now[0] = 50.0
    await small.read("b", 100)

    now[0] = 61.0

    assert await small.read("c", 100) == b"c" * 100
    assert await small.read("b", 100) == b"b" * 100
    assert shelf.reads == ["a", "b", "c"]


async def test_a_blob_that_is_gone_is_a_fault_of_the_store() -> None:
    with pytest.raises(StoreUnavailable, match="missing"):
        await SmallBlobs(Shelf()).read("gone", 100)
