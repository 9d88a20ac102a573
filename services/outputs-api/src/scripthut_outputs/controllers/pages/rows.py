"""Show one item as a line of the table, with why it is as it is. Pure."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from scripthut_common import text
from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.catalog.views import Item

from . import reasons, words
from .reasons import Reason
from .words import Chip


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One item in the table. `version` is that of the run at which it last changed."""

    task_id: str
    name: str
    url: str
    has_panel: bool
    chip: Chip
    notes: tuple[Reason, ...]
    exit: str
    started_at: datetime | None
    ended_at: datetime | None
    duration: str
    is_running: bool
    is_over: bool
    node: str
    job_id: str
    attempt: int
    version: int = 0
    followed_at: datetime | None = None


def row(item: Item, *, has_panel: bool) -> Row:
    """Show one item as a line of the table."""
    is_running = item.state in {ItemState.RUNNING, ItemState.SETTLING} and item.started_at is not None
    lasted = item.ended_at - item.started_at if item.started_at and item.ended_at else None
    return Row(
        task_id=item.task_id,
        name=text.name(item.task_name),
        url=f"/ui/runs/{item.run_id}/tasks/{item.task_id}",
        has_panel=has_panel,
        chip=words.of_item(item.state, item.outcome),
        notes=tuple(_notes(item)),
        exit=reasons.exit_column(item.exit_code, item.signal),
        started_at=item.started_at,
        ended_at=item.ended_at,
        duration=text.duration(lasted) if lasted is not None else "",
        is_running=is_running,
        is_over=item.outcome is not None,
        node=text.name(item.node or ""),
        job_id=text.name(item.job_id or ""),
        attempt=item.attempt,
        version=item.version,
        followed_at=item.followed_at if item.outcome is None else None,
    )


def _notes(item: Item) -> Iterator[Reason]:
    """Say why an item is as it is, in sentences."""
    said = text.line(item.reason or "")
    ending = reasons.of_ending(item.exit_code, item.signal) if item.outcome is Outcome.FAILED else ""
    if said and not (ending and reasons.says_only_the_code(said)):
        yield reasons.of_waiting(said) if item.outcome is None else reasons.of_outcome(said)
    if ending:
        yield Reason(words=ending)
    if item.outcome is Outcome.UNKNOWN:
        yield Reason(
            words="Nobody knows how this ended: it may have done its work, or not. Look at its files and logs."
        )
    elif item.outcome is not None and not item.confirmed and item.outcome is not Outcome.SUBMISSION_FAILED:
        yield Reason(words="not confirmed by the scheduler")
    if item.is_extending:
        yield Reason(words="The list of further tasks that it generates is being read.")
    if item.extension_error:
        yield Reason(words=f"No further tasks were added: {text.line(item.extension_error)}")
