"""Show CSV and TSV as a table: the first row is its header, numbers align as numbers, rows come in pages. Pure."""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from io import StringIO

import msgspec

from .asking import Asked
from .choosing import suffix_of
from .pieces import decode, note, safe, shortened

ROWS_A_PAGE = 100
ROWS_A_FRAGMENT = 50
MAX_COLUMNS = 100
_MAX_FIELD_CHARACTERS = 64 * 1024 * 1024
_SEPARATORS = ",;\t|"
_SAMPLE_LINES = 20
_NUMBER = re.compile(
    r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[ed][-+]?\d{1,4})?%?|[-+]?(?:nan|inf(?:inity)?)", re.IGNORECASE | re.ASCII
)
_MAX_NUMBER_CHARACTERS = 64
_ABSENT = frozenset({"", "na", "n/a", "nan", "null", "none", "-"})
Rows = list[list[str]]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a table. `columns`: of its widest row, `is_numeric`: by column, as far as columns are shown."""

    header: list[str]
    rows: Rows
    columns: int
    is_numeric: list[bool]
    encoding: str

    @property
    def shown_columns(self) -> int:
        """How many columns have room."""
        return min(self.columns, MAX_COLUMNS)


def show(content: bytes, asked: Asked) -> str:
    """Show a page of a table; a large one's head alone is read, and said to be that."""
    table = read(content, separator="\t" if suffix_of(asked.path) == "tsv" else "", is_whole=asked.is_whole)
    rows = _sorted(table, asked.sort - 1, is_descending=asked.is_descending)
    size = ROWS_A_FRAGMENT if asked.is_fragment else ROWS_A_PAGE
    last_page = max(1, math.ceil(len(rows) / size))
    page = min(max(1, asked.page), last_page)
    shown = rows[(page - 1) * size : page * size]
    is_complete = last_page == 1 and asked.is_whole and table.columns <= MAX_COLUMNS
    return "".join(
        (
            f'<p class="preview-facts">{_count(table, content, asked)}</p>',
            _html(table, shown, asked, is_complete=is_complete, first_row=(page - 1) * size + 1),
            _pager(page, last_page, asked),
        )
    )


def read(content: bytes, *, separator: str = "", is_whole: bool = True) -> Table:
    """Read a table. Without a separator the likeliest is taken. A last row that was cut is left out.

    Raises:
        ValueError: it cannot be read as a table.
    """
    text, encoding = decode(content, ends_amid=not is_whole)
    lines = [line for line in _rows(text, separator or _likeliest(text)) if line]
    if not is_whole and len(lines) > 1:
        lines.pop()
    header, rows = (lines[0], lines[1:]) if lines else ([], [])
    columns = max(map(len, lines), default=0)
    shown = min(columns, MAX_COLUMNS)
    return Table(header=header, rows=rows, columns=columns, is_numeric=_numeric_columns(rows, shown), encoding=encoding)


def _rows(text: str, separator: str) -> Iterator[list[str]]:
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    try:
        yield from csv.reader(StringIO(text, newline=""), delimiter=separator)
    except csv.Error as error:
        raise ValueError(f"it is not a table ({error})") from error


def _likeliest(text: str) -> str:
    """The separator that stands equally often in each of the first lines, if one does; else the commonest."""
    lines = [line for line in text[: 64 * 1024].splitlines()[:_SAMPLE_LINES] if line]
    counts = {separator: [line.count(separator) for line in lines] for separator in _SEPARATORS}
    steady = [separator for separator, found in counts.items() if found and found[0] and len(set(found)) == 1]
    return max(steady or _SEPARATORS, key=lambda separator: sum(counts[separator]))


def _numeric_columns(rows: Rows, columns: int) -> list[bool]:
    """A column is one of numbers when each cell that holds something holds a number, and one does."""
    fits, has_number = [True] * columns, [False] * columns
    for row in rows:
        for place, cell in enumerate(row[:columns]):
            if fits[place] and cell:
                if is_number(cell):
                    has_number[place] = True
                elif cell.strip().lower() not in _ABSENT:
                    fits[place] = False
    return [fit and has for fit, has in zip(fits, has_number, strict=True)]


def is_number(cell: str) -> bool:
    """Tell a number as programs write it: `-1.5e-3`, `1D+05`, `12%`, `inf`."""
    return len(cell) <= _MAX_NUMBER_CHARACTERS and _NUMBER.fullmatch(cell.strip()) is not None


def _number(cell: str) -> float:
    try:
        return float(cell.strip().removesuffix("%").replace("D", "e").replace("d", "e"))
    except ValueError:
        return math.nan


def _sorted(table: Table, column: int, *, is_descending: bool) -> Rows:
    """Sort by one column, as numbers where it is one of numbers; cells that hold nothing come last either way."""
    if not 0 <= column < table.shown_columns:
        return table.rows
    is_numeric = table.is_numeric[column]

    def key(row: Sequence[str]) -> tuple[float, str]:
        return (_number(row[column]), "") if is_numeric else (0.0, row[column].casefold())

    held = [row for row in table.rows if len(row) > column and _holds(row[column], is_numeric=is_numeric)]
    kept = set(map(id, held))
    return [
        *sorted(held, key=key, reverse=is_descending),
        *(row for row in table.rows if id(row) not in kept),
    ]


def _holds(cell: str, *, is_numeric: bool) -> bool:
    return not math.isnan(_number(cell)) if is_numeric else bool(cell.strip())


def _count(table: Table, content: bytes, asked: Asked) -> str:
    count = len(table.rows)
    columns = f"{table.columns:,} column{'s' if table.columns != 1 else ''}"
    if table.columns > MAX_COLUMNS:
        columns = f"the first {MAX_COLUMNS} of {columns}"
    encoding = "" if table.encoding == "UTF-8" else f", read as {table.encoding}"
    if asked.is_whole:
        return f"{count:,} row{'s' if count != 1 else ''}, {columns}{encoding}"
    about = 100 * round(count * asked.size_bytes / max(1, len(content)) / 100)
    return f"the first {count:,} rows of about {about:,}, {columns}{encoding}"


def _html(table: Table, rows: Rows, asked: Asked, *, is_complete: bool, first_row: int) -> str:
    if not table.header:
        return note("There is no row in it.")
    columns = table.shown_columns
    head = "".join(_heading(table, place, asked) for place in range(columns))
    classes = [' class="number"' if numeric else "" for numeric in table.is_numeric]
    body = "".join(
        f'<tr><th scope="row" class="row">{number:,}</th>{_cells(row, classes)}</tr>'
        for number, row in enumerate(rows, first_row)
    )
    return (
        f'<div class="table-frame" tabindex="0" role="group" aria-label="Table">'
        f'<table class="cells"{" data-complete" if is_complete else ""}>'
        f'<thead><tr><th scope="col" class="row">#</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cells(row: Sequence[str], classes: Sequence[str]) -> str:
    padded = [*row[: len(classes)], *("" for _ in range(len(classes) - len(row)))]
    return "".join(f"<td{class_}>{shortened(cell)}</td>" for cell, class_ in zip(padded, classes, strict=True))


def _heading(table: Table, place: int, asked: Asked) -> str:
    name = table.header[place] if place < len(table.header) else ""
    is_sorted = asked.sort == place + 1
    word = "descending" if asked.is_descending else "ascending"
    order = "" if is_sorted and asked.is_descending else "&amp;order=desc" if is_sorted else ""
    state = f' aria-sort="{word}"' if is_sorted else ""
    number = " number" if table.is_numeric[place] else ""
    link = f'<a href="{safe(asked.url)}?sort={place + 1}{order}">{shortened(name, 120) or place + 1}</a>'
    return f'<th scope="col" class="sortable{number}"{state}>{link}</th>'


def _pager(page: int, last_page: int, asked: Asked) -> str:
    if last_page == 1:
        return ""
    order = f"&amp;sort={asked.sort}{'&amp;order=desc' if asked.is_descending else ''}" if asked.sort else ""

    def link(number: int, word: str, rel: str) -> str:
        return f'<a href="{safe(asked.url)}?page={number}{order}"{rel}>{word}</a>'

    links = (
        link(1, "First", "") if page > 2 else "",
        link(page - 1, "Previous", ' rel="prev"') if page > 1 else "",
        f"<span>page {page:,} of {last_page:,}</span>",
        link(page + 1, "Next", ' rel="next"') if page < last_page else "",
        link(last_page, "Last", "") if page < last_page - 1 else "",
    )
    return f'<nav class="pager" aria-label="Pages of the table">{"".join(links)}</nav>'
