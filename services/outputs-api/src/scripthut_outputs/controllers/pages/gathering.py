"""Gather from the catalog and the blob store what one page shows."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from scripthut_common.errors import NotFound, StoreUnavailable
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.catalog.views import Item, Panel
from scripthut_outputs.controllers.inlining import Allowance, MaxInline
from scripthut_outputs.controllers.small import Blobs
from scripthut_outputs.ledger import MOVING, FileState, LedgerRow, Place
from scripthut_outputs.rendering.previews import terminal

from . import showing, text
from .glimpses import Glimpses

ITEMS_A_PAGE = 50
MAX_OPEN_PANELS = 12
_FILES_A_PANEL = 100
_FILES_A_PAGE = 500
_DOCUMENT_BYTES = 256 * 1024
_TAIL_BYTES = 16 * 1024
_UNREADABLE = b"(the store of this service cannot give it just now)"


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the page of a run but what is wrong with its cluster."""

    run: showing.RunCard
    rows: tuple[showing.Row, ...]
    panels: tuple[showing.TaskPanel, ...]
    sections: tuple[showing.Document, ...]
    next_url: str | None
    is_moving: bool
    download: showing.Download | None


class TaskPage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the page of a task. `facts` are terms with a text or a time; `command` is empty if unknown."""

    run: showing.RunCard
    panel: showing.TaskPanel
    facts: tuple[tuple[str, str | datetime], ...]
    command: str
    next_url: str | None
    is_moving: bool
    download: showing.Download | None


async def run_page(reading: Reading, blobs: Blobs, max_inline: MaxInline, run_id: str, cursor: str | None) -> RunPage:
    """Gather a page of a run's items with what they left behind; the run summary stands on the first."""
    run = await reading.run(run_id)
    listed = await reading.items(run_id, limit=ITEMS_A_PAGE, cursor=cursor)
    found = await reading.panels(
        run_id,
        [item.task_id for item in listed.items],
        max_files=_FILES_A_PANEL,
        max_html_bytes=_DOCUMENT_BYTES,
    )
    allowance = Allowance(max_inline)
    contributions = () if cursor else (await reading.summary(run_id)).sections
    sections = showing.sections(run_id, contributions, allowance)
    panels = await _panels(blobs, listed.items, found, allowance)
    shown = {panel.row.task_id for panel in panels}
    card = showing.run_card(run)
    return RunPage(
        run=card,
        rows=tuple(showing.row(item, has_panel=item.task_id in shown) for item in listed.items),
        panels=panels,
        sections=sections,
        next_url=listed.next and f"{card.url}?cursor={listed.next}",
        is_moving=card.is_alive
        or any(item.outputs_state in MOVING for item in listed.items)
        or any(panel.is_waiting for panel in panels)
        or any(section.is_waiting for section in sections),
        download=showing.download(f"/runs/{run_id}/archive", await reading.stored_bytes(run_id)),
    )


async def task_page(reading: Reading, blobs: Blobs, max_inline: MaxInline, item: Item, cursor: str | None) -> TaskPage:
    """Gather a page of a task's files, and its logs."""
    run = showing.run_card(await reading.run(item.run_id))
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
    allowance = Allowance(max_inline)
    tables = await Glimpses(blobs, allowance).of(item, found)
    panel = showing.panel(item, found, await _tails(blobs, found), allowance, is_open=True, tables=tables)
    return TaskPage(
        run=run,
        panel=panel,
        facts=_facts(item),
        command=terminal.plain(str((item.definition or {}).get("command", "")).encode("utf-8", "replace")),
        next_url=outputs.next and f"{panel.row.url}?cursor={outputs.next}",
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
    blobs: Blobs, items: Sequence[Item], found: Mapping[str, Panel], allowance: Allowance
) -> tuple[showing.TaskPanel, ...]:
    glimpses = Glimpses(blobs, allowance)
    made = [
        showing.panel(
            item,
            found[item.task_id],
            await _tails(blobs, found[item.task_id]),
            allowance,
            is_open=True,
            tables=await glimpses.of(item, found[item.task_id]),
        )
        for item in items
    ]
    panels = [panel for panel in made if panel.has_anything]
    if len(panels) <= MAX_OPEN_PANELS:
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
    row = showing.row(item, has_panel=False)
    facts: tuple[tuple[str, str | datetime | None], ...] = (
        ("Exit", row.exit),
        ("Submitted", item.submitted_at),
        ("Started", item.started_at),
        ("Ended", item.ended_at),
        ("Took", row.duration),
        ("Node", row.node),
        ("Job", row.job_id),
        ("Attempt", str(item.attempt or "")),
        ("Generated by", item.generated_by),
        ("Scheduler's word", text.line(item.scheduler_word or "")),
        ("Outputs collected", item.collected_at),
        ("Directory on the cluster", text.name(item.output_dir or "")),
    )
    return tuple((term, value) for term, value in facts if value)
