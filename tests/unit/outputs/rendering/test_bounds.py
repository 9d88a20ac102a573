"""What would take longer to read than it is worth is shown as it was written, and nothing else is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_outputs.rendering import render
from scripthut_outputs.rendering.grammar.bounds import MAX_CHARACTERS, is_too_much
from scripthut_outputs.rendering.grammar.lists import MAX_DEPTH as MAX_LISTS
from scripthut_outputs.rendering.grammar.scanning import MAX_QUOTES
from scripthut_outputs.rendering.parsing import MAX_DEPTH, MAX_STEPS

from .reading import MIB, html_of, read


@pytest.mark.parametrize(
    "text",
    [
        "word " * (MAX_CHARACTERS // 5 + 1),
        "[" * 2_000,
        "[a](" * 2_000,
        "![" * 2_000,
        "[" * 1_000 + "]" * 1_000,
    ],
)
def test_text_past_the_bounds_is_shown_as_it_was_written(text: str) -> None:
    document = f"{text} **x**"

    assert is_too_much(document)
    assert read(html_of(document)).text == document


@pytest.mark.parametrize(
    "text",
    [
        "[a](b.csv) " * 1_000,
        "[[a]](b) and [c][d] (e (f) g)",
        "**a** *b* `c` " * 1_000,
        "(" * 20 + "[" * 20,
    ],
)
def test_ordinary_text_is_within_the_bounds(text: str) -> None:
    assert not is_too_much(text)


def test_only_what_is_past_the_bounds_is_left_unread() -> None:
    html = html_of("**a**\n\n" + "x" * (MAX_CHARACTERS + 1) + " **b**\n\n**c**")

    assert html.count("<strong>") == 2


def reason_of(document: str) -> str | None:
    raw = document.encode()
    rendered = render(raw, size_bytes=len(raw), max_bytes=MIB)
    assert rendered.reason is None or read(rendered.html).text.endswith(document)
    return rendered.reason


@pytest.mark.parametrize(
    "begin",
    [
        *("<div>", "<b>", "<details>", "<blockquote>", "<span>"),
        *("<div></b>", "<div><!-- </div> -->", '<div title="</div>">', "<div><script></div></script>", "<div></x-y>"),
        "<p><b title={}>",
    ],
)
def test_html_that_nests_too_deeply_is_shown_as_text(begin: str) -> None:
    document = "<div>\n" + "".join(begin.format(number) for number in range(MAX_DEPTH + 1))

    assert reason_of(document) == "it is nested too deeply"


@pytest.mark.parametrize(
    "html",
    [
        *("<p>a" * 1_000, "<li>a" * 1_000, "<br>" * 1_000, "<b>a</b>" * 1_000, "</div>" * 1_000, "a < b" * 1_000),
        *("<x-y>" * 1_000, "<script>" * 1_000),
    ],
)
def test_many_elements_one_after_the_other_are_not_deep(html: str) -> None:
    assert reason_of(f"<div>\n{html}") is None


@pytest.mark.parametrize(
    "tag",
    [
        "<p " + "".join(f"a{number}=1 " for number in range(MAX_STEPS)) + ">",
        "<p " + "a " * MAX_STEPS + ">",
        f'<p title="{"&" * MAX_STEPS}">',
        "<p " + "'" * MAX_STEPS + ">",
        f"<{'a' * MAX_STEPS}>",
        f"<!doctype {'a' * MAX_STEPS}>",
        f"<!--{'-' * MAX_STEPS}",
    ],
)
def test_a_tag_of_too_many_parts_is_shown_as_text(tag: str) -> None:
    assert reason_of(f"<div>\n{tag}") == "it has a tag of too many parts"


@pytest.mark.parametrize("beside", ["<br>", "x<tr>", "<b></b>"])
def test_what_stands_beside_cells_is_bounded(beside: str) -> None:
    assert reason_of(f"<table>\n{beside * 2_000}") == "too much of it stands in tables beside their cells"


@pytest.mark.parametrize(
    "html",
    [
        f"<p>{'&' * 2 * MAX_STEPS}",
        f"<p>{'<' * 2 * MAX_STEPS}",
        f"<!-- {'a-b ' * 2 * MAX_STEPS}-->c",
        f'<img alt="{"word " * 2 * MAX_STEPS}">',
        f'<a title="{"&" * 1_000}">x</a>' * 20,
    ],
)
def test_long_text_and_comments_are_no_long_tags(html: str) -> None:
    assert reason_of(f"<div>\n{html}") is None


def test_lists_and_quotes_end_somewhere() -> None:
    quotes = html_of("> " * (MAX_QUOTES + 20) + "x")
    lists = html_of("".join("  " * depth + "- x\n" for depth in range(MAX_LISTS + 20)))

    read(quotes)
    read(lists)
    assert lists.count("<ul>") <= MAX_LISTS + 1


LINES = st.sampled_from(
    [
        "- a",
        "  - b",
        "    - c",
        "1. d",
        "2) e",
        "> f",
        "> - g",
        "```",
        "~~~",
        "$$",
        "<div>",
        "</div>",
        "<!--",
        "-->",
        "",
    ]
)
OTHERS = st.sampled_from(
    ["    h", "  i", "# j", "---", "===", "| k |", "|---|", "[^1]: l", "m[^1]", "<pre>", "\t- n", "- "]
)


@given(st.lists(LINES | OTHERS, max_size=25).map("\n".join))
@settings(max_examples=500, deadline=None)
def test_any_order_of_blocks_can_be_read(document: str) -> None:
    read(html_of(document))


@given(st.lists(st.sampled_from(["a", "b c", "- d", "> e", "  f", "1. g", "    h", ""]), max_size=20))
@settings(max_examples=300, deadline=None)
def test_no_word_is_lost_among_blocks(lines: list[str]) -> None:
    text = read(html_of("\n".join(lines))).text

    assert sorted(text.split()) == sorted(word for line in lines for word in line.split() if word.isalpha())
