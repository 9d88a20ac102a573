"""Finished HTML of ours that goes past Markdown and the sanitiser: code, formulas. Pure.

While a document is made, a number between two marks stands in its place. Pieces hold no blocks, so that they fit
wherever text may stand.
"""

import re

from .marks import CLOSE, OPEN

_PLACE = re.compile(f"{OPEN}([0-9]+){CLOSE}")


class Pieces:
    """The pieces of one document."""

    def __init__(self) -> None:
        self._kept: list[str] = []

    def keep(self, html: str) -> str:
        """Keep a piece; give what stands for it."""
        self._kept.append(html)
        return f"{OPEN}{len(self._kept) - 1}{CLOSE}"

    def put_back(self, html: str) -> str:
        """Put every piece into its place."""
        return _PLACE.sub(lambda found: self._kept[int(found[1])], html)


def without_places(text: str) -> str:
    """Take out what stands for pieces."""
    return _PLACE.sub("", text)
