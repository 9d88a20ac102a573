"""Show JSON and JSON lines as a tree that folds, without trust in its depth or size. Pure."""

import json
from collections.abc import Iterator
from itertools import islice

import msgspec

from .asking import Asked
from .pieces import decode, note, safe, shortened

MAX_NODES = 5_000
MAX_DEPTH = 40
MAX_SIBLINGS = 500
MAX_LINES = 200
_OPEN_DEPTH = 2
_MAX_OPEN_SIBLINGS = 50
_MAX_STRING_CHARACTERS = 500


class Number(msgspec.Struct, frozen=True):
    """A number as it is written: nothing of it is rounded away."""

    written: str


class Pairs(msgspec.Struct, frozen=True):
    """An object in its own order, with names that occur twice."""

    pairs: list[tuple[str, object]]


class Malformed(ValueError):
    """What is not JSON; the text says where: `it is no JSON (line 3, column 7: Expecting value)`."""


def show(content: bytes, asked: Asked) -> str:
    """Show one JSON value.

    Raises:
        Malformed: it is none.
    """
    if not asked.is_whole:
        raise Malformed("it is too large to be shown as a tree")
    text, _ = decode(content)
    return f'<div class="tree">{_Tree().html(parse(text))}</div>'


def show_lines(content: bytes, asked: Asked) -> str:
    """Show one value for each line; a line that is none is shown with what is wrong with it."""
    text, _ = decode(content, ends_amid=not asked.is_whole)
    if not asked.is_whole:
        text = text.rpartition("\n")[0]
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    tree = _Tree(open_depth=0)
    entries = "".join(_entry(tree, number, line) for number, line in lines[:MAX_LINES])
    amount = f"{len(lines):,} line{'s' if len(lines) != 1 else ''}"
    if not asked.is_whole:
        amount = f"the first {min(len(lines), MAX_LINES):,} lines of {asked.size_bytes:,} bytes"
    elif len(lines) > MAX_LINES:
        amount = f"the first {MAX_LINES} of {amount}"
    return f'<p class="preview-facts">{amount}</p><div class="tree tree-lines">{entries}</div>'


def _entry(tree: "_Tree", number: int, line: str) -> str:
    try:
        shown = tree.html(parse(line), key=f'<span class="tree-line">{number}</span> ')
    except Malformed as error:
        shown = (
            f'<span class="tree-line">{number}</span> <code>{shortened(line)}</code>{note(f"Line {number}: {error}.")}'
        )
    return f'<div class="tree-node">{shown}</div>'


def parse(text: str) -> object:
    """Read JSON without losing anything of it.

    Raises:
        Malformed: it is none, or nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=Pairs, parse_int=Number, parse_float=Number, parse_constant=Number)
    except json.JSONDecodeError as error:
        raise Malformed(f"it is no JSON (line {error.lineno}, column {error.colno}: {error.msg})") from error
    except RecursionError as error:
        raise Malformed("it is nested too deeply") from error


class _Tree:
    """Writes values as long as there is room for nodes."""

    def __init__(self, *, open_depth: int = _OPEN_DEPTH) -> None:
        self._left = MAX_NODES
        self._open_depth = open_depth

    def html(self, value: object, key: str = "", depth: int = 0) -> str:
        """Write one value; `key` is HTML that stands before it."""
        self._left -= 1
        if isinstance(value, Pairs):
            children: Iterator[tuple[str, object]] = (
                (f'<span class="tree-key">{shortened(name, 200)}</span>: ', child) for name, child in value.pairs
            )
            return self._folded(key, children, len(value.pairs), "{}", depth)
        if isinstance(value, list):
            numbered = ((f'<span class="tree-place">{place}</span> ', child) for place, child in enumerate(value))
            return self._folded(key, numbered, len(value), "[]", depth)
        return f'<div class="tree-node">{key}{_leaf(value)}</div>'

    def _folded(self, key: str, children: Iterator[tuple[str, object]], count: int, marks: str, depth: int) -> str:
        summary = f'{key}<span class="tree-count">{marks[0]}{count:,}{marks[1]}</span>' if count else f"{key}{marks}"
        if not count or depth >= MAX_DEPTH:
            deeper = '<span class="tree-count"> … nested deeper</span>' if count else ""
            return f'<div class="tree-node">{summary}{deeper}</div>'
        shown = []
        for child_key, child in islice(children, MAX_SIBLINGS):
            if self._left <= 0:
                break
            shown.append(self.html(child, child_key, depth + 1))
        more = count - len(shown)
        rest = f'<div class="tree-node tree-count">… {more:,} more; the source has all</div>' if more else ""
        is_open = " open" if depth < self._open_depth and count <= _MAX_OPEN_SIBLINGS else ""
        return (
            f"<details{is_open}><summary>{summary}</summary>"
            f'<div class="tree-children">{"".join(shown)}{rest}</div></details>'
        )


def _leaf(value: object) -> str:
    match value:
        case str():
            return f'<span class="code-string">&quot;{shortened(value, _MAX_STRING_CHARACTERS)}&quot;</span>'
        case Number():
            return f'<span class="code-number">{shortened(value.written)}</span>'
        case None | bool():
            return f'<span class="code-keyword">{safe(json.dumps(value))}</span>'
        case _:
            raise TypeError(f"JSON has no {type(value).__name__}")
