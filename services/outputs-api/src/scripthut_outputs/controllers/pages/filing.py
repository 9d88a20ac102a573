"""Gather what the page of one file shows: the file, what is known of it, its preview, its neighbours."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from scripthut_common import text
from scripthut_common.errors import NotFound
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.controllers.parts import Parts
from scripthut_outputs.controllers.previewing import Subject, View, subject
from scripthut_outputs.ledger import FileState, LedgerRow, Place
from scripthut_outputs.rendering import file_url, notice
from scripthut_outputs.rendering.previews import Choice, Format, Preview

from . import addresses, documents, showing, templating, words

Frame = Mapping[str, object]
"""What stands around the parts of a page; see `giving.frame`."""

_HEADINGS_FROM = 2
_WORDS: dict[Format, str] = {
    Format.IMAGE: "Picture",
    Format.DRAWING: "SVG drawing",
    Format.PDF: "PDF",
    Format.MARKDOWN: "Markdown",
    Format.TABLE: "Table",
    Format.JSON: "JSON",
    Format.JSON_LINES: "JSON lines",
    Format.NOTEBOOK: "Notebook",
    Format.CODE: "Code",
    Format.TEXT: "Text",
    Format.BINARY: "Binary data",
    Format.EMPTY: "Empty file",
}
_WITH_SOURCE = frozenset(
    {Format.MARKDOWN, Format.TABLE, Format.JSON, Format.JSON_LINES, Format.NOTEBOOK, Format.DRAWING}
)


class Filed(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the ledger. `subject` is `None` when we do not hold it; `raw_url`: where its bytes are served."""

    run_id: str
    task_id: str
    title: str
    folder: str
    row: LedgerRow
    url: str
    raw_url: str | None
    subject: Subject | None


class Standing(StrEnum):
    """Whether a preview is made when it is asked for, or waits for what the collector renders, or has it."""

    MADE_HERE = "made here"
    WAITING = "waiting"
    RENDERED = "rendered"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Somewhere to go on. `is_current`: this is where the reader is."""

    word: str
    url: str
    is_current: bool = False


async def find(reading: Reading, run_id: str, task_id: str, path: bytes) -> Filed:
    """Find an output file by the exact bytes of its path.

    Raises:
        NotFound: the ledger has no such file.
    """
    row = await reading.file(run_id, task_id, path)
    folder, slash, name = path.rpartition(b"/")
    url = addresses.of_file(run_id, task_id, path)
    is_held = _is_held(row)
    return Filed(
        run_id=run_id,
        task_id=task_id,
        title=text.name(name),
        folder=text.name(folder + slash),
        row=row,
        url=url,
        raw_url=file_url(run_id, task_id, path) if is_held else None,
        subject=subject(run_id, task_id, path, url, row) if is_held else None,
    )


async def find_log(reading: Reading, run_id: str, task_id: str, place: Place) -> Filed:
    """Find standard output or error.

    Raises:
        NotFound: nothing is known of it.
    """
    row = await reading.log(run_id, task_id, place)
    if row is None:
        raise NotFound("there is no such log")
    url = addresses.of_log(run_id, task_id, place)
    return Filed(
        run_id=run_id,
        task_id=task_id,
        title=showing.LOGS[place],
        folder="",
        row=row,
        url=url,
        raw_url=None,
        subject=subject(run_id, task_id, f"{place}.log".encode(), url, row) if _is_held(row) else None,
    )


async def standing(parts: Parts, filed: Filed, choice: Choice) -> Standing:
    """Tell what a preview depends on besides the bytes."""
    if choice.format is not Format.MARKDOWN:
        return Standing.MADE_HERE
    rendered = await parts.reading.rendered(filed.run_id, filed.task_id, Place.OUTPUT, filed.row.path)
    return Standing.WAITING if rendered.html is None else Standing.RENDERED


async def content(parts: Parts, filed: Filed, choice: Choice, view: View, *, reader: str) -> Preview:
    """Make the preview: of Markdown what the collector rendered, of all else what the previewer makes.

    Raises:
        NotFound: we do not hold the file.
    """
    if filed.subject is None:
        raise NotFound("we do not hold this file")
    if choice.format is Format.MARKDOWN and not view.is_source:
        return await _document(parts.reading, filed)
    return await parts.previewer.preview(filed.subject, choice, view, reader=reader)


async def page(
    parts: Parts, filed: Filed, choice: Choice, view: View, frame: Frame, *, reader: str, made_of: str
) -> str:
    """Write the page of a file that we hold, or what a page that stands asks for; `made_of` names what it shows."""
    preview = await content(parts, filed, choice, view, reader=reader)
    return await _write(
        parts,
        filed,
        frame,
        html=preview.html,
        made_of=made_of,
        kind=choice.magic or _WORDS[choice.format],
        switches=tuple(_switches(filed, choice, view)),
        reason=None,
    )


async def left_out_page(parts: Parts, filed: Filed, frame: Frame) -> str:
    """Write the page of a file that stands in the ledger and not in our store: why."""
    row = filed.row
    said = words.LEFT_OUT.get(row.state, text.name(row.state))
    if row.removed_at is not None:
        reason = f"This file is no longer here: {text.line(row.reason or said)}."
    else:
        reason = f"This file was left out: {said}{f' ({text.line(row.reason)})' if row.reason else ''}."
    return await _write(parts, filed, frame, html=None, made_of="", kind="", switches=(), reason=reason)


async def _write(parts: Parts, filed: Filed, frame: Frame, **shown: object) -> str:
    run = await parts.reading.head(filed.run_id)
    item = await parts.reading.item(filed.run_id, filed.task_id)
    before = after = None
    if filed.row.place is Place.OUTPUT:
        neighbours = await parts.reading.neighbours(filed.run_id, filed.task_id, filed.row.path)
        before, after = _neighbour(filed, neighbours.before), _neighbour(filed, neighbours.after)
    return templating.write(
        "file.html",
        filed=filed,
        followed_at=filed.row.followed_at if item.outcome is None else None,
        run_name=text.name(run.name),
        run_url=f"/ui/runs/{run.run_id}",
        task_name=text.name(item.task_name),
        task_url=addresses.of_task(filed.run_id, filed.task_id),
        facts=_facts(filed.row, is_earlier=filed.row.attempt < item.attempt),
        before=before,
        after=after,
        **frame,
        **shown,
    )


async def _document(reading: Reading, filed: Filed) -> Preview:
    run_id, task_id, path = filed.run_id, filed.task_id, filed.row.path
    rendered = await reading.rendered(run_id, task_id, Place.OUTPUT, path)
    if rendered.html is None:
        return Preview(html=notice("It is being rendered: look again in a moment."))
    html = documents.on_our_page(rendered.html, run_id, task_id, path, headings_from=_HEADINGS_FROM)
    return Preview(html=f'<div class="document">{html}</div>', reason=rendered.reason)


def _is_held(row: LedgerRow) -> bool:
    return row.state is FileState.STORED and row.sha256 is not None and row.stored_bytes is not None


def _facts(row: LedgerRow, *, is_earlier: bool) -> tuple[tuple[str, str | datetime], ...]:
    cut = (
        f", the last {text.size(row.stored_bytes)} are kept" if (row.stored_bytes or 0) < (row.size_bytes or 0) else ""
    )
    facts: tuple[tuple[str, str | datetime | None], ...] = (
        ("Size", f"{text.size(row.size_bytes)}{cut if row.stored_bytes is not None else ''}"),
        ("Written", None if row.modified_at is None else datetime.fromtimestamp(row.modified_at, UTC)),
        ("Collected" if _is_held(row) else "Seen", row.collected_at),
        ("Attempt", f"{row.attempt}{', an earlier one' if is_earlier else ''}" if row.attempt else None),
        ("On the cluster", text.name(row.remote_path or "")),
    )
    return tuple((term, value) for term, value in facts if value)


def _neighbour(filed: Filed, path: bytes | None) -> Link | None:
    if path is None:
        return None
    return Link(word=text.name(path), url=addresses.of_file(filed.run_id, filed.task_id, path))


def _switches(filed: Filed, choice: Choice, view: View) -> Iterator[Link]:
    """Other views of the same file; none where there is but one."""
    if choice.format in _WITH_SOURCE:
        yield Link(word=_WORDS[choice.format], url=filed.url, is_current=not view.is_source)
        yield Link(word="Source", url=f"{filed.url}?view=source", is_current=view.is_source)
