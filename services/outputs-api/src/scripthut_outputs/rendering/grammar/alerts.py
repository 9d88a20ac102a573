"""Alerts: a quote that begins with `[!NOTE]` on a line of its own. Pure."""

import re
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

from scripthut_outputs.rendering.marks import OURS

_KINDS = ("note", "tip", "important", "warning", "caution")
CLASSES = frozenset({"alert-title", *(f"alert alert-{kind}" for kind in _KINDS)})
_OPENING = re.compile(rf"\[!({'|'.join(_KINDS)})\][ ]*(?:\n|$)", re.IGNORECASE)


class Alerts(Extension):
    """The five kinds that GitHub knows."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Look at quotes before their text is read."""
        md.treeprocessors.register(_Alerts(md), "alerts", 30)


class _Alerts(Treeprocessor):
    def run(self, root: Element) -> None:
        for quote in root.iter("blockquote"):
            first = next(iter(quote), None)
            found = _OPENING.match(first.text or "") if first is not None and first.tag == "p" else None
            if first is not None and found:
                _turn(quote, first, found)


def _turn(quote: Element, first: Element, found: re.Match[str]) -> None:
    kind = found[1].lower()
    quote.tag = "div"
    quote.set("class", f"{OURS}alert alert-{kind}")
    first.text = (first.text or "")[found.end() :]
    if not first.text and not len(first):
        quote.remove(first)
    title = Element("p", {"class": f"{OURS}alert-title"})
    title.text = AtomicString(kind.title())
    quote.insert(0, title)
