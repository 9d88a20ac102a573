"""Walk a parsed document in time that grows with its length; html5lib's own walker squares it. Pure."""

from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

VOID_TAGS = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
Token = dict[str, Any]


def walk(fragment: Element) -> Iterator[Token]:
    """Yield html5lib's tokens of everything inside `fragment`; comments are left out."""
    yield from _text(fragment.text)
    open_elements = [(fragment, iter(fragment))]
    while open_elements:
        element, rest = open_elements[-1]
        child = next(rest, None)
        if child is None:
            open_elements.pop()
            if open_elements:
                yield {"type": "EndTag", "name": element.tag, "namespace": None}
                yield from _text(element.tail)
        elif not isinstance(child.tag, str):
            yield from _text(child.tail)
        elif child.tag in VOID_TAGS:
            yield _tag("EmptyTag", child)
            yield from _text(child.tail)
        else:
            yield _tag("StartTag", child)
            yield from _text(child.text)
            open_elements.append((child, iter(child)))


def _tag(type_: str, element: Element) -> Token:
    attributes = {(None, name): value for name, value in element.attrib.items()}
    return {"type": type_, "name": element.tag, "namespace": None, "data": attributes}


def _text(text: str | None) -> Iterator[Token]:
    if text:
        yield {"type": "Characters", "data": text}
