"""Finish what needs no Markdown: code, formulas, raw HTML. Pure."""

import re
from html import escape

from markdown.util import HtmlStash

from scripthut_outputs.rendering.formulas import Formulas
from scripthut_outputs.rendering.highlighting import Highlighter
from scripthut_outputs.rendering.marks import OURS
from scripthut_outputs.rendering.pieces import Pieces

CLASSES = frozenset({"math", "mermaid"})
_LANGUAGE = re.compile(r"[ ]*\{?[ ]*\.?([A-Za-z0-9_+#.-]{1,40})(?=[\s,;:}{]|$)")


class Finisher:
    """Gives what stands for a finished block; each is a block of its own to the library.

    Args:
        pieces: take code and formulas.
        formulas: convert LaTeX.
        stash: the library's own keeping of raw HTML.
    """

    def __init__(self, pieces: Pieces, formulas: Formulas, stash: HtmlStash) -> None:
        self._pieces = pieces
        self._formulas = formulas
        self._stash = stash
        self._highlighter = Highlighter()

    def html(self, raw: str) -> str:
        """Take an author's HTML as it is, but for a comment in front: parsers need long for one that never ends."""
        if raw.startswith("<!--"):
            raw = raw.partition("-->")[2]
        return str(self._stash.store(raw))

    def formula(self, latex: str) -> str:
        """Show a formula on lines of its own."""
        formula = self._pieces.keep(self._formulas.convert(latex, is_block=True))
        return self.html(f'<div class="{OURS}math">{formula}</div>')

    def code(self, info: str, text: str) -> str:
        """Show code; `info` is what stands behind the opening fence."""
        found = _LANGUAGE.match(info)
        language = found[1] if found else ""
        if language == "math":
            return self.formula(text)
        written = f' class="language-{language}"' if language else ""
        shown = self._highlighter.highlight(text, language) or escape(text, quote=False)
        code = f"<pre>{self._pieces.keep(f'<code{written}>{shown}</code>')}</pre>"
        if language == "mermaid":
            code = f'<figure class="{OURS}mermaid"><figcaption>Mermaid</figcaption>{code}</figure>'
        return self.html(code)
