"""Headings have places of their own, which last, and which no other document and no page of ours has."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_outputs.rendering import fill, for_our_pages
from scripthut_outputs.rendering.anchors import MAX_SLUG, Slugs
from scripthut_outputs.rendering.marks import HERE
from scripthut_outputs.rendering.serving import scope

from .reading import html_of, read


def served(document: str, task_id: str = "train-0", path: bytes = b"task-summary.md") -> str:
    filled = fill(html_of(document), run_id="r1", task_id=task_id, path=path)
    return for_our_pages(filled, run_id="r1", task_id=task_id)


@pytest.mark.parametrize(
    ("heading", "slug"),
    [
        ("Results", "results"),
        ("  Two words, 3.5 %  ", "two-words-35-"),
        ("Größe & Łódź", "größe--łódź"),
        ("日本語 見出し", "日本語-見出し"),
        ("हिन्दी", "हिन्दी"),
        ("e\u0301tude", "étude"),
        ("snake_case-and-dash", "snake_case-and-dash"),
        ("<script>", "script"),
        ("\"'`/:#.", "section"),
        ("\u202eevil\u200b", "evil"),
        ("🚀", "section"),
        ("", "section"),
        ("x" * 500, "x" * MAX_SLUG),
    ],
)
def test_a_place_is_made_of_the_headings_words(heading: str, slug: str) -> None:
    assert Slugs().next(heading) == slug


def test_equal_headings_are_numbered_and_never_share_a_place() -> None:
    slugs = Slugs()

    assert [slugs.next(heading) for heading in ("A", "A", "A 1", "A", "a-1", "")] == [
        "a",
        "a-1",
        "a-1-1",
        "a-2",
        "a-1-2",
        "section",
    ]


def test_what_stands_in_a_heading_is_in_its_place_without_its_markup() -> None:
    html = html_of("# *A* `b` [c](d.csv) $x$ &amp; <b>e</b> ![f](g.png)\n\n<h2 id=main class=x>raw</h2>")

    assert read(html).ids == {f"{HERE}a-b-c---e", f"{HERE}raw"}


def test_a_heading_links_to_itself_but_not_inside_of_what_acts() -> None:
    links = read(served("# A\n\n<details><summary><h3>B</h3></summary></details>\n\n# [C](c.csv)")).elements

    assert [values["href"] for _, values in links if values.get("class") == "permalink"] == [
        "#doc:train-0/task-summary.md:a"
    ]


def test_links_inside_a_document_lead_to_its_own_places() -> None:
    html = served('[a](#größe) <a href="#größe">b</a> [c][r]\n\n[r]: #größe\n\n# Größe')

    assert html.count('href="#doc:train-0/task-summary.md:gr%C3%B6%C3%9Fe"') == 3
    assert 'id="doc:train-0/task-summary.md:größe"' in html


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"", "doc:t:"),
        (b"a/b-c_d.md", "doc:t/a/b-c_d.md:"),
        (b"a b.md", "doc:t/~"),
        (b"a:b.md", "doc:t/~"),
        ("ä.md".encode(), "doc:t/~"),
        (b"\xff<>\"'.md", "doc:t/~"),
        (b"x" * 101, "doc:t/~"),
    ],
)
def test_a_scope_names_the_task_and_the_path(path: bytes, found: str) -> None:
    assert scope("t", path).startswith(found)


IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)


@given(IDS, IDS, st.binary(max_size=4) | st.just(b"a"), st.binary(max_size=4) | st.just(b"a"))
@settings(deadline=None)
def test_no_two_documents_share_a_scope(one: str, other: str, path: bytes, other_path: bytes) -> None:
    assert (scope(one, path) == scope(other, other_path)) == ((one, path) == (other, other_path))


PIECES = st.sampled_from(
    [
        *[
            "#",
            "##",
            "[^1]",
            "[^1]:",
            "a",
            "b",
            "-",
            "_",
            ".",
            ":",
            "<h1>",
            "</h1>",
            "<h2",
            "id=a>",
            "<a",
            "name=a>",
            "[x](#a)",
            "\n",
            "\n\n",
        ],
        "\n",
    ]
)
DOCUMENTS = st.lists(PIECES, max_size=30).map("".join)


@given(DOCUMENTS, DOCUMENTS)
@settings(max_examples=200, deadline=None)
def test_two_documents_on_one_page_never_share_an_id(first: str, second: str) -> None:
    page = served(first, "t") + served(second, "t", b"b.md") + served(first, "t", b"") + served(second, "t-b.md")

    ids = read(page).ids  # fails when two have the same
    assert all(id_.startswith("doc:") for id_ in ids)


@pytest.mark.parametrize(
    "attack",
    [
        "<p id=live>x</p>",
        "<img name=cookie src=x.png>",
        "<a id=main name=getElementById href=#live>x</a>",
        "<div id='doc:train-0/task-summary.md:a'>x</div>",
        f"# {HERE}x\n\n<p id='{HERE}main'>&#xFDD3;&#64979;</p><a title='&#xFDD3;' href='#&#xFDD3;'>x</a>",
        "# main\n\n[^main]: x\n\n[^main]",
    ],
)
def test_no_author_chooses_an_id_or_a_name(attack: str) -> None:
    reader = read(served(attack))

    assert all(id_.startswith("doc:train-0/task-summary.md:") for id_ in reader.ids)
    assert not any("name" in values for _, values in reader.elements)


def test_a_place_does_not_depend_on_the_task() -> None:
    assert html_of("# A\n\n[b](#a)") == html_of("# A\n\n[b](#a)")
    assert HERE not in served("# A\n\n[b](#a)")
