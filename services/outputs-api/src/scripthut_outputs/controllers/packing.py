"""What an archive holds: the ledger of a task, its files and its logs; of a run the same for every task.

Rows are read task by task, each ledger by one query: what a task's `ledger.json` says and what lies beside it agree,
whatever is collected meanwhile. A run's archive holds the tasks that it had when the archive began.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from scripthut_common.errors import NotFound, StoreUnavailable
from scripthut_outputs import archiving
from scripthut_outputs.catalog.ledgers import Entry, Ledger
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.catalog.views import Item, RunOverview
from scripthut_outputs.ledger import Place
from scripthut_outputs.zipping import Member

from .sending import closing
from .shapes import ArchivedFileJson, ArchivedLedgerJson, archived_file_json, item_json, run_json
from .small import Blobs

_TASKS_AT_ONCE = 100
_ROWS_AT_ONCE = 5000
_WHOLE_BYTES = 256 * 1024
_NAMES = {
    Place.RUN_SUMMARY: archiving.RUN_SUMMARY.encode(),
    Place.STDOUT: archiving.STDOUT.encode(),
    Place.STDERR: archiving.STDERR.encode(),
}
Members = AsyncGenerator[Member, None]


class Packing:
    """Gathers from the catalog and the blob store."""

    def __init__(self, reading: Reading, blobs: Blobs) -> None:
        self._reading = reading
        self._blobs = blobs

    async def task(self, item: Item) -> Members:
        """Yield all that is held of one task."""
        (ledger,) = await self._reading.ledgers(item.run_id, [item.task_id], max_rows=_ROWS_AT_ONCE)
        async with aclosing(self._of_task(item, ledger, "")) as members:
            async for member in members:
                yield member

    async def run(self, run: RunOverview) -> Members:
        """Yield `run.json`, and all that is held of each task in a folder of its own, in submission order."""
        folders: dict[str, str] = {}
        told = self._told(run, folders)
        async with aclosing(told):
            yield Member(name=archiving.RUN, modified_at=archiving.entry_time(None, run.created_at), content=told)
        async for items in self._pages(run.run_id):
            async with aclosing(
                self._of_tasks([item for item in items if item.task_id in folders], folders)
            ) as members:
                async for member in members:
                    yield member

    async def _told(self, run: RunOverview, folders: dict[str, str]) -> AsyncGenerator[bytes, None]:
        """Write `run.json` a page of tasks at a time, and give every task its folder."""
        names = archiving.Names()
        yield b'{"run":' + msgspec.json.encode(run_json(run)) + b',"tasks":['
        separator = b"\n"
        async for items in self._pages(run.run_id):
            lines = []
            for item in items:
                folders[item.task_id] = archiving.TASKS + names.of(item.task_id.encode()) + "/"
                told = {"folder": folders[item.task_id], **msgspec.to_builtins(item_json(item))}
                lines.append(msgspec.json.encode(told))
            yield separator + b",\n".join(lines)
            separator = b",\n"
        yield b"\n]}\n"

    async def _pages(self, run_id: str) -> AsyncIterator[Sequence[Item]]:
        cursor = None
        while True:
            page = await self._reading.items(run_id, limit=_TASKS_AT_ONCE, cursor=cursor)
            if page.items:
                yield page.items
            cursor = page.next
            if cursor is None:
                return

    async def _of_tasks(self, items: Sequence[Item], folders: dict[str, str]) -> Members:
        while items:
            ids = [item.task_id for item in items]
            ledgers = await self._reading.ledgers(items[0].run_id, ids, max_rows=_ROWS_AT_ONCE)
            for item, ledger in zip(items, ledgers, strict=False):
                async with aclosing(self._of_task(item, ledger, folders[item.task_id])) as members:
                    async for member in members:
                        yield member
            items = items[len(ledgers) :]

    async def _of_task(self, item: Item, ledger: Ledger, folder: str) -> Members:
        named = list(_named(ledger))
        at = archiving.entry_time(None, item.collected_at or item.ended_at or item.submitted_at)
        told = _ledger_json(item, [archived_file_json(entry.row, entry.removed_at, name) for entry, name in named])
        yield Member(name=folder + archiving.LEDGER, modified_at=at, content=told, size_bytes=len(told))
        for entry, name in named:
            if name is not None:
                content = await self._content(entry)
                if isinstance(content, bytes):
                    yield _member(entry, folder + name, content)
                else:
                    async with aclosing(content):
                        yield _member(entry, folder + name, content)

    async def _content(self, entry: Entry) -> bytes | AsyncGenerator[bytes, None]:
        sha256, size_bytes = entry.row.sha256 or "", entry.row.stored_bytes or 0
        if size_bytes > _WHOLE_BYTES:
            return _stream(self._blobs, sha256)
        try:
            return await self._blobs.read(sha256)
        except NotFound as error:
            raise _missing(sha256) from error


async def _stream(blobs: Blobs, sha256: str) -> AsyncGenerator[bytes, None]:
    try:
        async with closing(blobs.stream(sha256)) as pieces:
            async for piece in pieces:
                yield piece
    except NotFound as error:
        raise _missing(sha256) from error


def _missing(sha256: str) -> StoreUnavailable:
    return StoreUnavailable(f"the blob {sha256} is missing from the store")


def _member(entry: Entry, name: str, content: bytes | AsyncIterator[bytes]) -> Member:
    return Member(
        name=name,
        modified_at=archiving.entry_time(entry.row.modified_at, entry.row.collected_at),
        content=content,
        size_bytes=entry.row.stored_bytes or 0,
        sha256=entry.row.sha256,
    )


def _named(ledger: Ledger) -> Iterator[tuple[Entry, str | None]]:
    """Name what we hold; `None` for what we do not."""
    outputs, others = archiving.Names(), archiving.Names()
    for entry in ledger:
        if not entry.is_held:
            yield entry, None
        elif entry.row.place is Place.OUTPUT:
            yield entry, archiving.OUTPUTS + outputs.of(entry.row.path)
        else:
            # There are several where attempts wrote to logs of different names.
            yield entry, others.of(_NAMES[entry.row.place])


def _ledger_json(item: Item, files: Sequence[ArchivedFileJson]) -> bytes:
    head: dict[str, Any] = {
        name: getattr(item, name) for name in ArchivedLedgerJson.__struct_fields__ if name not in {"task", "files"}
    }
    told = ArchivedLedgerJson(**head, task=item_json(item), files=tuple(files))
    return msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n"
