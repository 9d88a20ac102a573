"""Formulas in text: `$…$`, `` $`…`$ `` and `$$…$$`, and nothing that may be a price. Pure.

As on GitHub: a dollar opens where something follows it at once and no word character or dollar stands before it, and
closes where something stands before it at once and no word character or dollar follows.
"""

import re

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

from scripthut_outputs.rendering.formulas import Formulas
from scripthut_outputs.rendering.pieces import Pieces

_BEFORE = r"(?<![\w$\\])"
_TICKED = _BEFORE + r"\$`([^`\n]+)`\$(?![\w$])"
_DISPLAY = _BEFORE + r"\$\$((?:\\.|[^\\$])+)\$\$(?![\w$])"
_INLINE = _BEFORE + r"\$(?=[^\s$])((?:\\.|[^\\$`])+)(?<!\s)\$(?![\w$])"


class Mathematics(Extension):
    """Formulas are read before anything else but code: their backslashes and underscores are their own."""

    def __init__(self, pieces: Pieces, formulas: Formulas) -> None:
        super().__init__()
        self._pieces = pieces
        self._formulas = formulas

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Look for formulas."""
        for pattern, name, priority in ((_TICKED, "ticked", 192), (_DISPLAY, "display", 189), (_INLINE, "inline", 188)):
            found = _Formula(pattern, self._pieces, self._formulas, is_block=name == "display")
            md.inlinePatterns.register(found, f"formula_{name}", priority)


class _Formula(InlineProcessor):
    def __init__(self, pattern: str, pieces: Pieces, formulas: Formulas, *, is_block: bool) -> None:
        super().__init__(pattern)
        self._pieces = pieces
        self._formulas = formulas
        self._is_block = is_block

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:  # type: ignore[override]  # noqa: ARG002, N802
        if "\x02" in m[1]:
            return m[0], m.start(), m.end()
        return self._pieces.keep(self._formulas.convert(m[1], is_block=self._is_block)), m.start(), m.end()
