"""Read which elements of an array a row stands for: `3-9,15,20-30:5%2`, in the brackets of `12_[…]`."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain, pairwise

from scripthut_common.errors import BadOutput
from scripthut_poller.schedulers.reading import shown

# One piece: a number or a range, perhaps with a step; %N is how many may run at once.
_PIECE = re.compile(r"(?P<first>[0-9]{1,7})(-(?P<last>[0-9]{1,7})(:(?P<step>[1-9][0-9]{0,6}))?)?(%[0-9]+)?")


class Indexes:
    """The elements of an array that one row stands for; they are never written out, as they may be millions."""

    def __init__(self, text: str) -> None:
        """Read a list.

        Raises:
            BadOutput: it is cut (`1,2,...`), or no list.
        """
        self._ranges = sorted((_range(piece) for piece in text.split(",")), key=lambda one: one.start)
        self._starts = [one.start for one in self._ranges]
        self._is_plain = all(before[-1] < after.start for before, after in pairwise(self._ranges))

    def __contains__(self, index: int) -> bool:
        """Say whether an element is among them."""
        if not self._is_plain:
            return any(index in one for one in self._ranges)
        place = bisect_right(self._starts, index) - 1
        return place >= 0 and index in self._ranges[place]

    def __iter__(self) -> Iterator[int]:
        """Yield them."""
        return chain.from_iterable(self._ranges)


def _range(piece: str) -> range:
    known = _PIECE.fullmatch(piece)
    if known is None:
        raise BadOutput(f"{shown(piece)} is no index of an array, and no range of them")
    found = range(int(known["first"]), int(known["last"] or known["first"]) + 1, int(known["step"] or 1))
    if not found:
        raise BadOutput(f"{shown(piece)} is a range without elements")
    return found
