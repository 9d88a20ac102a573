"""Leave text as it is where reading it would take more time than its length is worth. Pure.

The library looks for the partner of each bracket anew, character by character, and copies a paragraph for each thing
that it finds in it.
"""

import re
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from markdown.util import HTML_PLACEHOLDER_RE, AtomicString

MAX_CHARACTERS = 20_000
MAX_STEPS = 2_000
STEPS_PER_CHARACTER = 8
# Everything that any of the library's patterns, or of ours, begins with or needs.
_SPECIAL = re.compile(r"[\\`*_\[!<&:$~@\n]|www", re.IGNORECASE)
_PARTNERS = {"]": "[", ")": "("}


class Bounds(Extension):
    """Text past the bounds is shown as its author wrote it, without links and emphasis.

    So is what is finished, and what has nothing in it to be read: looking for each kind of thing takes its time too.
    """

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Look at all text last before it is read."""
        md.treeprocessors.register(_Bounds(md), "bounds", 21)


class _Bounds(Treeprocessor):
    def run(self, root: Element) -> None:
        for element in root.iter():
            if element.text and _is_final(element.text):
                element.text = AtomicString(element.text)
            if element.tail and _is_final(element.tail):
                element.tail = AtomicString(element.tail)


def _is_final(text: str) -> bool:
    return not _SPECIAL.search(text) or bool(HTML_PLACEHOLDER_RE.fullmatch(text)) or is_too_much(text)


def is_too_much(text: str) -> bool:
    """Say whether one run of text would take too long to read."""
    if len(text) > MAX_CHARACTERS:
        return True
    return _steps(text) > MAX_STEPS + STEPS_PER_CHARACTER * len(text)


def _steps(text: str) -> int:
    """Sum up how far each bracket is from its partner, or from the end of the text where it has none."""
    if "[" not in text:
        return 0
    open_at: dict[str, list[int]] = {"[": [], "(": []}
    steps = 0
    for position, character in enumerate(text):
        if character in open_at:
            open_at[character].append(position)
        elif character in _PARTNERS and open_at[_PARTNERS[character]]:
            steps += position - open_at[_PARTNERS[character]].pop()
    return steps + sum(len(text) - position for positions in open_at.values() for position in positions)
