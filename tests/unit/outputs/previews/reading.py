"""Read previews as strictly as their promises: for the tests of this folder."""

import re
from html.parser import HTMLParser
from typing import Any

import msgspec

from scripthut_outputs.rendering.previews import Asked, Preview, choose, make, span
from scripthut_outputs.rendering.sanitising import TAGS

VOID = {"br", "hr", "img", "wbr"}
OURS = {"section", "figure", "nav", "iframe", *TAGS}
ATTRIBUTES = {
    *("class", "id", "href", "src", "alt", "title", "rel", "tabindex", "role", "scope", "open", "download", "loading"),
    *("aria-label", "aria-sort", "data-line", "data-complete", "data-count"),
    *("align", "colspan", "rowspan", "width", "height", "start", "value"),
}
ADDRESS = re.compile(
    r"https?://[^\s\"'<>]+|/[^\s\"'<>]*|#[A-Za-z0-9_:/~.-]+|data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+"
)
MAX_GROWTH_BYTES = 24 * 1024 * 1024


class StrictReader(HTMLParser):
    """Fails for a tag, attribute or address that no preview may have, and for an element left open."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in OURS, f"<{tag}> stands in it"
        for name, value in attrs:
            assert name in ATTRIBUTES, f"{name}= stands on <{tag}>"
            if name in {"href", "src"}:
                assert ADDRESS.fullmatch(value or ""), f"{name}={value!r}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl!r}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data!r}")

    def all_of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element with this name."""
        return [attributes for name, attributes in self.elements if name == tag]


def read(html: str) -> StrictReader:
    """Read a whole preview; everything opened in it is closed in it, and it is no longer than it may be."""
    assert len(html) < MAX_GROWTH_BYTES
    reader = StrictReader()
    reader.feed(html)
    reader.close()
    assert not reader.open, f"left open: {reader.open}"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", reader.text)
    return reader


def shown(path: str | bytes, content: bytes, *, is_tail: bool = False, **changed: Any) -> Preview:
    """The preview of a whole file, as the page of it would show it."""
    name = path.encode() if isinstance(path, str) else path
    choice = choose(name, content[:4096], size_bytes=len(content))
    wanted = span(
        choice,
        len(content),
        is_tail=is_tail,
        is_fragment=changed.get("is_fragment", False),
        is_source=changed.get("is_source", False),
    )
    asked = Asked(
        path=name,
        size_bytes=len(content),
        sha256="a" * 64,
        choice=choice,
        span=wanted,
        url="/ui/runs/r1/tasks/t0/files/x",
        run_id="r1",
        task_id="t0",
        first_line=content[: wanted.start].count(b"\n") + 1,
    )
    return make(msgspec.structs.replace(asked, **changed), content[wanted.start : wanted.start + wanted.length])


def html_of(path: str | bytes, content: bytes, **changed: Any) -> StrictReader:
    """The same, read strictly."""
    return read(shown(path, content, **changed).html)
