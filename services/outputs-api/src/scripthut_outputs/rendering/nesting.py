"""Say how deep HTML is nested, before a parser takes a step for every level at every tag. Pure."""

import re

from .walking import VOID_TAGS

MAX_DEPTH = 200
# These end by themselves where the next of their kind begins.
_ENDING = frozenset({"dd", "dt", "li", "option", "p", "tbody", "td", "tfoot", "th", "thead", "tr"})
_TAG = re.compile(r"<(/?)([A-Za-z][^\s/>]*)")


def is_too_deep(html: str) -> bool:
    """Say whether more than `MAX_DEPTH` elements are open at once; a rough count, since authors' HTML has errors."""
    depth = 0
    for found in _TAG.finditer(html):
        name = found[2].lower()
        if name in VOID_TAGS or name in _ENDING:
            continue
        depth = max(0, depth - 1) if found[1] else depth + 1
        if depth > MAX_DEPTH:
            return True
    return False
