"""Let through the HTML that documents need, and nothing else. Pure.

Promises of the output, which `serving` and its readers rest on: balanced; only the tags and attributes below; all
values in double quotes without `<`, `>`, `"` or `'`; `href` and `src` first; addresses as `targets` decides; classes,
ids and words for those who listen are ours, each of a fixed set or behind the mark that stands for a document's scope.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from html import escape

from bleach.html5lib_shim import Filter, convert_entities  # type: ignore[attr-defined]  # the stubs leave Filter out
from bleach.sanitizer import Cleaner

from . import targets
from .anchors import Anchors
from .grammar import OUR_CLASSES, OUR_LABELS
from .marks import HERE, OURS, without_marks
from .parsing import Parser
from .pieces import without_places
from .walking import Token, walk

NOTICE_CLASS = "scripthut-notice"
TAGS = frozenset(
    {
        "a",
        "abbr",
        "b",
        "blockquote",
        "br",
        "caption",
        "cite",
        "code",
        "dd",
        "del",
        "details",
        "dfn",
        "div",
        "dl",
        "dt",
        "em",
        "figcaption",
        "figure",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "ins",
        "kbd",
        "li",
        "mark",
        "ol",
        "p",
        "pre",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strong",
        "sub",
        "summary",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "u",
        "ul",
        "var",
        "wbr",
    }
)
_SMALL_NUMBER = re.compile(r"[0-9]{1,4}").fullmatch
_SPAN = re.compile(r"[1-9][0-9]?").fullmatch
_EXTENT = re.compile(r"[0-9]{1,4}%?").fullmatch
_ALIGN = re.compile(r"left|right|center|justify").fullmatch
_LANGUAGE = re.compile(r"language-[A-Za-z0-9_+.#-]{1,40}").fullmatch
_UNFIT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_Check = Callable[[str], object]


def _anything(_value: str) -> bool:
    return True


_CELL: dict[str, _Check] = {"align": _ALIGN, "colspan": _SPAN, "rowspan": _SPAN}
ATTRIBUTES: dict[str, dict[str, _Check]] = {
    "a": {"href": _anything, "title": _anything},
    "abbr": {"title": _anything},
    "code": {"class": _LANGUAGE},
    "details": {"open": _anything},
    "img": {"src": _anything, "alt": _anything, "title": _anything, "width": _EXTENT, "height": _EXTENT},
    "li": {"value": _SMALL_NUMBER},
    "ol": {"start": _SMALL_NUMBER},
    "td": _CELL,
    "th": _CELL,
}
OUR_ATTRIBUTES: dict[str, _Check] = {
    "aria-label": OUR_LABELS.__contains__,
    "class": OUR_CLASSES.__contains__,
    "id": re.compile(r"fn(?:ref)?(?:\.[0-9]{1,6}){1,2}").fullmatch,
    "role": {"img"}.__contains__,
}
_PARENTS = {"li": ("ul", "ol"), "dt": ("dl",), "dd": ("dl",)}
_UNSHOWN = ("script", "style", "svg", "math")


def sanitise(html: str, taken_out: Counter[str] | None = None) -> str:
    """Give the safe part of `html`, balanced.

    Args:
        html: without marks, but for those that we wrote.
        taken_out: counts what is lost, in words such as `<script>`, `onclick on <a>`, `link javascript:alert(1)`.

    Raises:
        TooIntricate: it would take too long to read.
    """
    lost = Counter[str]() if taken_out is None else taken_out

    def is_kept(tag: str, name: str, value: str) -> bool:
        if not is_allowed(tag, name, value):
            lost[f"{name} on <{tag}>"] += 1
            return False
        if name not in {"href", "src"} or targets.resolve(_read(name, value)) is not None:
            return True
        lost[f"{'link' if name == 'href' else 'image'} {_short(_read(name, value))}"] += 1
        return False

    cleaner = Cleaner(
        tags=TAGS,
        attributes=is_kept,
        protocols={"http", "https", "mailto"},
        strip=True,
        filters=[_Placed, _Canonical, Anchors],
    )
    cleaner.parser = Parser(TAGS, lost)
    cleaner.walker = walk  # type: ignore[assignment]  # anything that gives tokens will do
    return cleaner.clean(_without_unshown(html))


def is_allowed(tag: str, name: str, value: str) -> bool:
    """Say whether an attribute may stay."""
    if value.startswith(OURS):
        check = OUR_ATTRIBUTES.get(name)
        return check is not None and bool(check(value[1:]))
    check = ATTRIBUTES.get(tag, {}).get(name)
    return check is not None and bool(check(value))


def _without_unshown(html: str) -> str:
    """Empty elements whose text is not meant for people. For looks only: the sanitiser does not rest on it."""
    for name in _UNSHOWN:
        opening = re.compile(rf"<{name}(?=[\s/>])", re.IGNORECASE)
        closing = re.compile(rf"</{name}[\s/]*>", re.IGNORECASE)
        kept, position = [], 0
        while (start := opening.search(html, position)) and (end := closing.search(html, start.end())):
            kept.append(f"{html[position : start.start()]}<{name}>")
            position = end.end()
        html = "".join((*kept, html[position:]))
    return html


class _Placed(Filter):  # type: ignore[misc]  # html5lib's filters are untyped
    """Drop list entries that stand in no list: in a page they would close the page's own."""

    def __iter__(self) -> Iterator[Token]:
        path: list[tuple[str, bool]] = []
        for token in super().__iter__():
            if token["type"] == "StartTag":
                parents = _PARENTS.get(token["name"])
                is_kept = parents is None or bool(path and path[-1][0] in parents)
                path.append((token["name"], is_kept))
                if not is_kept:
                    continue
            elif token["type"] == "EndTag" and not path.pop()[1]:
                continue
            yield token


class _Canonical(Filter):  # type: ignore[misc]  # html5lib's filters are untyped
    """Write attributes in one way only, and addresses as `targets` decides."""

    def __iter__(self) -> Iterator[Token]:
        for token in super().__iter__():
            if token["type"] in {"StartTag", "EmptyTag"}:
                written = {name: _read(name, value) for (_, name), value in token["data"].items()}
                attributes = _address(token["name"], written)
                token["data"] = {(None, name): escape(value) for name, value in attributes.items()}
            yield token


def _read(name: str, value: str) -> str:
    """Read an attribute as written in the document: entities become characters, once."""
    if value.startswith(OURS):
        return (HERE if name == "id" else "") + value[1:]
    return without_marks(_UNFIT.sub("\ufffd", convert_entities(without_places(value))), instead="\ufffd")


def _address(tag: str, written: dict[str, str]) -> dict[str, str]:
    for name in ("href", "src"):
        target = targets.resolve(written.pop(name)) if name in written else None
        if target is not None:
            is_ours = target.startswith((targets.FILE_SCHEME, "#"))
            rel = {} if tag != "a" or is_ours else {"rel": "noopener nofollow"}
            return {name: target, **written, **rel}
    return written


def _short(address: str) -> str:
    seen = " ".join(address.split())
    return seen if len(seen) <= 80 else f"{seen[:79]}…"
