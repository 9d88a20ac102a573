"""A file is what its name says as long as its bytes do not say otherwise; then the page does."""

import pytest

from scripthut_outputs.rendering.previews import Format, choose

from .reading import html_of, shown

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)


@pytest.mark.parametrize(
    ("path", "content", "format_"),
    [
        (b"a/plot.PNG", PNG, Format.IMAGE),
        (b"plot.png", b"\xff\xd8\xff\xe0 a JPEG", Format.IMAGE),
        (b"plot.webp", b"RIFF\x00\x00\x00\x00WEBPVP8 ", Format.IMAGE),
        (b"plot.svg", b"<?xml version='1.0'?><svg xmlns=''/>", Format.DRAWING),
        (b"paper.pdf", b"%PDF-1.4", Format.PDF),
        (b"t.csv", b"a,b\n", Format.TABLE),
        (b"t.ndjson", b"{}\n", Format.JSON_LINES),
        (b"n.ipynb", b"{}", Format.NOTEBOOK),
        (b"solve.f90", b"program x\n", Format.CODE),
        (b"Makefile", b"all:\n", Format.CODE),
        (b"run.log", b"line\n", Format.TEXT),
        (b"notes", b"plain", Format.TEXT),
        (b"notes", b"BM\nis how this begins", Format.TEXT),
        (b"photo", b"\xff\xd8\xff\xe0 a JPEG", Format.BINARY),
        (b"notes", "käse".encode("latin-1"), Format.TEXT),
        (b"notes", "utf-16".encode("utf-16"), Format.TEXT),
        (b"core", b"\x7fELF\x02\x01", Format.BINARY),
        (b"field.dat", bytes(range(256)), Format.BINARY),
        (b"plot", PNG, Format.BINARY),
        (b"a.csv", b"", Format.EMPTY),
        (b"dir.csv/a", b"text", Format.TEXT),
        (b"caf\xe9.csv", b"a,b", Format.TABLE),
    ],
)
def test_a_file_is_what_its_name_and_bytes_say(path: bytes, content: bytes, format_: Format) -> None:
    assert choose(path, content, size_bytes=len(content)).format is format_


@pytest.mark.parametrize(
    ("path", "content", "format_", "note"),
    [
        (b"a.png", b"<html><script>alert(1)</script>", Format.TEXT, "ends in .png, but it holds HTML or XML"),
        (b"a.png", b"hello", Format.TEXT, "ends in .png, but it holds text"),
        (b"a.svg", b"hello", Format.TEXT, "ends in .svg, but it holds text"),
        (b"a.pdf", PNG, Format.BINARY, "ends in .pdf, but it holds PNG picture"),
        (b"a.csv", b"PK\x03\x04\x00\x00", Format.BINARY, "ends in .csv, but it holds binary data"),
        (b"a.ipynb", bytes(64), Format.BINARY, "ends in .ipynb, but it holds binary data"),
        (b"a.json", b"\x1f\x8b\x08\x00", Format.BINARY, "ends in .json, but it holds binary data"),
    ],
)
def test_a_name_that_lies_is_told(path: bytes, content: bytes, format_: Format, note: str) -> None:
    choice = choose(path, content, size_bytes=len(content))

    assert choice.format is format_
    assert note in choice.note
    assert note in html_of(path, content).text


def test_a_picture_that_is_html_is_shown_as_its_text() -> None:
    page = html_of("plot.png", b"<html><script>alert(1)</script></html>")

    assert not page.all_of("img")
    assert "<script>alert(1)</script>" in page.text


def test_a_notebook_that_is_no_json_is_shown_as_its_text_with_the_place() -> None:
    preview = shown("n.ipynb", b'{"cells": [}')

    assert "no notebook of format 4" in (preview.reason or "")
    assert '{"cells": [}' in html_of("n.ipynb", b'{"cells": [}').text


def test_a_binary_is_shown_by_size_kind_hash_and_first_bytes() -> None:
    page = html_of("field.h5", b"\x89HDF\r\n\x1a\n" + bytes(1000))

    for said in ("HDF5", "1,008 bytes", "a" * 64, "00000000  89 48 44 46", "|.HDF....", "The first 256 bytes"):
        assert said in page.text


def test_an_empty_file_is_said_to_be_empty() -> None:
    assert html_of("a.png", b"").text == "This file is empty."
