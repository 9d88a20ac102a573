"""Text and logs: terminal colours, lines written over, numbers, both ends, code; never a tag of theirs."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_outputs.rendering.previews import terminal

from .reading import html_of, shown

MIB = 1024 * 1024


def line(text: str) -> str:
    """The HTML of one line of output."""
    return "\n".join(terminal.html_of(runs) for runs in terminal.lines(text))


@pytest.mark.parametrize(
    ("written", "html"),
    [
        ("\x1b[31mred\x1b[0m plain", '<span class="t-ink-1">red</span> plain'),
        ("\x1b[1;4;92mx\x1b[m", '<span class="t-ink-10 t-bold t-underline">x</span>'),
        ("\x1b[1mx\x1b[22my", '<span class="t-bold">x</span>y'),
        ("\x1b[41;37mx", '<span class="t-ink-7 t-ground-1">x</span>'),
        ("\x1b[38;5;196mx", '<span class="t-ink-9">x</span>'),
        ("\x1b[38;5;244mx", '<span class="t-ink-8">x</span>'),
        ("\x1b[48;2;0;200;10mx", '<span class="t-ground-2">x</span>'),
        ("\x1b[38:2::255:0:0mx", '<span class="t-ink-9">x</span>'),
        ("\x1b[38;2;1mx", "x"),
        ("\x1b[38;5mx", "x"),
        ("\x1b[7;31mx", '<span class="t-inverse">x</span>'),
        ("\x1b[31m\x1b[39mx", "x"),
        ("\x1b[999;;mx", "x"),
        ("\x1b[2J\x1b[1;1Hx\x1b]0;title\x07y\x1b(B", "xy"),
        ("\x1b[31mover\nlines", '<span class="t-ink-1">over</span>\n<span class="t-ink-1">lines</span>'),
        ("<b>\x1b[1m</b>", '&lt;b&gt;<span class="t-bold">&lt;/b&gt;</span>'),
    ],
)
def test_colours_become_classes(written: str, html: str) -> None:
    assert line(written) == html


@pytest.mark.parametrize(
    ("written", "shown_at_last"),
    [
        ("10%\r20%\r30%", "30%"),
        ("10%\r\n", "10%\n"),
        ("done\r", "done"),
        ("long text\rab", "ab"),
        ("50%\r\x1b[Knext", "next"),
        ("50%\r\x1b[K", ""),
        ("\x1b[32m10%\x1b[0m\r\x1b[32m99%", '<span class="t-ink-2">99%</span>'),
        ("a\r\r\rb", "b"),
    ],
)
def test_a_line_that_was_written_over_shows_its_last_state(written: str, shown_at_last: str) -> None:
    assert line(written) == shown_at_last


def test_program_output_can_be_had_without_colours() -> None:
    raw = b"\x1b[1;31merror\x1b[0m\r\nprogress 10%\rprogress 100%\n\x1b]0;title\x07done \xff\x00\n\n"

    assert terminal.plain(raw) == "error\nprogress 100%\ndone \ufffd\ufffd"


@settings(deadline=None)
@given(st.binary())
def test_no_output_turns_the_page_around(raw: bytes) -> None:
    assert not set(terminal.plain(raw)) & set("\x00\x07\x1b\r\u202e\u2066")


def test_lines_have_numbers_and_addresses() -> None:
    page = html_of("a.log", b"first\nsecond\n")

    assert [span.get("id") for span in page.all_of("span")] == ["L1", "L2"]
    assert [link["href"] for link in page.all_of("a")] == ["#L1", "#L2"]
    assert page.text == "first\nsecond\n"


def test_a_fragment_has_no_ids_of_its_own() -> None:
    page = html_of("a.log", b"first\nsecond\n", is_fragment=True)

    assert not [attributes for _, attributes in page.elements if "id" in attributes]
    assert [span["data-line"] for span in page.all_of("span")] == ["1", "2"]


def test_of_a_large_log_either_end_is_shown_with_true_numbers() -> None:
    content = b"".join(b"line %07d of a log that is long\n" % number for number in range(1, 60_001))

    head, tail = shown("a.log", content).html, shown("a.log", content, is_tail=True).html

    assert "The first 20,000 lines of a file of 2,100,000 bytes" in head
    assert '<a href="/ui/runs/r1/tasks/t0/files/x?end=tail">Show its end</a>' in head
    assert "The last 20,000 lines" in tail
    assert tail.rpartition('id="')[2].startswith("L60000")
    assert tail.endswith("line 0060000 of a log that is long\n</span></pre>")


def test_where_nobody_counted_lines_have_no_numbers() -> None:
    html = shown("a.log", b"x\n" * MIB, is_tail=True, first_line=0).html

    assert "data-line" not in html
    assert "id=" not in html


def test_one_endless_line_is_cut() -> None:
    page = html_of("a.txt", b"x" * MIB)

    assert "this line goes on" in page.text
    assert len(page.text) < 11_000


def test_a_bomb_of_colours_is_bounded() -> None:
    bomb = b"".join(b"\x1b[%dmx" % (30 + number % 8) for number in range(MIB // 6))

    preview = shown("a.log", bomb)

    assert preview.html.count("<span") < terminal.MAX_RUNS + 10


@pytest.mark.parametrize(
    "bomb", [b"\x1b[" + b"1;" * 500_000, b"\x1b[m" * 300_000, b"\r" * MIB, b"\x1b]" * 500_000, b"x\r" * 500_000]
)
def test_sequences_without_end_are_read_once(bomb: bytes) -> None:
    html_of("a.log", bomb + b"\nend")


@pytest.mark.parametrize(
    ("name", "content", "class_"),
    [
        ("a.py", b"def f():\n    return 'x'  # why\n", "code-keyword"),
        ("a.f90", b"program x\nend program\n", "code-keyword"),
        ("a.jl", b"function f() end", "code-keyword"),
        ("a.sbatch", b"#!/bin/bash\nfor x in y; do :; done\n", "code-keyword"),
        ("Makefile", b"all:\n\techo x # why\n", "code-name"),
        ("a.yaml", b"key: value # why\n", "code-comment"),
        ("a.html", b"<script>alert(1)</script>", "code-tag"),
        ("a.diff", b"--- a\n+++ b\n+new\n", "code-inserted"),
    ],
)
def test_code_is_coloured_by_its_name(name: str, content: bytes, class_: str) -> None:
    page = html_of(name, content)

    assert class_ in {span.get("class") for span in page.all_of("span")}
    assert page.text == content.decode().removesuffix("\n") + "\n"


def test_much_code_is_plain() -> None:
    page = shown("a.py", b"x = 1  # a line of code that is long enough\n" * 6_000).html

    assert "code-" not in page


def test_the_source_of_a_table_is_its_text() -> None:
    assert html_of("a.csv", b"a,b\n1,2\n", is_source=True).text == "a,b\n1,2\n"


@settings(deadline=None)
@given(st.binary(max_size=3000), st.sampled_from(["a.log", "a.py", "a.sh", "a.xml", "a.tex", "a.cpp", "a.m", "a.yaml"]))
def test_any_bytes_make_safe_text(content: bytes, name: str) -> None:
    html_of(name, content)
    html_of(name, content, is_fragment=True)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_code_keeps_its_text(text: str) -> None:
    source = re.sub("[^a-zA-Z0-9 \n()=#'\"<>&]", "", text) + "\nx"

    assert html_of("a.py", source.encode()).text == source + "\n"
