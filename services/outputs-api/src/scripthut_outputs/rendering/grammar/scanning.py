"""Find the blocks that GitHub finds, line by line: fenced code, formulas, raw HTML, lists, quotes. Pure.

The library finds some of them elsewhere, or in time that grows with the square of a document. What is found is handed
on as the library reads it: finished, or indented in its way and between blank lines.
"""

import re

from .finishing import Finisher
from .lists import STEP, Lists, entry
from .openings import BLANK, DELIMITERS, FENCE, FOOTNOTE, HEADING, html_end

MAX_QUOTES = 30
CODE_INDENT = 4
_QUOTE = re.compile(r" *> ?")


class Scan:
    """Reads lines forward, each once for each quote around it, and writes those that the library is to read.

    Args:
        lines: without tabs; blank ones are empty.
        finisher: takes what needs no Markdown.
        quotes: how many quotes are around these lines.

    Attributes:
        is_text: whether the line that was read last is text, which the next one may go on with.
    """

    def __init__(self, lines: list[str], finisher: Finisher, *, quotes: int = 0) -> None:
        self._lines = lines
        self._finisher = finisher
        self._quotes = quotes
        self._lists = Lists()
        self._position = 0
        self._no_formula_before = 0
        self._is_parted = False
        self.is_text = False
        self._written: list[str] = []

    def read(self) -> list[str]:
        """Give the lines for the library."""
        while self._lines and not self._lines[-1].strip():
            self._lines.pop()
        while self._position < len(self._lines):
            line = self._lines[self._position]
            content = line.lstrip(" ")
            column = len(line) - len(content)
            if not content:
                self._blank()
                self._position += 1
            elif self._lists.beyond(column) >= CODE_INDENT:
                self._indented(column, content)
            elif not self._block(column, content):
                self._line(column, content)
        if self._written and not self._written[-1]:
            self._written.pop()
        return self._written

    def _blank(self) -> None:
        """Write a blank line; the last one of several is as good as all."""
        if self._written and self._written[-1]:
            self._written.append("")
        self.is_text = False
        self._is_parted = True

    def _indented(self, column: int, content: str) -> None:
        """Write a line that is indented like code: that it is, or goes on with the text before it."""
        beyond = 0 if self.is_text else self._lists.beyond(column)
        if not self.is_text:
            self._lists.leave(column)
        self._written.append(self._lists.indent + " " * beyond + content)
        self._position += 1

    def _block(self, column: int, content: str, marker: str = "") -> bool:
        """Take a block that begins with this line, behind a list's `marker` or alone; answer whether one does."""
        fence, end = FENCE.match(content), html_end(content)
        formula = self._formula(content) if content.startswith("$$") else None
        is_quote = content.startswith(">") and self._quotes < MAX_QUOTES and not marker
        if not (fence or end or formula is not None or is_quote):
            return False
        if not marker:
            self._lists.leave(column)
            self._blank()
        is_text = False
        if fence:
            found = [self._fenced(fence[0], content[fence.end() :], column)]
        elif end:
            found = [self._finisher.html(self._html(content, end))]
        elif formula is not None:
            found = [self._finisher.formula(formula)]
        else:
            found, is_text = self._quoted()
        before = marker or self._lists.indent
        self._written.extend(f"{before if at == 0 else self._lists.indent}{line}" for at, line in enumerate(found))
        self.is_text = is_text
        if not is_text:
            self._blank()
        return True

    def _fenced(self, fence: str, info: str, column: int) -> str:
        """Take fenced code; what is not closed ends with its list entry or with the document."""
        code = []
        self._position += 1
        while self._position < len(self._lines):
            line = self._lines[self._position]
            content = line.strip(" ")
            indent = len(line) - len(line.lstrip(" "))
            if content and indent < self._lists.column:
                break
            self._position += 1
            if content.startswith(fence) and not content.strip(fence[0]) and indent < column + CODE_INDENT:
                break
            code.append(line[min(indent, column) :])
        return self._finisher.code(info, "".join(f"{line}\n" for line in code))

    def _html(self, first: str, end: re.Pattern[str]) -> str:
        """Take raw HTML up to the line that ends it, or to the end of the document."""
        taken = [first]
        self._position += 1
        while not end.search(taken[-1]) and self._position < len(self._lines):
            taken.append(self._lines[self._position])
            self._position += 1
        if end is BLANK and not taken[-1].strip():
            self._position -= 1
        return "\n".join(taken)

    def _formula(self, content: str) -> str | None:
        """Take a formula between `$$` and `$$` at the end of a line, without a blank line in it."""
        taken, position = [content[2:]], self._position + 1
        if self._position < self._no_formula_before:
            return None
        while "$$" not in taken[-1] and position < len(self._lines) and self._lines[position]:
            taken.append(self._lines[position])
            position += 1
        latex, is_closed, rest = "\n".join(taken).partition("$$")
        if not is_closed or rest.strip() or not latex.strip():
            self._no_formula_before = position - (1 if is_closed else 0)
            return None
        self._position = position
        return latex

    def _quoted(self) -> tuple[list[str], bool]:
        """Take all lines of a quote and read them by themselves; say whether it ends in text."""
        inner = []
        while self._position < len(self._lines) and (mark := _QUOTE.match(self._lines[self._position])):
            inner.append(self._lines[self._position][mark.end() :])
            self._position += 1
        scan = Scan(inner, self._finisher, quotes=self._quotes + 1)
        return [f"> {line}" if line else ">" for line in scan.read()] or [">"], scan.is_text

    def _line(self, column: int, content: str) -> None:
        """Write a line that the library reads: an entry of a list, a heading, a row of a table, text."""
        found = entry(content)
        if found and self._may_begin(found, column, content):
            self._entry(found, column, content)
            return
        is_heading, is_footnote = bool(HEADING.match(content)), bool(FOOTNOTE.match(content))
        if is_heading or is_footnote or not self.is_text:
            self._lists.leave(column)
        if is_heading:
            self._blank()
        elif "|" in content and "-" in content and DELIMITERS.match(content):
            self._part_table()
        self._written.append(self._lists.indent + content)
        self.is_text = not is_heading
        self._position += 1
        if is_footnote and not self._lists.is_open:
            self._lists.enter(STEP)

    def _may_begin(self, found: re.Match[str], column: int, content: str) -> bool:
        """Say whether a list may begin here: in the midst of text it must begin with 1, and with words."""
        if not self.is_text or self._lists.is_open:
            return True
        return column < CODE_INDENT and len(content) > found.end() and (found[1] in "-+*" or found[1][:-1] == "1")

    def _entry(self, found: re.Match[str], column: int, content: str) -> None:
        was_open, is_numbered = self._lists.is_open, found[1] not in "-+*"
        left = self._lists.leave(column)
        is_of_another_list = left is not None and left is not is_numbered
        if is_of_another_list or (self.is_text and (self._is_parted or not was_open)):
            self._blank()
        self._is_parted = False
        marker = f"{self._lists.indent}{found[1].replace(')', '.')} "
        rest = content[found.end() :]
        text_at = column + (found.end() if rest else len(found[1]) + 1)
        self._lists.enter(text_at, is_numbered=is_numbered)
        if rest and self._block(text_at, rest, marker):
            return
        self._written.append(marker + rest)
        self.is_text = True
        self._position += 1

    def _part_table(self) -> None:
        """Put a blank line before a table's head that stands right below text: the library wants one."""
        if len(self._written) > 1 and "|" in self._written[-1] and "|" not in self._written[-2]:
            self._written.insert(len(self._written) - 1, "")
