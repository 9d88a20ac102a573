"""Gather from the catalog and the blob store what one page shows."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from scripthut_common import text
from scripthut_common.errors import NotFound, StoreUnavailable
from scripthut_outputs.catalog.asked import ItemsAsked
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.catalog.views import Item, Panel, RunHead
from scripthut_outputs.controllers.inlining import Allowance
from scripthut_outputs.controllers.parts import Parts
from scripthut_outputs.controllers.small import Blobs
from scripthut_outputs.ledger import MOVING, FileState, LedgerRow, Place
from scripthut_outputs.rendering.previews import terminal

from . import documents, filters, showing
from .cards import RunCard, run_card
from .filters import ItemsBar
from .glimpses import Glimpses
from .rows import Row, row

ITEMS_A_PAGE = 100
MAX_OPEN_PANELS = 12
_FILES_A_PANEL = 100
_FILES_A_PAGE = 500
_DOCUMENT_BYTES = 256 * 1024
_TAIL_BYTES = 16 * 1024
_UNREADABLE = b"(the store of this service cannot give it just now)"


class View(msgspec.Struct, frozen=True, kw_only=True):
    """How a reader sees a run's tasks; `since`: a version of which the reader has the page already, or -1."""

    asked: ItemsAsked = ItemsAsked()
    cursor: str | None = None
    since: int = -1


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the page of a run but what is wrong with its cluster; only what changed after version `since`."""

    run: RunCard
    bar: ItemsBar
    rows: tuple[Row, ...]
    panels: dict[str, showing.TaskPanel]
    sections: tuple[documents.Document, ...]
    is_summary_same: bool
    next_url: str | None
    is_moving: bool
    is_later: bool
    since: int
    download: showing.Download | None


class TaskPage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the page of a task. `facts` are terms with a text or a time; `command` is empty if unknown."""

    run: RunCard
    panel: showing.TaskPanel
    facts: tuple[tuple[str, str | datetime], ...]
    command: str
    next_url: str | None
    is_moving: bool
    is_later: bool
    download: showing.Download | None


async def run_page(parts: Parts, head: RunHead, view: View) -> RunPage:
    """Gather a page of a run's items with what they left behind; the run summary stands on the first."""
    reading, run_id = parts.reading, head.run_id
    card = run_card(await reading.run(run_id))
    listed = await reading.items(run_id, view.asked, limit=ITEMS_A_PAGE, cursor=view.cursor)
    chosen = await reading.chosen(run_id, view.asked)
    allowance = Allowance(parts.max_inline)
    is_summary_same = head.summary_version <= view.since
    sections = await _sections(reading, run_id, view, allowance, is_same=is_summary_same)
    panels = await _panels(parts, listed.items, view.since, allowance)
    with_panel = {panel.row.task_id for panel in panels}
    return RunPage(
        run=card,
        bar=filters.items_bar(card, view.asked, chosen),
        rows=tuple(row(item, has_panel=item.task_id in with_panel) for item in listed.items),
        panels={panel.row.task_id: panel for panel in panels},
        sections=sections,
        is_summary_same=is_summary_same and view.cursor is None and not view.asked.is_filtered,
        next_url=listed.next and filters.items_url(card.url, view.asked, cursor=listed.next),
        is_moving=card.is_alive
        or any(item.outputs_state in MOVING for item in listed.items)
        or any(panel.is_waiting for panel in panels)
        or any(section.is_waiting for section in sections),
        is_later=view.cursor is not None,
        since=view.since,
        download=showing.download(f"/runs/{run_id}/archive", await reading.stored_bytes(run_id)),
    )


async def _sections(
    reading: Reading, run_id: str, view: View, allowance: Allowance, *, is_same: bool
) -> tuple[documents.Document, ...]:
    if view.cursor is not None or view.asked.is_filtered or is_same:
        return ()
    return documents.sections(run_id, (await reading.summary(run_id)).sections, allowance)


async def task_page(parts: Parts, item: Item, cursor: str | None) -> TaskPage:
    """Gather a page of a task's files, and its logs."""
    reading = parts.reading
    run = run_card(await reading.run(item.run_id))
    outputs = await reading.outputs(item.run_id, item.task_id, limit=_FILES_A_PAGE, cursor=cursor)
    logs = {place: await reading.log(item.run_id, item.task_id, place) for place in (Place.STDOUT, Place.STDERR)}
    found = Panel(
        files=outputs.files,
        files_count=sum(file.row.count for file in outputs.files),
        removed_count=outputs.removed_count,
        counts=outputs.counts,
        stdout=logs[Place.STDOUT],
        stderr=logs[Place.STDERR],
        collection_reason=item.collection_reason,
    )
    allowance = Allowance(parts.max_inline)
    tables = await Glimpses(parts.previewer, allowance).of(item, found)
    panel = showing.panel(item, found, await _tails(parts.blobs, found), allowance, tables=tables)
    return TaskPage(
        run=run,
        panel=panel,
        facts=_facts(item),
        command=terminal.plain(str((item.definition or {}).get("command", "")).encode("utf-8", "replace")),
        next_url=outputs.next and f"{panel.row.url}?cursor={outputs.next}",
        is_later=cursor is not None,
        is_moving=item.ended_at is None or item.is_extending or item.outputs_state in MOVING or panel.is_waiting,
        download=showing.download(
            f"/runs/{item.run_id}/tasks/{item.task_id}/outputs/archive",
            outputs.stored_bytes + sum(_stored_bytes(log) for log in logs.values()),
        ),
    )


def _stored_bytes(log: LedgerRow | None) -> int:
    """How much of a log is held; what was removed has a size too."""
    return (log.stored_bytes or 0) if log is not None and log.state is FileState.STORED else 0


async def _panels(
    parts: Parts, items: Sequence[Item], since: int, allowance: Allowance
) -> tuple[showing.TaskPanel, ...]:
    """Make the panels of those items that changed after version `since`."""
    changed = [item for item in items if item.version > since]
    if not changed:
        return ()
    found = await parts.reading.panels(
        changed[0].run_id,
        [item.task_id for item in changed],
        max_files=_FILES_A_PANEL,
        max_html_bytes=_DOCUMENT_BYTES,
    )
    glimpses = Glimpses(parts.previewer, allowance)
    made = [
        showing.panel(
            item,
            found[item.task_id],
            await _tails(parts.blobs, found[item.task_id]),
            allowance,
            tables=await glimpses.of(item, found[item.task_id]),
        )
        for item in changed
    ]
    panels = [panel for panel in made if panel.has_anything]
    # Those that did not change count too: they have a panel if they have anything.
    others = sum(item.has_outputs for item in items if item.version <= since)
    if len(panels) + others <= MAX_OPEN_PANELS:
        return tuple(panels)
    return tuple(msgspec.structs.replace(panel, is_open=panel.is_failed) for panel in panels)


async def _tails(blobs: Blobs, found: Panel) -> dict[Place, bytes]:
    logs = {Place.STDOUT: found.stdout, Place.STDERR: found.stderr}
    return {place: await _tail(blobs, log) for place, log in logs.items() if log is not None and _is_held(log)}


def _is_held(log: LedgerRow) -> bool:
    return log.state is FileState.STORED and bool(log.stored_bytes)


async def _tail(blobs: Blobs, log: LedgerRow) -> bytes:
    start = max(0, (log.stored_bytes or 0) - _TAIL_BYTES)
    try:
        raw = await blobs.read(log.sha256 or "", start=start)
    except (NotFound, StoreUnavailable):
        return _UNREADABLE
    return raw.partition(b"\n")[2] or raw if start else raw


def _facts(item: Item) -> tuple[tuple[str, str | datetime], ...]:
    shown = row(item, has_panel=False)
    facts: tuple[tuple[str, str | datetime | None], ...] = (
        ("Exit", shown.exit),
        ("Submitted", item.submitted_at),
        ("Started", item.started_at),
        ("Ended", item.ended_at),
        ("Took", shown.duration),
        ("Node", shown.node),
        ("Job", shown.job_id),
        ("Attempt", str(item.attempt or "")),
        ("Generated by", item.generated_by),
        ("Scheduler's word", text.line(item.scheduler_word or "")),
        ("Outputs collected", item.collected_at),
        ("Directory on the cluster", text.name(item.output_dir or "")),
    )
    return tuple((term, value) for term, value in facts if value)
