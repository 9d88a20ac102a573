"""Footnotes, with ids that no heading has, and without those that nothing refers to. Pure."""

import re
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown
from markdown.extensions.footnotes import FN_BACKLINK_TEXT, FootnoteExtension
from markdown.treeprocessors import Treeprocessor

from scripthut_outputs.rendering.marks import OPEN, OURS

CLASSES = frozenset({"footnotes", "footnote-ref", "footnote-backref"})
BACK = "Back to the text"
_ID = re.compile(r"fn(ref)?([0-9]*):(.*)", re.DOTALL)


class Footnotes(FootnoteExtension):
    """The library's footnotes, in the order in which the text refers to them."""

    def __init__(self) -> None:
        super().__init__(USE_DEFINITION_ORDER=False, PLACE_MARKER=OPEN)
        self._is_complete = False

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Rename what the library names after authors' labels, when it has done all else."""
        super().extendMarkdown(md)
        md.treeprocessors.register(_Naming(md, self), "footnote_names", 14)

    def setFootnote(self, id: str, text: str) -> None:  # noqa: A002, N802
        """Keep a footnote; one inside of another comes too late for the library."""
        if not self._is_complete:
            super().setFootnote(id, text)

    def unique_ref(self, reference: str, found: bool = False) -> str:  # noqa: FBT001, FBT002
        """Number what refers to one footnote again and again; the library counts from the start each time."""
        if not found:
            return reference
        count = self.found_refs[reference] = self.found_refs.get(reference, 0) + 1
        name, separator, label = reference.partition(":")
        return reference if count == 1 else f"{name}{count}{separator}{label}"

    def makeFootnotesDiv(self, root: Element) -> Element | None:  # noqa: N802
        """Give an empty footnote its way back too: the library takes it for granted."""
        self._is_complete = True
        made: Element | None = super().makeFootnotesDiv(root)
        for entry in made.iter("li") if made is not None else ():
            if not len(entry) and "id" in entry.attrib:
                back = SubElement(SubElement(entry, "p"), "a", {"class": "footnote-backref"})
                back.set("href", "#" + self.makeFootnoteRefId(entry.attrib["id"].partition(":")[2]))
                back.text = FN_BACKLINK_TEXT
        return made


class _Naming(Treeprocessor):
    """`fnref2:LABEL` becomes `fnref.N.2`: a slug has no dots."""

    def __init__(self, md: Markdown, footnotes: Footnotes) -> None:
        super().__init__(md)
        self._footnotes = footnotes

    def run(self, root: Element) -> None:
        numbers = {label: number for number, label in enumerate(self._footnotes.footnote_order, start=1)}
        for list_ in root.iter("ol"):
            for entry in [entry for entry in list_ if not self._is_referred_to(entry, numbers)]:
                list_.remove(entry)
        for element in root.iter():
            if element.tag in {"sup", "li"} and "id" in element.attrib:
                element.set("id", OURS + _name(element.attrib["id"], numbers))
            elif element.get("class") in CLASSES:
                element.set("href", "#" + _name(element.attrib["href"][1:], numbers))
                if element.get("class") == "footnote-backref":
                    element.attrib.pop("title", None)
                    element.set("aria-label", OURS + BACK)
                element.set("class", OURS + element.attrib["class"])
            elif element.get("class") == "footnote":
                element.set("class", f"{OURS}footnotes")

    def _is_referred_to(self, entry: Element, numbers: dict[str, int]) -> bool:
        found = _ID.fullmatch(entry.get("id", ""))
        return found is None or found[3] in numbers


def _name(id_: str, numbers: dict[str, int]) -> str:
    found = _ID.fullmatch(id_)
    if found is None or found[3] not in numbers:
        return "fn.0"
    again = f".{found[2]}" if found[2] else ""
    return f"fn{found[1] or ''}.{numbers[found[3]]}{again}"
