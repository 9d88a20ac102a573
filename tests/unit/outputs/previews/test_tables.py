"""Tables: separators, quotes, numbers, pages, order; and nothing that a cell can do."""

import csv
import re
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_outputs.rendering.previews import tables

from .reading import html_of, shown


@pytest.mark.parametrize(
    ("content", "header", "rows"),
    [
        (b"a,b\n1,2\n", ["a", "b"], [["1", "2"]]),
        (b"a;b\n1,5;2\n", ["a", "b"], [["1,5", "2"]]),
        (b"a\tb\n1\t2\n", ["a", "b"], [["1", "2"]]),
        (b'a,b\r\n"x\ny","say ""hi"""\r\n', ["a", "b"], [["x\ny", 'say "hi"']]),
        ("\ufeffa,b\n1,2".encode(), ["a", "b"], [["1", "2"]]),
        ("ä,b\nö,2".encode("latin-1"), ["ä", "b"], [["ö", "2"]]),
        ("a,b\n1,2".encode("utf-16"), ["a", "b"], [["1", "2"]]),
        (b"a,b\n\n1\n", ["a", "b"], [["1"]]),
        (b'a,b\n"never closed\n1,2', ["a", "b"], [["never closed\n1,2"]]),
        (b"\n\n", [], []),
    ],
)
def test_a_table_is_read_as_people_write_them(content: bytes, header: list[str], rows: list[list[str]]) -> None:
    table = tables.read(content)

    assert (table.header, table.rows) == (header, rows)


@pytest.mark.parametrize("cell", ["1", "-1.5", "+3.", ".5", "1e-3", "1D+05", "12%", "nan", "-inf", " 7 "])
def test_numbers_are_told_as_programs_write_them(cell: str) -> None:
    assert tables.is_number(cell)


@pytest.mark.parametrize("cell", ["", "1,000", "0x1f", "1e", "--1", "1.2.3", "=1+2", "1" * 65, "٣", "1_000"])
def test_what_is_no_number_stays_text(cell: str) -> None:
    assert not tables.is_number(cell)


def test_a_column_of_numbers_may_have_gaps() -> None:
    table = tables.read(b"name,value\na,1\nb,\nc,NA\nd,2.5\n")

    assert table.is_numeric == [False, True]


def test_a_table_is_sorted_as_numbers_with_gaps_last() -> None:
    content = b"n\n10\n\n9\nNA\n-1e3\n"

    def order(*, is_descending: bool) -> list[str]:
        cells = shown("t.csv", content, sort=1, is_descending=is_descending).html.split("<td")[1:]
        return [cell.partition(">")[2].partition("<")[0] for cell in cells]

    assert order(is_descending=False) == ["-1e3", "9", "10", "NA"]
    assert order(is_descending=True) == ["10", "9", "-1e3", "NA"]


def test_a_table_is_sorted_as_text_where_it_is_text() -> None:
    page = html_of("t.csv", b"n,x\nb,1\nA,2\nc,3\n", sort=1)

    assert page.text.endswith("1A22b13c3")
    assert [heading.get("aria-sort") for heading in page.all_of("th")[:3]] == [None, "ascending", None]


def test_an_order_that_no_column_has_changes_nothing() -> None:
    assert shown("t.csv", b"a\n2\n1\n", sort=9).html == shown("t.csv", b"a\n2\n1\n").html


def test_rows_come_in_pages_with_their_numbers() -> None:
    content = b"a\n" + b"".join(b"%d\n" % number for number in range(250))

    page = html_of("t.csv", content, page=3, sort=1, is_descending=True)

    assert "250 rows, 1 column" in page.text
    assert "page 3 of 3" in page.text
    assert len(page.all_of("tr")) == 51
    assert page.all_of("a")[-1]["href"] == "/ui/runs/r1/tasks/t0/files/x?page=2&sort=1&order=desc"
    assert html_of("t.csv", content, page=99).text == html_of("t.csv", content, page=3).text


def test_of_a_large_table_the_head_is_shown_with_about_how_many_rows_there_are() -> None:
    content = b"step,value\n" + b"12345678,87654321\n" * 300_000

    text = html_of("t.csv", content).text

    assert re.search("the first 58,2.. rows of about 300,.00, 2 columns", text)


def test_a_hundred_thousand_columns_are_cut() -> None:
    content = b",".join(b"c%d" % number for number in range(100_000)) + b"\n" + b",".join([b"1"] * 100_000)

    page = html_of("t.csv", content)

    assert "the first 100 of 100,000 columns" in page.text
    assert len(page.all_of("td")) == 100


def test_one_endless_line_is_cut() -> None:
    page = html_of("t.csv", b"a,b\n" + b"x" * 1024 * 1024 + b",2\n")

    assert len(page.text) < 1500


@pytest.mark.parametrize(
    "cell", ["=HYPERLINK(1)", "+1+1", "@SUM(A1)", "<img src=x onerror=alert(1)>", '"><script>', "\u202e\x1b["]
)
def test_a_cell_is_text_whatever_it_looks_like(cell: str) -> None:
    written = StringIO()
    csv.writer(written).writerows([[cell, "b"], [cell, "2"]])

    page = html_of("t.csv", written.getvalue().encode())

    assert page.text.count(cell.replace("\u202e", "\ufffd").replace("\x1b", "\ufffd")) == 2
    assert not page.all_of("img")


@settings(deadline=None)
@given(st.binary(max_size=2000), st.integers(0, 5), st.integers(1, 3), st.sampled_from(["t.csv", "t.tsv"]))
def test_any_bytes_make_a_safe_table(content: bytes, sort: int, page: int, name: str) -> None:
    html_of(name, content, sort=sort, page=page)
    html_of(name, content, sort=sort, page=page, is_descending=True)


@settings(deadline=None)
@given(st.lists(st.lists(st.text(max_size=20), min_size=2, max_size=5), min_size=1, max_size=8))
def test_what_was_written_as_csv_is_read_back(rows: list[list[str]]) -> None:
    written = StringIO()
    csv.writer(written).writerows(rows)

    table = tables.read(written.getvalue().encode("utf-8", "replace"), separator=",")

    kept = [[cell.encode("utf-8", "replace").decode() for cell in row] for row in rows]
    assert [table.header, *table.rows] == kept
