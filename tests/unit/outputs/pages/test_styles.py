"""Styles hold together: each rule has one place, each class is one that a page can have, no file is long."""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

import scripthut_outputs

FOLDER = Path(scripthut_outputs.__file__).parent
STYLES = sorted((FOLDER / "static").glob("*.css"))
MADE = ("templates/*.html", "static/*.js", "rendering/**/*.py", "controllers/**/*.py")
# The last part of these classes is said by what is shown: a colour, the kind of a word, a state.
OPEN_ENDED = ("t-", "code-", "alert-", "cell-", "icon-")


def without_comments(path: Path) -> str:
    return re.sub(r"/\*.*?\*/", "", path.read_text("utf-8"), flags=re.DOTALL)


def rules(source: str, within: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield what each rule stands in (a medium, or nothing), its selectors and what it declares."""
    for found in re.finditer(r"([^{}]+)\{((?:[^{}]|\{[^{}]*\}|\{(?:[^{}]|\{[^{}]*\})*\})*)\}", source):
        selectors, body = " ".join(found[1].split()), found[2]
        if selectors.startswith("@media"):
            yield from rules(body, selectors)
        elif not selectors.startswith("@"):
            yield within, selectors, body


def test_no_property_of_one_selector_is_set_in_two_places() -> None:
    places = defaultdict(list)
    for path in STYLES:
        for within, selectors, body in rules(without_comments(path)):
            for name in re.findall(r"(?:^|;)\s*([a-z-]+)\s*:", body):
                medium = "@media print" if path.name == "print.css" else within
                places[medium, selectors, name].append(path.name)

    assert {place: files for place, files in places.items() if len(files) > 1} == {}


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_every_class_is_one_that_a_page_can_have(path: Path) -> None:
    sources = "".join(found.read_text("utf-8") for found in chain(*(FOLDER.glob(pattern) for pattern in MADE)))
    quoted = re.findall(r'"([^"\n]*)"', sources) + re.findall(r"'([^'\n]*)'", sources)
    words = set(re.findall(r"[\w-]+", " ".join(quoted)))
    selectors = " ".join(selectors for _, selectors, _ in rules(without_comments(path)))
    classes = set(re.findall(r"\.(-?[a-z_][\w-]*)", selectors))

    unused = classes - words
    assert {name for name in unused if not name.startswith(OPEN_ENDED)} == set()
    assert all(any(name.startswith(start) and start in sources for start in OPEN_ENDED) for name in unused)


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


def test_every_file_is_part_of_a_page() -> None:
    base = (FOLDER / "templates" / "base.html").read_text("utf-8")

    assert {path.name for path in STYLES} == set(re.findall(r"static\('([a-z]+\.css)'\)", base))
