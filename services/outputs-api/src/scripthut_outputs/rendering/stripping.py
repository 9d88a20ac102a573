"""List what the sanitiser takes out of a document, for the author who looks before the page does. Pure."""

from collections import Counter

import msgspec

from . import grammar
from .converting import decode
from .cutting import cut
from .parsing import TooIntricate
from .pieces import Pieces
from .sanitising import sanitise


class Stripped(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is taken out, in words such as `<script>`, `onclick on <a>`, `link javascript:alert(1)`."""

    what: str
    count: int


def stripped(document: bytes, max_bytes: int) -> tuple[Stripped, ...]:
    """List what a reader will not get of the first `max_bytes` of a document, in the order of first appearance.

    Of a document that is shown as its text nothing is taken out.
    """
    taken_out = Counter[str]()
    try:
        sanitise(grammar.to_html(decode(cut(document, max_bytes)), Pieces()), taken_out)
    except TooIntricate:
        return ()
    return tuple(Stripped(what=what, count=count) for what, count in taken_out.items())
