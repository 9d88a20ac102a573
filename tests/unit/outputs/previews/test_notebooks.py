"""Notebooks are shown as they were saved: nothing runs, pictures are pictures, and all of it is bounded."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_outputs.rendering.previews import notebooks

from .reading import html_of, shown

PNG = b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()


def notebook(*cells: dict[str, Any], **changed: Any) -> bytes:
    """A notebook of these cells."""
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)} | changed).encode()


def code(*outputs: dict[str, Any], source: str | list[str] = "") -> dict[str, Any]:
    """A cell that ran."""
    return {"cell_type": "code", "source": source, "outputs": list(outputs), "execution_count": 3, "metadata": {}}


def gave(**bundle: Any) -> dict[str, Any]:
    """An output by MIME type, written with `__` for the slash and `_` for the dash."""
    data = {kind.replace("__", "/").replace("_", "-"): value for kind, value in bundle.items()}
    return {"output_type": "display_data", "data": data, "metadata": {}}


def test_cells_are_shown_in_order_with_what_they_gave() -> None:
    page = html_of(
        "n.ipynb",
        notebook(
            {"cell_type": "markdown", "source": ["# Title\n", "\n", "![](plot.png) *text*"]},
            code({"output_type": "stream", "name": "stdout", "text": ["\x1b[32mok\x1b[0m\n"]}, source="print('ok')"),
            code(gave(image__png=PNG, text__plain="<Figure>")),
            code({"output_type": "error", "ename": "E", "traceback": ["\x1b[31mTraceback\x1b[0m", "E: v"]}),
            {"cell_type": "raw", "source": "raw <b>"},
        ),
    )  # fmt: skip

    assert (
        page.text.index("Title") < page.text.index("print") < page.text.index("Traceback") < page.text.index("raw <b>")
    )
    sources = [image["src"] or "" for image in page.all_of("img")]
    assert sources == ["/runs/r1/tasks/t0/outputs/file/plot.png", f"data:image/png;base64,{PNG}"]
    assert [heading for heading, _ in page.elements if heading[0] == "h" and heading[1:].isdigit()] == ["h2"]
    assert {"t-ink-2", "t-ink-1", "code-builtin"} <= {span.get("class") for span in page.all_of("span")}


def test_what_would_run_is_named_and_left_out() -> None:
    page = html_of(
        "n.ipynb",
        notebook(
            code(gave(application__javascript="alert(1)", text__plain="a plain form")),
            code({"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {}}}),
            code(gave(text__html="<script>alert(1)</script><b onclick=alert(1)>bold</b><iframe src=//x></iframe>")),
        ),
    )  # fmt: skip

    assert "Left out: a script." in page.text
    assert "Left out: an interactive widget." in page.text
    assert "a plain form" in page.text
    assert "bold" in page.text
    assert "alert" not in page.text


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        ("%%%", "it is damaged"),
        (b64encode(b"<svg onload=alert(1)>").decode(), "its bytes are none"),
        (b64encode(b"<html>").decode(), "its bytes are none"),
        (7, "its bytes are none"),
        ("A" * 40 * 1024 * 1024, "too many large ones"),
    ],
)
def test_a_picture_that_is_none_is_left_out(encoded: Any, said: str) -> None:
    raw = notebook(code(gave(image__png=encoded)))
    page = html_of("n.ipynb", raw) if len(raw) < 2**24 else None

    assert page is None or said in page.text


def test_a_picture_has_the_type_that_its_bytes_have() -> None:
    jpeg = b64encode(b"\xff\xd8\xff\xe0" + bytes(20)).decode()

    page = html_of("n.ipynb", notebook(code(gave(image__png=jpeg))))

    assert page.all_of("img")[0]["src"] == f"data:image/jpeg;base64,{jpeg}"


@pytest.mark.parametrize(
    "content",
    [b"[]", b"{}", b'{"cells": 3, "nbformat": 4}', b"\xff\xfe{", b"{" * 100_000, notebook(nbformat=3)],
)
def test_what_is_no_notebook_is_text(content: bytes) -> None:
    assert shown("n.ipynb", content).reason is not None
    html_of("n.ipynb", content)


def test_a_notebook_that_would_unfold_is_bounded() -> None:
    markdown = {"cell_type": "markdown", "source": "word " * 3_000}
    stream = {"output_type": "stream", "name": "stdout", "text": "y\n" * 30_000}
    pictures = [gave(image__png=PNG) for _ in range(500)]

    page = html_of("n.ipynb", notebook(*[markdown] * 3, code(*pictures), *[code(stream)] * 20, *[code()] * 600))

    assert "more outputs are left out" in page.text
    assert "The output goes on" in page.text
    assert "more cells are left out" in page.text


def test_too_much_html_is_left_out() -> None:
    html = "<b>x</b>" * (notebooks.MAX_AUTHORED_CHARACTERS // 8 + 1)

    assert "too much HTML" in html_of("n.ipynb", notebook(code(gave(text__html=html)))).text


def test_html_that_is_too_intricate_is_left_out_alone() -> None:
    page = html_of("n.ipynb", notebook(code(gave(text__html="<div></b>" * 300)), code(gave(text__html="<b>next</b>"))))

    assert "An output is left out: it is nested too deeply." in page.text
    assert "next" in page.text


def test_nobody_but_us_writes_what_is_ours() -> None:
    html = "<p class='\ufdd0alert alert-note' id='\ufdd0fn.1' role='\ufdd0img'>a\ufdd10\ufdd2\ufdd3\x1b[1mb\0</p>"

    page = html_of("n.ipynb", notebook(code(gave(text__html=html))))

    assert page.all_of("p") == [{}]
    assert "ab" in page.text.replace("0", "")


def test_pictures_attached_to_a_cell_are_said_to_be_left_out() -> None:
    cell = {
        "cell_type": "markdown",
        "source": "![x](attachment:a.png) y",
        "attachments": {"a.png": {"image/png": PNG}},
    }

    page = html_of("n.ipynb", notebook(cell))

    assert "Pictures attached to this cell are left out" in page.text
    assert [image.get("src") for image in page.all_of("img")] in ([], [None])


def test_very_many_outputs_are_bounded() -> None:
    stream = {"output_type": "stream", "name": "stdout", "text": "y\n"}

    assert "99,950 more outputs are left out" in html_of("n.ipynb", notebook(code(*[stream] * 100_000))).text


@settings(deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"cell_type": st.sampled_from(["code", "markdown", "raw", "odd"]), "source": st.text(max_size=60)},
            optional={
                "outputs": st.lists(
                    st.fixed_dictionaries(
                        {"output_type": st.sampled_from(["stream", "error", "display_data"])},
                        optional={
                            "text": st.text(max_size=40),
                            "traceback": st.lists(st.text(max_size=20), max_size=3),
                            "data": st.dictionaries(
                                st.sampled_from(["text/html", "text/plain", "image/png", "text/markdown", "x/y"]),
                                st.text(max_size=40) | st.integers() | st.lists(st.text(max_size=9), max_size=3),
                            ),
                        },
                    ),
                    max_size=4,
                )
            },
        ),
        max_size=5,
    )
)
def test_any_cells_make_a_safe_notebook(cells: list[dict[str, Any]]) -> None:
    html_of("n.ipynb", notebook(*cells))
