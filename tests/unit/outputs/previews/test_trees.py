"""JSON folds, loses nothing, says where it is broken, and is bounded in depth and size."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .reading import html_of, shown

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=5) | st.dictionaries(st.text(max_size=9), children, max_size=5),
    max_leaves=30,
)


def test_a_value_is_a_tree_that_folds() -> None:
    page = html_of("a.json", b'{"name": "x", "list": [1, 2.50, null, true, {"deep": []}]}')

    assert len(page.all_of("details")) == 3
    assert ["open" in details for details in page.all_of("details")] == [True, True, False]
    for said in ("name: ", '"x"', "{2}", "[5]", "2.50", "null", "true", "deep"):
        assert said in page.text


def test_numbers_and_names_stay_as_they_are_written() -> None:
    text = html_of("a.json", b'{"a": 1e400, "a": 12345678901234567890.10, "b": ' + b"9" * 5000 + b"}").text

    assert "1e400" in text
    assert "12345678901234567890.10" in text
    assert "{3}" in text


def test_broken_json_is_text_with_the_place() -> None:
    preview = shown("a.json", b'{"a": 1,\n  "b": ]}')

    assert preview.reason == "it is no JSON (line 2, column 8: Expecting value)"
    assert "line 2, column 8" in preview.html


@pytest.mark.parametrize("content", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
def test_json_nested_a_hundred_thousand_deep_is_text(content: bytes) -> None:
    preview = shown("a.json", content)

    assert preview.reason == "it is nested too deeply"
    html_of("a.json", content)


def test_json_nested_deeper_than_is_shown_says_so() -> None:
    page = html_of("a.json", b"[" * 60 + b"1" + b"]" * 60)

    assert "nested deeper" in page.text


def test_more_values_than_there_is_room_for_are_counted() -> None:
    page = html_of("a.json", json.dumps([list(range(400)) for _ in range(100)]).encode())

    assert "more; the source has all" in page.text
    assert len(page.elements) < 30_000


def test_a_tree_that_is_too_large_is_text() -> None:
    preview = shown("a.json", b"[" + b"1," * 3_000_000 + b"1]")

    assert preview.reason == "it is too large to be shown as a tree"
    assert 'x?view=source&amp;end=tail">Show its end</a>' in preview.html


def test_lines_are_values_and_a_broken_one_says_what_is_wrong() -> None:
    page = html_of("a.jsonl", b'{"step": 1}\n\n{"step": }\n[2]\n')

    assert "3 lines" in page.text
    assert "Line 3: it is no JSON (line 1, column 10" in page.text
    assert "[1]" in page.text


def test_of_many_lines_the_first_are_shown() -> None:
    assert "the first 200 of 1,000 lines" in html_of("a.jsonl", b"1\n" * 1000).text
    assert "the first 200 lines of 2,000,000 bytes" in html_of("a.jsonl", b"1\n" * 1_000_000).text


@settings(deadline=None)
@given(VALUES)
def test_every_value_makes_a_safe_tree(value: object) -> None:
    assert shown("a.json", json.dumps(value).encode()).reason is None
    html_of("a.json", json.dumps(value).encode())


@settings(deadline=None)
@given(st.binary(max_size=500))
def test_any_bytes_make_something_safe(content: bytes) -> None:
    html_of("a.json", content)
    html_of("a.jsonl", content)
