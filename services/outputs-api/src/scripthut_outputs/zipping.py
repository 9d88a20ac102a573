"""Zip as a stream: members that arrive in pieces become an archive in pieces; only its table of contents is kept.

The library is a plain generator that works in a thread of its own; what it reads it asks the event loop for.
"""

import asyncio
import stat
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from hashlib import sha256
from itertools import chain
from typing import TypeVar

import msgspec
from stream_zip import ZIP_AUTO, Method, stream_zip

from scripthut_common.errors import StoreUnavailable

THREAD_NAME = "archive"
_PIECE_BYTES = 256 * 1024
_BUNCH = 64
_PROBE_BYTES = 64 * 1024
_WORTH_IT = 0.9
_MODE = stat.S_IFREG | 0o644
_Listed = tuple[str, datetime, int, Method, Iterable[bytes]]
T = TypeVar("T")


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an archive. `content` comes whole or in pieces; with `sha256` it must be that content."""

    name: str
    modified_at: datetime
    content: bytes | AsyncIterator[bytes]
    size_bytes: int = 0
    sha256: str | None = None


async def zipped(members: AsyncIterator[Member]) -> AsyncGenerator[bytes, None]:
    """Yield the archive of these members, in their order; equal members make equal archives.

    Whatever reading a member raises is raised here, and the archive has no end. Left early, it lets go of its thread;
    `members` and their contents are the caller's to close.

    Raises:
        StoreUnavailable: a content is not what it should be.
    """
    asking = _Asking(asyncio.get_running_loop())
    pieces = iter(stream_zip(_listed(members, asking), chunk_size=_PIECE_BYTES))
    thread = ThreadPoolExecutor(1, thread_name_prefix=THREAD_NAME)
    work: Future[bytes] | None = None
    try:
        while True:
            work = thread.submit(_gathered, pieces)
            piece = await asyncio.wrap_future(work)
            if not piece:
                return
            yield piece
    finally:
        asking.stop()
        thread.shutdown(wait=False)
        if work is not None:
            await _ended(work)


class _Asking:
    """Lets a thread wait for what the event loop gives, until nobody wants it any more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._task: asyncio.Task[object] | None = None
        self._is_over = False

    def each(self, source: AsyncIterator[T]) -> Iterator[T]:
        """Iterate over what is asynchronous; in the thread."""
        while (found := asyncio.run_coroutine_threadsafe(self._next(source), self._loop).result()) is not None:
            yield found

    def stop(self) -> None:
        """End the thread's waiting; in the event loop."""
        self._is_over = True
        if self._task is not None:
            self._task.cancel()

    async def _next(self, source: AsyncIterator[T]) -> T | None:
        if self._is_over:
            raise asyncio.CancelledError
        self._task = asyncio.current_task()
        try:
            return await anext(source, None)
        finally:
            self._task = None


async def _ended(work: Future[bytes]) -> None:
    """Wait until the thread has nothing to do; unlike the future, this can be waited for again after a cancel."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    work.add_done_callback(lambda _: loop.call_soon_threadsafe(over.set))
    await over.wait()


def _gathered(pieces: Iterator[bytes]) -> bytes:
    """Take the next pieces as one; the library gives many small ones."""
    taken, size_bytes = [], 0
    for piece in pieces:
        taken.append(piece)
        size_bytes += len(piece)
        if size_bytes >= _PIECE_BYTES:
            break
    return b"".join(taken)


def _listed(members: AsyncIterator[Member], asking: _Asking) -> Iterator[_Listed]:
    """Describe members as the library wants them."""
    for member in chain.from_iterable(asking.each(_bunches(members))):
        content = member.content
        pieces = iter((content,)) if isinstance(content, bytes) else asking.each(content)
        first = next(pieces, b"")
        method = ZIP_AUTO(member.size_bytes, level=_level(first))
        yield member.name, member.modified_at, _MODE, method, _checked(member, chain((first,), pieces))


async def _bunches(members: AsyncIterator[Member]) -> AsyncIterator[list[Member]]:
    """Gather small members, so that thread and event loop need not meet for each; one in pieces ends its bunch."""
    bunch: list[Member] = []
    size_bytes = 0
    async for member in members:
        bunch.append(member)
        size_bytes += member.size_bytes
        if not isinstance(member.content, bytes) or size_bytes >= _PIECE_BYTES or len(bunch) >= _BUNCH:
            yield bunch
            bunch, size_bytes = [], 0
    if bunch:
        yield bunch


def _checked(member: Member, pieces: Iterable[bytes]) -> Iterator[bytes]:
    if member.sha256 is None:
        yield from pieces
        return
    found = sha256()
    for piece in pieces:
        found.update(piece)
        yield piece
    if found.hexdigest() != member.sha256:
        raise StoreUnavailable(f"the blob {member.sha256} of the store is damaged")


def _level(piece: bytes) -> int:
    """The level of deflate for a content that begins so: 1, or 0 where it would win nothing."""
    probe = piece[:_PROBE_BYTES]
    return int(len(zlib.compress(probe, 1)) < _WORTH_IT * len(probe))
