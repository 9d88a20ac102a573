"""Authors can see beforehand what readers will not get."""

import pytest

from scripthut_outputs.rendering import Stripped, stripped


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ("<script>alert(1)</script>", "<script>"),
        ("x <iframe src=https://example.org></iframe>", "<iframe>"),
        ('<a href="x.csv" onclick="y()">z</a>', "onclick on <a>"),
        ('<p style="color: red">x</p>', "style on <p>"),
        ("[x](javascript:alert(1))", "link javascript:alert(1)"),
        ("![x](data:image/png;base64,AAAA)", "image data:image/png;base64,AAAA"),
        ("![x](../../secret.png)\n\n![x](/../a.png)", None),
        ('<b <a onclick="x()">y</b>', "onclick on <a>"),
        ("<scr<script>x</script>ipt>", "<script>"),
        ("<!-- <script> --> &lt;script>", None),
        ("<div>" * 300 + "<script></script>", None),
        ("# Fine\n\n[x](y.csv) **z** `<script>`", None),
    ],
)
def test_what_is_taken_out_is_named(document: str, what: str | None) -> None:
    assert [found.what for found in stripped(document.encode(), 1024)] == ([what] if what else [])


def test_equal_things_are_counted_in_the_order_of_their_first_appearance() -> None:
    found = stripped(b"<object></object><script></script>\n\n<object></object>", 1024)

    assert found == (Stripped(what="<object>", count=2), Stripped(what="<script>", count=1))


def test_what_is_cut_off_is_not_looked_at() -> None:
    assert stripped(b"a\n\n" * 400 + b"<script></script>", 1000) == ()
