"""Markdown as people know it from GitHub: the library's grammar and what that lacks. Pure."""

import re
from typing import TYPE_CHECKING, cast

from markdown import Markdown
from markdown.extensions import Extension
from markdown.extensions.tables import TableExtension
from pymdownx.magiclink import MagiclinkExtension
from pymdownx.quotes import QuotesExtension

from scripthut_outputs.rendering.formulas import Formulas
from scripthut_outputs.rendering.pieces import Pieces

from . import alerts, finishing, footnotes, tasks
from .alerts import Alerts
from .blocks import Blocks
from .bounds import Bounds
from .footnotes import Footnotes
from .mathematics import Mathematics
from .tasks import Tasks

if TYPE_CHECKING:
    from markdown.inlinepatterns import DelimiterProcessor

MAX_FOOTNOTES = 2_000
OUR_CLASSES = alerts.CLASSES | finishing.CLASSES | footnotes.CLASSES | tasks.CLASSES
"""Every class that may stand behind the mark of what is ours."""
OUR_LABELS = tasks.LABELS | {footnotes.BACK}
"""Everything that may be said to those who listen, likewise."""
_EMOJI = re.compile(r":[+\w-]+:")


def to_html(text: str, pieces: Pieces) -> str:
    """Turn Markdown into HTML that is not safe yet: the author's own stands in it as written.

    Args:
        text: without control characters and marks.
        pieces: take what is finished: code and formulas.
    """
    markdown = Markdown(extensions=_extensions(text, pieces, Formulas()), output_format="html")
    cast("DelimiterProcessor", markdown.delimiters).add("~", "del", smart=False, double=True)
    markdown.ESCAPED_CHARS.extend("~$:<\"'&,/;=?@^%")
    return markdown.convert(text)


def _extensions(text: str, pieces: Pieces, formulas: Formulas) -> list[str | Extension]:
    """Name what this document needs: each costs time, and tables of emoji are large."""
    extensions: list[str | Extension] = [
        "nl2br",
        "sane_lists",
        "pymdownx.saneheaders",
        TableExtension(use_align_attribute=True),
        QuotesExtension(),
        MagiclinkExtension(),
        Blocks(pieces, formulas),
        Alerts(),
        Tasks(),
        Bounds(),
    ]
    if "$" in text:
        extensions.append(Mathematics(pieces, formulas))
    if 0 < text.count("[^") <= MAX_FOOTNOTES:
        extensions.append(Footnotes())
    if _EMOJI.search(text):
        from .emoji import extension  # noqa: PLC0415

        extensions.append(extension())
    return extensions
