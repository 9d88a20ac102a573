"""Turn what a task left behind into what the pages show: named structs for the templates, words decided here. Pure."""

from collections.abc import Iterator, Mapping

import msgspec

from scripthut_common import text
from scripthut_common.events import ItemState, Outcome
from scripthut_common.layout import TASK_SUMMARY_NAME
from scripthut_outputs.catalog.views import Item, OutputFile, Panel
from scripthut_outputs.controllers.inlining import Allowance
from scripthut_outputs.ledger import FileState, Kind, LedgerRow, OutputsState, Place
from scripthut_outputs.rendering import file_url, previews
from scripthut_outputs.rendering.previews import Format, pieces, texts

from . import addresses, documents, figures, words
from .documents import Document
from .figures import Figure, Picture
from .rows import Row, row

MAX_LOG_LINES = 200
# What unfolds among other files; notebooks and PDFs need a page with rights of its own.
_IN_PLACE = frozenset({Format.TABLE, Format.JSON, Format.JSON_LINES, Format.TEXT, Format.CODE})
LOGS = {Place.STDERR: "Standard error", Place.STDOUT: "Standard output"}


class File(Picture, frozen=True, kw_only=True):
    """A stored file, to look at or to download. `fragment_url`: its preview alone, empty where its page is better."""

    id: str
    note: str = ""
    fragment_url: str = ""


class Glimpse(msgspec.Struct, frozen=True, kw_only=True):
    """A small table that is shown at once. `content` names what it shows."""

    id: str
    content: str
    name: str
    url: str
    html: str


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A file, or `count` files, that stand in the ledger and not in our store."""

    name: str
    size: str
    count: int
    reason: str


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """The end of standard output or error; `is_cut`: there is more of it at `url`."""

    place: Place
    title: str
    url: str
    html: str
    size: str
    is_cut: bool
    is_open: bool


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """Everything as one archive."""

    url: str
    size: str


class TaskPanel(msgspec.Struct, frozen=True, kw_only=True):
    """All that one task left behind. `removed` says how much of it is no longer in our store."""

    row: Row
    tally: str
    summary: Document | None
    documents: tuple[Document, ...]
    figures: tuple[Figure, ...]
    files: tuple[File, ...]
    left_out: tuple[LeftOut, ...]
    logs: tuple[Log, ...]
    collection: str
    is_collection_failed: bool
    may_collect_again: bool
    is_failed: bool
    more_files: int
    is_open: bool = True
    removed: str = ""
    tables: tuple[Glimpse, ...] = ()

    @property
    def has_anything(self) -> bool:
        """Whether there is anything to see."""
        return bool(self.files or self.left_out or self.logs or self.is_collection_failed)

    @property
    def is_waiting(self) -> bool:
        """Whether a document of it is to be rendered yet."""
        return any(document.is_waiting for document in (self.summary, *self.documents) if document)


def panel(
    item: Item,
    found: Panel,
    tails: Mapping[Place, bytes],
    allowance: Allowance,
    *,
    tables: tuple[Glimpse, ...] = (),
) -> TaskPanel:
    """Show what one task left behind.

    Args:
        item: the task's place in the run.
        found: its files and logs.
        tails: the last bytes of its logs, as far as they were read.
        allowance: how much HTML the page still takes.
        tables: those that are shown at once.
    """
    stored = [file for file in found.files if file.row.state is FileState.STORED]
    images = [_file(item, file) for file in stored if file.row.kind is Kind.IMAGE]
    sources = {image.url: image.src for image in images}
    written = [
        documents.of_file(item, file, found, allowance, sources) for file in stored if file.row.kind is Kind.MARKDOWN
    ]
    summary = written[0] if written and written[0].name == TASK_SUMMARY_NAME else None
    shown = "".join(document.html or "" for document in written)
    return TaskPanel(
        row=row(item, has_panel=True),
        tally=words.tally(found.counts),
        summary=summary,
        documents=tuple(written[1:] if summary else written),
        figures=figures.group([image for image in images if f'src="{image.src}"' not in shown]),
        files=tuple(_file(item, file) for file in stored),
        left_out=(*_left_out_files(found), *_left_out_logs(found)),
        logs=_logs(item, found, tails),
        collection=_collection(item, found.collection_reason),
        is_collection_failed=item.outputs_state is OutputsState.FAILED,
        may_collect_again=_may_collect_again(item, found),
        is_failed=item.outcome not in {None, Outcome.SUCCEEDED},
        more_files=found.files_count - sum(file.row.count for file in found.files),
        removed=_removed(found.removed_count),
        tables=tables,
    )


def download(url: str, size_bytes: int) -> Download | None:
    """Offer everything as one archive, where there is anything."""
    return Download(url=url, size=text.size(size_bytes)) if size_bytes else None


def _may_collect_again(item: Item, found: Panel) -> bool:
    """Whether another try may bring something: what is not whole, what fails, what was removed from our store."""
    if item.state is not ItemState.FINAL:
        return False
    if item.outputs_state is OutputsState.PENDING:
        return found.collection_reason is not None
    is_removed = item.outputs_state is OutputsState.COLLECTED and found.removed_count > 0
    return item.outputs_state in words.UNFINISHED or is_removed


def _is_followed(item: Item) -> bool:
    """Whether its files are shown as of a moment ago, while it runs: there is no collection to speak of yet."""
    return item.followed_at is not None and item.outcome is None


def _removed(count: int) -> str:
    if not count:
        return ""
    return f"{count} {'file was' if count == 1 else 'files were'} removed; the reasons are listed below."


def _collection(item: Item, reason: str | None) -> str:
    """What became of the collection, in sentences; of one that went well only what is to be noted."""
    said = "" if _is_followed(item) else words.COLLECTION.get(item.outputs_state, "")
    told = [said, text.line(reason or "")]
    return " ".join(sentence for sentence in told if sentence)


def _file(item: Item, file: OutputFile) -> File:
    folder, slash, name = file.row.path.rpartition(b"/")
    is_earlier = file.row.attempt < item.attempt
    url = file_url(item.run_id, item.task_id, file.row.path)
    page_url = addresses.of_file(item.run_id, item.task_id, file.row.path)
    is_in_place = previews.claim(file.row.path) in _IN_PLACE
    return File(
        id=addresses.id_of(file.row.path),
        folder=text.name(folder + slash),
        name=text.name(name),
        url=url,
        src=addresses.of_content(url, file.row.sha256),
        page_url=page_url,
        fragment_url=addresses.of_content(f"{page_url}?fragment=1", file.row.sha256) if is_in_place else "",
        size=text.size(file.row.stored_bytes),
        note="from an earlier attempt" if is_earlier else "",
    )


def _left_out_files(found: Panel) -> Iterator[LeftOut]:
    return (
        _left_out(file.row, text.name(file.row.path)) for file in found.files if file.row.state is not FileState.STORED
    )


def _left_out_logs(found: Panel) -> Iterator[LeftOut]:
    logs = (log for log in (found.stderr, found.stdout) if log is not None and log.state is not FileState.STORED)
    return (_left_out(log, LOGS[log.place]) for log in logs)


def _left_out(row_: LedgerRow, name: str) -> LeftOut:
    reason = words.LEFT_OUT.get(row_.state, text.name(row_.state))
    if row_.removed_at is not None:
        return LeftOut(
            name=text.name(row_.path), size=text.size(row_.size_bytes), count=1, reason=row_.reason or reason
        )
    return LeftOut(
        name=name,
        size=text.size(row_.size_bytes),
        count=row_.count,
        reason=f"{reason}: {text.line(row_.reason)}" if row_.reason else reason,
    )


def _logs(item: Item, found: Panel, tails: Mapping[Place, bytes]) -> tuple[Log, ...]:
    logs = []
    for place, kept in ((Place.STDERR, found.stderr), (Place.STDOUT, found.stdout)):
        if kept is not None and kept.removed_at is not None and kept.stored_bytes:
            logs.append(_removed_log(kept))
            continue
        if kept is None or not kept.stored_bytes or place not in tails:
            continue
        html, is_cut = texts.tail(tails[place], MAX_LOG_LINES)
        logs.append(
            Log(
                place=place,
                title=LOGS[place],
                url=addresses.of_log(item.run_id, item.task_id, place),
                html=html,
                size=text.size(kept.size_bytes),
                is_cut=is_cut or len(tails[place]) < (kept.size_bytes or 0),
                is_open=place is Place.STDERR and item.outcome not in {None, Outcome.SUCCEEDED},
            )
        )
    return tuple(logs)


def _removed_log(kept: LedgerRow) -> Log:
    said = pieces.safe(f"({text.line(kept.reason or '')})")
    return Log(
        place=kept.place,
        title=LOGS[kept.place],
        url="",
        html=said,
        size=text.size(kept.size_bytes),
        is_cut=False,
        is_open=False,
    )
