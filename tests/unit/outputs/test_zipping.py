"""A zip that is made while it is read: right beyond every old limit, and gone without a trace when nobody reads on."""

import asyncio
import threading
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripthut_common.errors import StoreUnavailable
from scripthut_outputs.zipping import THREAD_NAME, Member, zipped

AT = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)
MIB = 1024 * 1024


async def one(name: str, content: bytes | AsyncIterator[bytes], size_bytes: int = 0) -> AsyncGenerator[Member, None]:
    yield Member(name=name, modified_at=AT, content=content, size_bytes=size_bytes)


async def zeros(count: int) -> AsyncGenerator[bytes, None]:
    piece = bytes(MIB)
    for _ in range(count):
        yield piece


async def saved(members: AsyncIterator[Member], path: Path) -> Path:
    with path.open("wb") as file:
        async for piece in zipped(members):
            file.write(piece)
    return path


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]


async def gone() -> None:
    async with asyncio.timeout(10):
        while threads():  # noqa: ASYNC110  threads set no event
            await asyncio.sleep(0.01)


async def test_more_entries_than_an_old_zip_can_count(tmp_path: Path) -> None:
    async def many() -> AsyncGenerator[Member, None]:
        for number in range(66_000):
            yield Member(name=f"{number:05}", modified_at=AT, content=b"%d" % number)

    with zipfile.ZipFile(await saved(many(), tmp_path / "many.zip")) as archive:
        assert len(archive.namelist()) == 66_000
        assert archive.read("65999") == b"65999"


async def test_a_file_larger_than_an_old_zip_can_say_and_one_behind_it(tmp_path: Path) -> None:
    async def members() -> AsyncGenerator[Member, None]:
        yield Member(name="large", modified_at=AT, content=zeros(4100), size_bytes=4100 * MIB)
        yield Member(name="after", modified_at=AT, content=b"it", size_bytes=2)

    with zipfile.ZipFile(await saved(members(), tmp_path / "large.zip")) as archive:
        assert archive.getinfo("large").file_size == 4100 * MIB
        assert archive.read("after") == b"it"
        with archive.open("large") as large:
            assert large.read(MIB) == bytes(MIB)


async def test_an_archive_of_nothing_is_an_archive(tmp_path: Path) -> None:
    async def nothing() -> AsyncGenerator[Member, None]:
        for _ in ():
            yield Member(name="", modified_at=AT, content=b"")

    with zipfile.ZipFile(await saved(nothing(), tmp_path / "empty.zip")) as archive:
        assert archive.namelist() == []


async def test_what_reading_raises_is_raised_and_nothing_is_left() -> None:
    async def breaking() -> AsyncGenerator[bytes, None]:
        yield bytes(MIB)
        raise StoreUnavailable("the disk is gone")

    with pytest.raises(StoreUnavailable, match="the disk is gone"):
        async for _ in zipped(one("a", breaking())):
            pass

    await gone()


async def test_a_receiver_who_leaves_ends_the_thread_and_the_reading() -> None:
    async with aclosing(zeros(10_000)) as content, aclosing(zipped(one("a", content))) as pieces:
        await anext(pieces)

    await gone()


async def test_a_cancel_while_a_content_hangs_ends_the_thread() -> None:
    is_reading = asyncio.Event()
    was_cancelled = asyncio.Event()

    async def hanging() -> AsyncGenerator[bytes, None]:
        yield b"x"
        is_reading.set()
        try:
            await asyncio.Event().wait()
        finally:
            was_cancelled.set()

    async def read() -> None:
        async with aclosing(hanging()) as content, aclosing(zipped(one("a", content))) as pieces:
            async for _ in pieces:
                pass

    async with asyncio.timeout(10):
        reading = asyncio.ensure_future(read())
        await is_reading.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await was_cancelled.wait()
        await gone()


async def test_the_loop_goes_on_while_an_archive_is_made() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.ensure_future(count())
    pieces = 0
    async for _ in zipped(one("a", zeros(64), 64 * MIB)):
        pieces += 1
    counting.cancel()

    assert turns > 100 * pieces
