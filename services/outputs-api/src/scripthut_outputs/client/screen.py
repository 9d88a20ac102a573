"""What is printed: tables and lines for people, one JSON document for scripts; nothing that a terminal would obey.

Whatever the service says was written by somebody: it is shown through `text.name` or `text.line`, never as it is.
"""

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

GAP = "  "
_MIN_ELASTIC = 12
_STYLES = {
    "succeeded": "green",
    "stored": "green",
    "running": "cyan",
    "settling": "cyan",
    "failed": "red",
    "timed_out": "red",
    "out_of_memory": "red",
    "node_failed": "red",
    "submission_failed": "red",
    "cancelled": "yellow",
    "preempted": "yellow",
    "dependency_failed": "yellow",
    "unknown": "magenta",
}


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column. On a narrow terminal elastic ones shrink, then those of the highest `rank` go."""

    title: str
    rank: int = 0
    is_elastic: bool = False
    is_number: bool = False


class _Console(Console):
    """A console that leaves it to the program what to do when its reader has left."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Screen:
    """Standard output for what was asked, standard error for what is said about it."""

    def __init__(self, *, is_json: bool = False) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        self.is_json = is_json
        self.console = _Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.is_terminal = self.console.is_terminal and not is_json
        self.is_plain_text = not (self.console.encoding or "").lower().startswith("utf")

    def say(self, line: str | Text = "") -> None:
        """Print a line for people; scripts that asked for JSON are told nothing."""
        if not self.is_json:
            self.console.print(line, soft_wrap=True)

    def tell(self, answer: Any) -> None:
        """Print the one JSON document, in ASCII alone: a terminal obeys nothing of it."""
        print(json.dumps(msgspec.to_builtins(answer), ensure_ascii=True, indent=2), flush=True)  # noqa: T201  to stdout

    def tell_line(self, answer: Any) -> None:
        """Print one of many JSON documents, on a line of its own."""
        print(json.dumps(msgspec.to_builtins(answer), ensure_ascii=True), flush=True)  # noqa: T201  to stdout

    def note(self, line: str) -> None:
        """Say something on standard error."""
        print(line.encode(errors="backslashreplace").decode(), file=sys.stderr, flush=True)  # noqa: T201  to stderr

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Print rows below their titles; cells are shown as they are given."""
        if self.is_json:
            return
        cells = [[column.title.upper() for column in columns], *map(list, rows)]
        widths = [max(cell_len(row[place]) for row in cells) for place in range(len(columns))]
        if self.is_terminal:
            widths = fit(columns, widths, self.console.width)
        for number, row in enumerate(cells):
            self.say(_row(columns, row, widths, is_title=number == 0))

    def bar(self, counts: Mapping[str, int], width: int = 30) -> Text:
        """Shares of a whole as a bar: `━━━━━━╺╺╺`, a style for each word, ended ones first."""
        total = sum(counts.values()) or 1
        shown, done = Text(), 0
        for word, count in in_order(counts):
            cells = round((done + count) * width / total) - len(shown)
            done += count
            shown.append(self._mark(word) * max(0, cells), style=style_of(word))
        return shown

    def _mark(self, word: str) -> str:
        is_ended = word not in {"pending", "submitted", "queued", "running", "settling"}
        return ("#" if is_ended else ".") if self.is_plain_text else ("━" if is_ended else "╌")


def style_of(word: str) -> str:
    """How a state or an outcome is coloured; the word itself always stands beside it."""
    return _STYLES.get(word, "dim" if word in {"pending", "submitted", "queued"} else "")


def in_order(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Ended ones first, as a bar fills from the left; within that as the words are known, unknown ones last."""
    order = [*_STYLES, "queued", "submitted", "pending"]
    alive = {"running", "settling", "queued", "submitted", "pending"}
    present = [(word, count) for word, count in counts.items() if count]
    return sorted(present, key=lambda one: (one[0] in alive, order.index(one[0]) if one[0] in order else len(order)))


def fit(columns: Sequence[Column], widths: Sequence[int], room: int) -> list[int]:
    """Give widths that fit into a line of `room` cells; 0 for a column that is left out."""
    kept = list(widths)
    while True:
        shown = [place for place, width in enumerate(kept) if width]
        spare = room - sum(kept[place] for place in shown) - len(GAP) * (len(shown) - 1)
        if spare >= 0:
            return kept
        elastic = [place for place in shown if columns[place].is_elastic and kept[place] > _MIN_ELASTIC]
        if elastic:
            widest = max(elastic, key=lambda place: kept[place])
            kept[widest] = max(_MIN_ELASTIC, kept[widest] + spare)
            continue
        going = max(shown, key=lambda place: columns[place].rank)
        if columns[going].rank == 0:
            return kept
        kept = [0 if not width or place == going else widths[place] for place, width in enumerate(kept)]


def _row(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int], *, is_title: bool) -> Text:
    parts = []
    for column, cell, width in zip(columns, row, widths, strict=True):
        if not width:
            continue
        shown = Text(cell, style="bold" if is_title else style_of(cell))
        shown.truncate(width, overflow="ellipsis")
        padding = " " * (width - shown.cell_len)
        parts.append(Text.assemble(padding, shown) if column.is_number else Text.assemble(shown, padding))
    line = Text(GAP).join(parts)
    line.rstrip()
    return line
