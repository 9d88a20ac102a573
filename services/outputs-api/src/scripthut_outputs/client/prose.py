"""Read a rendered document's HTML back as text for a terminal. Pure.

Blocks stand apart, lists have marks, tables have columns; a link's address stands behind its text, a picture is
its description and address.
"""

import re
from collections.abc import Sequence
from html.parser import HTMLParser

from rich.cells import cell_len

from scripthut_common import text

_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_BLOCKS = _HEADINGS | {"p", "div", "blockquote", "pre", "ul", "ol", "dl", "figure", "details", "section"}
_LINES = frozenset({"dt", "dd", "summary", "figcaption", "caption"})
_CELLS = frozenset({"td", "th"})
_TABLES = _CELLS | {"table", "tr"}
_HIDDEN = frozenset({"script", "style", "annotation"})
_SPACE = re.compile(r"[ \t\r\n]+")
_GAPS = re.compile(r"\n{3,}")


def read(html: str) -> str:
    """Give the text of a document, without what a terminal would obey."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = (line.rstrip(" ") for line in reader.written().split("\n"))
    return _GAPS.sub("\n\n", "\n".join(lines)).strip("\n")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._lists: list[int | None] = []
        self._rows: list[list[str]] = []
        self._links: list[str | None] = []
        self._cell: list[str] | None = None
        self._pre = self._hidden = 0
        self._is_in_table = False

    def written(self) -> str:
        return "".join(self._parts)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag in _TABLES:
            self._open_in_table(tag)
        elif tag in {"ul", "ol"}:
            self._lists.append(int(given.get("start") or 1) if tag == "ol" else None)
        elif tag == "li":
            self._write(f"\n{'  ' * (len(self._lists) - 1)}{self._mark()} ")
        elif tag == "br":
            self._write("\n")
        elif tag == "hr":
            self._write("\n\n----\n\n")
        elif tag == "img":
            self._write(f"[picture: {' '.join(filter(None, (given.get('alt'), given.get('src'))))}]")
        elif tag == "a":
            self._links.append(given.get("href"))
        self._enter(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in _CELLS and self._cell is not None:
            cell, self._cell = " ".join("".join(self._cell).split()), None
            (self._rows or [[]])[-1].append(cell)
        elif tag == "table":
            self._is_in_table = False
            self._write("\n\n" + "\n".join(_columns(self._rows)) + "\n\n")
        elif tag in {"ul", "ol"} and self._lists:
            self._lists.pop()
        elif tag == "a" and self._links:
            href = self._links.pop()
            self._write(f" <{href}>" if href else "")
        elif tag == "pre":
            self._pre = max(0, self._pre - 1)
        if tag in _BLOCKS:
            self._write("\n" if self._lists else "\n\n")

    def handle_data(self, data: str) -> None:
        if self._hidden or (self._is_in_table and self._cell is None):
            return
        if self._pre:
            self._write("\n".join(f"    {line}" for line in data.rstrip("\n").split("\n")))
        elif shown := _SPACE.sub(" ", data):
            is_at_start = not self._parts or self._parts[-1].endswith("\n")
            self._write(shown.lstrip(" ") if is_at_start and self._cell is None else shown)

    def _open_in_table(self, tag: str) -> None:
        if tag == "table":
            self._rows, self._is_in_table = [], True
        elif tag == "tr":
            self._rows.append([])
        else:
            self._cell = []

    def _enter(self, tag: str) -> None:
        if tag == "pre":
            self._pre += 1
        if tag in _BLOCKS:
            self._write("" if self._lists else "\n\n")
        elif tag in _LINES:
            self._write("\n")
        if tag in _HEADINGS:
            self._write("#" * int(tag[1]) + " ")

    def _mark(self) -> str:
        if not self._lists or self._lists[-1] is None:
            return "-"
        self._lists[-1] += 1
        return f"{self._lists[-1] - 1}."

    def _write(self, written: str) -> None:
        shown = "\n".join(text.name(part) if part.strip() else part for part in written.split("\n"))
        (self._parts if self._cell is None else self._cell).append(shown)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    places = max((len(row) for row in rows), default=0)
    widths = [max((cell_len(row[at]) for row in rows if at < len(row)), default=0) for at in range(places)]
    lines = [
        "  ".join(cell + " " * (widths[at] - cell_len(cell)) for at, cell in enumerate(row)).rstrip() for row in rows
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]] if lines else []
