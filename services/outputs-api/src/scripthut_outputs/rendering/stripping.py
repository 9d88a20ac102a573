"""List what the sanitiser takes out of a document, for the author who looks before the page does. Pure."""

from collections import Counter
from html.parser import HTMLParser

import msgspec

from . import grammar, targets
from .converting import decode
from .cutting import cut
from .pieces import Pieces
from .sanitising import TAGS, is_allowed


class Stripped(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is taken out, in words such as `<script>`, `onclick on <a>`, `link javascript:alert(1)`."""

    what: str
    count: int


def stripped(document: bytes, max_bytes: int) -> tuple[Stripped, ...]:
    """List what a reader will not get of the first `max_bytes` of a document, in the order of first appearance."""
    reader = _Reader()
    reader.feed(grammar.to_html(decode(cut(document, max_bytes)), Pieces()))
    reader.close()
    return tuple(Stripped(what=what, count=count) for what, count in reader.found.items())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.found[f"<{tag}>"] += 1
            return
        for name, value in attrs:
            if not is_allowed(tag, name, value or ""):
                self.found[f"{name} on <{tag}>"] += 1
            elif name in {"href", "src"} and targets.resolve(value or "") is None:
                self.found[f"{'link' if name == 'href' else 'image'} {_short(value or '')}"] += 1


def _short(address: str) -> str:
    seen = " ".join(address.split())
    return seen if len(seen) <= 80 else f"{seen[:79]}…"
