"""Where a line belongs among open list entries, and how the library wants it indented. Pure.

GitHub nests by the column at which an entry's text begins; the library by steps of four.
"""

import re

STEP = 4
MAX_DEPTH = 30
_ENTRY = re.compile(r"([-+*]|[0-9]{1,9}[.)])( {1,4}(?! )| (?= )|$)")
_RULE = re.compile(r"([-*_])[ ]*(?:\1[ ]*){2,}$")


class Lists:
    """The open entries, outermost first, each by the column at which its text begins."""

    def __init__(self) -> None:
        self._columns: list[int] = []
        self._are_numbered: list[bool] = []

    @property
    def column(self) -> int:
        """Where text of the innermost entry begins."""
        return self._columns[-1] if self._columns else 0

    @property
    def is_open(self) -> bool:
        """Whether any list is open."""
        return bool(self._columns)

    @property
    def indent(self) -> str:
        """What the library wants before text of the innermost entry."""
        return " " * (STEP * len(self._columns))

    def beyond(self, column: int) -> int:
        """How far a line at `column` is indented within the entry that it belongs to."""
        return column - next((start for start in reversed(self._columns) if start <= column), 0)

    def leave(self, column: int) -> bool | None:
        """Close the entries that a line at `column` does not belong to; say whether the outermost one is numbered."""
        is_numbered = None
        while self._columns and column < self._columns[-1]:
            self._columns.pop()
            is_numbered = self._are_numbered.pop()
        return is_numbered

    def enter(self, column: int, *, is_numbered: bool = False) -> None:
        """Open an entry whose text begins at `column`."""
        if len(self._columns) < MAX_DEPTH:
            self._columns.append(column)
            self._are_numbered.append(is_numbered)


def entry(content: str) -> re.Match[str] | None:
    """Read a line's list marker; a rule (`* * *`) has none."""
    return None if _RULE.match(content) else _ENTRY.match(content)
