"""Read rendered HTML as strictly as its promises: for the tests of this folder."""

import re
from html.parser import HTMLParser

from scripthut_outputs.rendering import anchors, formulas, highlighting, render
from scripthut_outputs.rendering.grammar import OUR_CLASSES, OUR_LABELS
from scripthut_outputs.rendering.marks import HERE
from scripthut_outputs.rendering.sanitising import ATTRIBUTES, NOTICE_CLASS, TAGS

MIB = 1024 * 1024
VOID = {"br", "hr", "img", "wbr"}
ADDRESS = re.compile(
    r"(https?:)?//[^\s\"'<>\\]+|mailto:[^\s\"'<>\\]*|scripthut-file:[^\s\"'<>\\]+|/[^\s\"'<>\\]*|#[^\s\"'<>\\]+"
)
CLASSES = OUR_CLASSES | highlighting.CLASSES | {NOTICE_CLASS, anchors.CLASS, formulas.SOURCE_CLASS}
ID = re.compile(rf"(?:{HERE}|doc:[\w./~-]+:)(?:[\w-]+|fn(?:ref)?[0-9.]+)")


def html_of(document: str | bytes, *, max_bytes: int = MIB) -> str:
    """Render a whole document."""
    raw = document.encode() if isinstance(document, str) else document
    return render(raw, size_bytes=len(raw), max_bytes=max_bytes).html


class StrictReader(HTMLParser):
    """Fails for a tag, attribute or address that no document may have, and for an element left open."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.ids: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS | formulas.ELEMENTS, f"<{tag}> survived"
        self.elements.append((tag, dict(attrs)))
        for name, value in attrs:
            self._check_attribute(tag, name, value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment survived: {data!r}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration survived: {decl!r}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction survived: {data!r}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration survived: {data!r}")

    def _check_attribute(self, tag: str, name: str, value: str) -> None:
        checks = {
            "rel": (tag, value) == ("a", "noopener nofollow"),
            "class": value in CLASSES or (tag == "code" and value.startswith("language-")),
            "id": ID.fullmatch(value),
            "aria-label": value in OUR_LABELS | {anchors.LABEL, "Code", "Table", "Formula"},
            "role": (tag, value) in {("span", "img"), ("pre", "group"), ("div", "group")},
            "tabindex": (tag, value) in {("table", "0"), ("pre", "0"), ("div", "0")},
        }
        own = formulas.ATTRIBUTES if tag in formulas.ELEMENTS else ATTRIBUTES.get(tag, {})
        assert name in checks or name in own, f"{name}= survived on <{tag}>"
        assert checks.get(name, True), f"{name}={value!r} survived on <{tag}>"
        if name == "id":
            assert value not in self.ids, f"two have the id {value}"
            self.ids.add(value)
        if name in {"href", "src"}:
            assert ADDRESS.fullmatch(value), f"{name}={value!r}"


def read(html: str) -> StrictReader:
    """Read a whole fragment; everything opened in it is closed in it."""
    reader = StrictReader()
    reader.feed(html)
    reader.close()
    assert not reader.open, f"left open: {reader.open}"
    return reader
