"""Turn one document of an author, given as bytes, into safe HTML. Pure."""

import re
from html import escape as escape_text

import msgspec

from . import grammar
from .cutting import cut
from .marks import without_marks
from .parsing import TooIntricate
from .pieces import Pieces
from .sanitising import NOTICE_CLASS, sanitise

RENDERER = "3"
"""Version of everything that decides how a document looks; raise it and every document is rendered anew."""

MAX_GROWTH = 16
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """Safe HTML of one document; `reason` says why it is only the escaped text, `None` when it is rendered."""

    html: str
    reason: str | None = None


def render(document: bytes, *, size_bytes: int, max_bytes: int) -> Rendered:
    """Render Markdown.

    Args:
        document: the first bytes of it, a few more than `max_bytes` where there are as many.
        size_bytes: of the whole document.
        max_bytes: how much of it is shown; the rest is cut off with a notice in that place.
    """
    kept, pieces = cut(document, max_bytes), Pieces()
    try:
        html = pieces.put_back(sanitise(grammar.to_html(decode(kept), pieces)))
    except TooIntricate as error:
        return escape(document, size_bytes=size_bytes, max_bytes=max_bytes, reason=str(error))
    if len(html) > MAX_GROWTH * max_bytes:
        return escape(document, size_bytes=size_bytes, max_bytes=max_bytes, reason="it unfolds to too much HTML")
    return Rendered(html=html + _cut_notice(len(kept), size_bytes))


def escape(document: bytes, *, size_bytes: int, max_bytes: int, reason: str) -> Rendered:
    """Show a document as its text: what is left when the renderer fails."""
    kept = cut(document, max_bytes)
    why = notice(f"This document could not be rendered: {reason}. This is its text.")
    html = f"{why}<pre>{escape_text(decode(kept))}</pre>{_cut_notice(len(kept), size_bytes)}"
    return Rendered(html=html, reason=reason)


def decode(document: bytes) -> str:
    """Read bytes as text for people: invalid UTF-8 becomes U+FFFD; terminal escapes, control characters, marks go."""
    text = document.decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return without_marks(_CONTROL.sub("", _TERMINAL.sub("", text)))


def _cut_notice(shown_bytes: int, size_bytes: int) -> str:
    if shown_bytes >= size_bytes:
        return ""
    return notice(
        f"The document goes on: {size_bytes:,} bytes in all, the first {shown_bytes:,} are shown. Download the file"
        " to read the rest."
    )


def notice(text: str) -> str:
    """Say something of ours among what authors wrote."""
    return f'<p class="{NOTICE_CLASS}">{escape_text(text)}</p>'
