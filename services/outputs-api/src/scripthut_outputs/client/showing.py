"""Show a run, a task, or the end of a task's log."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from scripthut_common import text
from scripthut_common.layout import TASK_SUMMARY_NAME

from . import prose
from .answers import Detail, Item, Output, Outputs, RunWithItems, Task, read
from .api import Api
from .exits import Exit
from .paging import outputs, run_with_items, task_path
from .screen import Column, Screen
from .wording import counted, ending, lasted, named, word_of

_ITEMS = (
    Column(title="task", is_elastic=True),
    Column(title="state"),
    Column(title="lasted", is_number=True, rank=2),
    Column(title="name", is_elastic=True, rank=4),
    Column(title="job", rank=5),
    Column(title="outputs", rank=3),
    Column(title="why", is_elastic=True, rank=1),
)
_FILES = (
    Column(title="size", is_number=True, rank=1),
    Column(title="state"),
    Column(title="file", is_elastic=True),
    Column(title="why not", is_elastic=True, rank=2),
)
_MAX_SHOWN_FILES = 1000
_LOGS = {"stdout": "output", "stderr": "error"}


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """Which log, and how many of its last lines; `None` for all."""

    name: str
    tail: int | None = None


async def run(api: Api, screen: Screen, run_id: str, *, limit: int | None) -> Exit:
    """Show a run and so many of its tasks; `None` for all."""
    answer, found = await run_with_items(api, run_id, limit)
    if screen.is_json:
        screen.tell(answer)
        return Exit.FINE
    _say_head(screen, found)
    now = datetime.now(UTC)
    shown = found.items if limit is None else found.items[:limit]
    screen.say()
    screen.table(_ITEMS, [_item_row(item, now) for item in shown])
    left = sum(found.counts.values()) - len(shown)
    if left > 0:
        screen.note(f"{left:,} more tasks; --all shows all.")
    return Exit.FINE


async def task(api: Api, screen: Screen, run_id: str, task_id: str) -> Exit:
    """Show what is known of one task, its files, and its summary as text."""
    answer = await api.get(task_path(run_id, task_id))
    pages = [page async for page in outputs(api, run_id, task_id)]
    if screen.is_json:
        files = [file for page, _ in pages for file in page["outputs"]]
        screen.tell({"task": answer, "outputs": {**pages[-1][0], "outputs": files}})
        return Exit.FINE
    found = read(answer, Task)
    for name, told in _facts(found, pages[-1][1]):
        screen.say(f"{name + ':':<12}{told}")
    _say_files(screen, run_id, task_id, [file for _, page in pages for file in page.outputs])
    return Exit.FINE


async def log(api: Api, screen: Screen, run_id: str, task_id: str, wanted: Log) -> Exit:
    """Print what a task wrote to standard output or error, without what a terminal would obey."""
    answer = await api.get(f"{task_path(run_id, task_id)}/detail/{_LOGS[wanted.name]}", tail=wanted.tail)
    if screen.is_json:
        screen.tell(answer)
        return Exit.FINE
    found = read(answer, Detail)
    if found.content is None:
        screen.note(f"There is no {wanted.name} to show: {text.line(found.error or 'nobody says why')}")
        return Exit.NOT_FOUND
    if found.truncated:
        screen.note(f"Only the end of {wanted.name} was collected; all of it is at {text.name(found.path or '')}.")
    # The renderer takes a while to load, and few commands need it.
    from scripthut_outputs.rendering.previews import terminal  # noqa: PLC0415

    shown = terminal.plain(found.content.encode())
    if shown:
        screen.say(shown)
    return Exit.FINE


def _say_head(screen: Screen, run: RunWithItems) -> None:
    screen.say(f"{text.name(run.name)}  ({text.name(run.run_id)})")
    stale = ", and what is shown may be out of date" if run.cluster_stale else ""
    cluster = f"{text.name(run.cluster)}" + (f" ({text.name(run.cluster_state)}{stale})" if run.cluster_state else "")
    seen_by = f", open to {text.name(run.open_to)}" if run.open_to else ""
    owner = f"{text.name(run.owner)}{seen_by}"
    screen.say(f"{word_of(run.state)}, on {cluster}, of {owner}, {text.when(run.created_at)}")
    if screen.is_terminal:
        screen.say(screen.bar(run.counts))
    screen.say(counted(run.counts))


def _item_row(item: Item, now: datetime) -> tuple[str, ...]:
    return (
        text.name(item.task_id),
        word_of(item.word),
        lasted(item, now),
        named(item),
        text.name(item.job_id or ""),
        "" if item.outputs_state == "none" else word_of(item.outputs_state),
        ending(item),
    )


def _facts(task: Task, files: Outputs) -> list[tuple[str, str]]:
    doubt = "" if task.confirmed or task.outcome is None else " (not confirmed by the scheduler)"
    facts: list[tuple[str, Any]] = [
        ("task", text.name(task.task_id)),
        ("name", named(task)),
        ("run", text.name(task.run_id)),
        ("state", word_of(task.word) + doubt),
        ("why", ending(task)),
        ("lasted", lasted(task, datetime.now(UTC))),
        ("ended", text.when(task.ended_at) if task.ended_at else ""),
        ("job", text.name(task.job_id or "")),
        ("attempt", str(task.attempt) if task.attempt > 1 else ""),
        ("node", text.name(task.node or "")),
        ("cluster", text.name(task.cluster)),
        ("directory", text.name(task.output_dir or "")),
        ("outputs", word_of(files.outputs_state)),
        ("because", text.line(files.collection_reason or "")),
        ("its list", text.line(task.extension_error or "")),
    ]
    return [(name, told) for name, told in facts if told]


def _say_files(screen: Screen, run_id: str, task_id: str, files: list[Output]) -> None:
    if files:
        screen.say()
        screen.table(_FILES, [_file_row(file) for file in files[:_MAX_SHOWN_FILES]])
    if len(files) > _MAX_SHOWN_FILES:
        screen.note(f"{len(files) - _MAX_SHOWN_FILES:,} more files; --json shows all.")
    summary = next((file for file in files if file.path == TASK_SUMMARY_NAME), None)
    if summary is not None and summary.rendered_html:
        screen.say()
        address = f"{task_path(run_id, task_id)}/outputs/file/"
        screen.say(prose.read(summary.rendered_html.replace(f'="{address}', '="')))


def _file_row(file: Output) -> tuple[str, ...]:
    shown = text.name(file.path) if file.path else f"({file.count:,} files)"
    why = "" if file.state == "stored" else text.line(file.reason or "")
    return text.size(file.size), word_of(file.state), shown, why
