"""Previews of files: read what one needs, let a worker make it, keep it by content."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import msgspec

from scripthut_common.errors import NotFound, StoreUnavailable
from scripthut_outputs.documents.workers import Overran, Workers
from scripthut_outputs.ledger import LedgerRow
from scripthut_outputs.rendering import previews
from scripthut_outputs.rendering.previews import Asked, Choice, Format, Preview, Span

from .kept import Kept
from .small import Blobs
from .turns import Limits, Turns

_CHEAP = frozenset({Format.IMAGE, Format.DRAWING, Format.BINARY, Format.EMPTY})
# To number the lines of a tail, all lines before it are counted.
_MAX_COUNTED_BYTES = 64 * 1024 * 1024
_BUSY = "many previews are being made just now: try again in a moment, or download the file"


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Which view of a file a reader wants; see `Asked`. `is_tail`: its end rather than its beginning."""

    page: int = 1
    sort: int = 0
    is_descending: bool = False
    is_source: bool = False
    is_tail: bool = False
    is_fragment: bool = False


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A stored file. `name` decides what it claims to be, `url` is the address of its page."""

    run_id: str
    task_id: str
    name: bytes
    url: str
    sha256: str
    size_bytes: int


def subject(run_id: str, task_id: str, name: bytes, url: str, row: LedgerRow) -> Subject:
    """Name the subject that a stored row of the ledger is."""
    return Subject(
        run_id=run_id,
        task_id=task_id,
        name=name,
        url=url,
        sha256=row.sha256 or "",
        size_bytes=row.stored_bytes or 0,
    )


class Previewer:
    """Makes previews, as many at a time as there are workers, one at a time for each person.

    Args:
        blobs: where bytes are.
        workers: what makes it.
        wait_s: so long a reader waits for a turn.
    """

    def __init__(self, blobs: Blobs, workers: Workers, *, wait_s: float = 20.0) -> None:
        self._blobs = blobs
        self._kept = Kept()
        self._workers = workers
        self._turns = Turns(Limits(at_once=workers.count, each=1, wait_s=wait_s), busy=_BUSY)

    def close(self) -> None:
        """Stop the workers."""
        self._workers.close()

    async def choose(self, file: Subject) -> Choice:
        """Tell what a file is.

        Raises:
            StoreUnavailable: its bytes cannot be read.
        """

        async def look() -> bytes:
            head = await self._read(file, 0, previews.HEAD_BYTES) if file.size_bytes else b""
            return msgspec.json.encode(previews.choose(file.name, head, size_bytes=file.size_bytes))

        kept = await self._kept.get(("choice", file.sha256, file.name), look)
        return msgspec.json.decode(kept, type=Choice)

    async def preview(self, file: Subject, choice: Choice, view: View, *, reader: str) -> Preview:
        """Show a file to a reader.

        Raises:
            StoreUnavailable: its bytes cannot be read.
            TooBusy: there was no turn in time.
        """

        async def make() -> bytes:
            return msgspec.json.encode(await self._make(file, choice, view, reader))

        # The address of its page says whose it is: links of the preview lead there.
        kept = await self._kept.get(("preview", file.sha256, file.url, choice, view), make)
        return msgspec.json.decode(kept, type=Preview)

    async def small_table(self, file: Subject) -> str | None:
        """Show a small file at once, if it is a table; it is made here and needs no turn.

        Raises:
            StoreUnavailable: its bytes cannot be read.
        """
        choice = await self.choose(file)
        if choice.format is not Format.TABLE:
            return None

        async def make() -> bytes:
            content = await self._read(file, 0, file.size_bytes)
            view = View(is_fragment=True)
            asked = _asked(file, choice, view, Span(length=file.size_bytes))
            return msgspec.json.encode(previews.make(asked, content))

        kept = await self._kept.get(("small table", file.sha256, file.url), make)
        preview = msgspec.json.decode(kept, type=Preview)
        return preview.html if preview.reason is None else None

    async def _make(self, file: Subject, choice: Choice, view: View, reader: str) -> Preview:
        wanted = previews.span(
            choice,
            file.size_bytes,
            is_tail=view.is_tail,
            is_fragment=view.is_fragment,
            is_source=view.is_source,
        )
        content = await self._read(file, wanted.start, wanted.length) if wanted.length else b""
        first_line = await self._first_line(file, wanted.start)
        asked = msgspec.structs.replace(_asked(file, choice, view, wanted), first_line=first_line)
        if choice.format in _CHEAP:
            return previews.make(asked, content)
        async with self._turns.one(reader):
            try:
                return await self._workers.run(previews.make, asked, content)
            except Overran as error:
                return previews.escaped(content, str(error))

    async def _first_line(self, file: Subject, start: int) -> int:
        """The number of the line that holds the byte at `start`; 0 when counting would take too long."""
        if not 0 < start <= _MAX_COUNTED_BYTES:
            return 0 if start else 1
        pieces = cast("AsyncGenerator[bytes, None]", self._blobs.stream(file.sha256, length=start))
        async with aclosing(pieces):
            return 1 + sum([piece.count(b"\n") async for piece in pieces])

    async def _read(self, file: Subject, start: int, length: int) -> bytes:
        try:
            return await self._blobs.read(file.sha256, start=start, length=length)
        except NotFound as error:
            raise StoreUnavailable(f"the blob {file.sha256} is missing from the store") from error


def _asked(file: Subject, choice: Choice, view: View, span: Span) -> Asked:
    return Asked(
        path=file.name,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        choice=choice,
        span=span,
        url=file.url,
        run_id=file.run_id,
        task_id=file.task_id,
        page=view.page,
        sort=view.sort,
        is_descending=view.is_descending,
        is_source=view.is_source,
        is_fragment=view.is_fragment,
    )
