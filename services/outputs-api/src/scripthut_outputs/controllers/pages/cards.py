"""Show a run: as a line of the list and as the head of its page. Pure."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from scripthut_common import text
from scripthut_common.events import RunState
from scripthut_outputs.catalog.views import RunOverview

from . import banners, words
from .words import Chip


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """One segment of a run's bar; `start` and `width` in percent of its length. `word` is what it counts."""

    word: str
    chip: Chip
    count: int
    start: float
    width: float


class RunCard(msgspec.Struct, frozen=True, kw_only=True):
    """A run as a line of the list and as the head of its page. `alive_count`: of its items.

    `open_to`: who may read it besides its owner and admins; empty for nobody.
    """

    run_id: str
    name: str
    url: str
    chip: Chip
    cluster: str
    owner: str
    created_at: datetime
    shares: tuple[Share, ...]
    items_count: int
    alive_count: int
    is_alive: bool
    is_waiting: bool
    is_unfinished: bool
    is_collecting: bool
    started_at: datetime | None
    took: str
    pinned: str = ""
    open_to: str = ""

    @property
    def progress(self) -> str:
        """How far a run has come, for the title of its page; empty once it is over."""
        return f"{self.items_count - self.alive_count}/{self.items_count}" if self.is_alive else ""


def run_card(run: RunOverview) -> RunCard:
    """Show a run with its bar."""
    is_alive = run.state in banners.ALIVE
    lasted = run.ended_at - run.started_at if run.ended_at and run.started_at and not is_alive else None
    return RunCard(
        run_id=run.run_id,
        name=text.name(run.name),
        url=f"/ui/runs/{run.run_id}",
        chip=words.RUNS[run.state],
        cluster=run.cluster,
        owner=text.name(run.owner),
        created_at=run.created_at,
        shares=shares(run.counts),
        items_count=sum(run.counts.values()),
        alive_count=sum(count for word, count in run.counts.items() if word in words.STATES),
        is_alive=is_alive,
        is_waiting=run.state is RunState.PENDING,
        is_unfinished=run.is_unfinished,
        is_collecting=run.is_collecting,
        started_at=run.started_at,
        took="" if lasted is None else text.duration(lasted),
        pinned=text.name(run.pinned_by or "somebody") if run.pinned else "",
        open_to=_open_to(run),
    )


def _open_to(run: RunOverview) -> str:
    """Who may read a run besides its owner and admins; empty for nobody."""
    match run.visibility:
        case "instance":
            return "everybody here"
        case "group":
            return text.name(run.group or "")
        case _:
            return ""


def shares(counts: Mapping[str, int]) -> tuple[Share, ...]:
    """Lay counts by word out as a bar: what ended first, what waits last."""
    order: list[str] = [*words.OUTCOMES, *reversed(words.STATES)]
    places = {word: place for place, word in enumerate(order)}
    present = sorted((word for word, count in counts.items() if count), key=lambda word: places.get(word, len(order)))
    total, start, laid_out = sum(counts.values()), 0.0, []
    for word in present:
        width = 100 * counts[word] / total
        chip = words.of_count(word)
        laid_out.append(Share(word=word, chip=chip, count=counts[word], start=round(start, 3), width=round(width, 3)))
        start += width
    return tuple(laid_out)
