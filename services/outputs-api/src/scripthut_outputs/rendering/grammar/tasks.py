"""Task lists: entries that begin with `[ ]` or `[x]`. Pure."""

import re
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

from scripthut_outputs.rendering.marks import OURS

CLASSES = frozenset({"task", "task-mark"})
LABELS = frozenset({"done", "to do"})
_BOX = re.compile(r"\[([ xX])\][ \n]+(?=\S)")


class Tasks(Extension):
    """A box is a picture with a name, nothing that can be filled in."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Look at list entries before their text is read."""
        md.treeprocessors.register(_Tasks(md), "tasks", 29)


class _Tasks(Treeprocessor):
    def run(self, root: Element) -> None:
        for entry in root.iter("li"):
            first = next(iter(entry), None)
            holder = first if not (entry.text or "").strip() and first is not None and first.tag == "p" else entry
            found = _BOX.match(holder.text or "")
            if found:
                entry.set("class", f"{OURS}task")
                holder.insert(0, _mark(found[1] != " ", (holder.text or "")[found.end() :]))
                holder.text = None


def _mark(is_done: bool, rest: str) -> Element:  # noqa: FBT001
    label = "done" if is_done else "to do"
    mark = Element("span", {"class": f"{OURS}task-mark", "role": f"{OURS}img", "aria-label": OURS + label})
    mark.text = AtomicString("☑" if is_done else "☐")
    mark.tail = f" {rest}"
    return mark
