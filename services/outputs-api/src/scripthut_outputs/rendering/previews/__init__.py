"""Turn any file's bytes into safe HTML: tables, trees, notebooks, code, logs, or honest facts about it. Pure.

`choose` tells from a name and the first bytes what a file is, `span` which bytes of it are wanted, `make` turns
them into HTML. All text in it is escaped; the only tags of an author are those that `sanitise` let through.
"""

from .asking import HEAD_BYTES, PREVIEWS, Asked, Choice, Format, Preview, Span
from .choosing import choose, claim, span
from .making import escaped, make

__all__ = [
    "HEAD_BYTES",
    "PREVIEWS",
    "Asked",
    "Choice",
    "Format",
    "Preview",
    "Span",
    "choose",
    "claim",
    "escaped",
    "make",
    "span",
]
