"""Give headings their ids, and a link to themselves. Pure.

Ids stand behind the mark of the document's scope; see `serving.scope`. They are made of the heading's words alone, so
links to them last.
"""

import unicodedata
from collections.abc import Iterator

from bleach.html5lib_shim import Filter, convert_entities  # type: ignore[attr-defined]  # the stubs leave Filter out

from .marks import HERE
from .pieces import without_places
from .walking import Token

HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
LABEL = "Link to this heading"
CLASS = "permalink"
MAX_SLUG = 80
_NO_LINK_INSIDE = ("a", "summary")


class Anchors(Filter):  # type: ignore[misc]  # html5lib's filters are untyped
    """Each heading waits for its end, since its id is made of what stands in it."""

    def __iter__(self) -> Iterator[Token]:
        slugs = Slugs()
        heading: list[Token] = []
        path: list[str] = []
        for token in super().__iter__():
            if token["type"] == "StartTag":
                path.append(token["name"])
                if not heading and token["name"] in HEADINGS:
                    heading, depth = [token], len(path)
                    continue
            elif token["type"] == "EndTag":
                path.pop()
                if heading and len(path) < depth:
                    yield from _linked(heading, slugs, is_linked=not any(tag in path for tag in _NO_LINK_INSIDE))
                    heading = []
            if heading:
                heading.append(token)
            else:
                yield token


class Slugs:
    """Words for ids, no two of one document the same."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def next(self, heading: str) -> str:
        """Give the id of a heading: as GitHub makes it, at most 80 characters before a number."""
        words = unicodedata.normalize("NFC", heading).strip().lower()
        first = "".join(_kept(character) for character in words)[:MAX_SLUG] or "section"
        slug, number = first, self._taken.get(first, 0)
        while slug in self._taken:
            number += 1
            slug = f"{first}-{number}"
        self._taken[first] = number
        self._taken.setdefault(slug, 0)
        return slug


def _kept(character: str) -> str:
    if character.isspace():
        return "-"
    return character if character in "-_" or unicodedata.category(character)[0] in "LMN" else ""


def _linked(heading: list[Token], slugs: Slugs, *, is_linked: bool) -> Iterator[Token]:
    place = HERE + slugs.next("".join(_words(token) for token in heading))
    yield heading[0] | {"data": {(None, "id"): place}}
    yield from heading[1:]
    if is_linked and not any(token.get("name") == "a" for token in heading):
        link = {(None, "href"): f"#{place}", (None, "class"): CLASS, (None, "aria-label"): LABEL}
        yield {"type": "StartTag", "name": "a", "namespace": None, "data": link}
        yield {"type": "EndTag", "name": "a", "namespace": None}


def _words(token: Token) -> str:
    if token["type"] == "Entity":
        return str(convert_entities(f"&{token['name']};"))
    return without_places(token["data"]) if token["type"] in {"Characters", "SpaceCharacters"} else ""
