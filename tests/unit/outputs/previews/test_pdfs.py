"""A PDF that may act by itself is shown only when its reader says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_outputs.rendering.previews.pdfs import is_quiet

from .reading import html_of

QUIET = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"


def test_a_quiet_pdf_is_framed_at_once() -> None:
    page = html_of("a.pdf", QUIET)

    (frame,) = page.all_of("iframe")
    assert frame["src"] == "/runs/r1/tasks/t0/outputs/file/x?framed=1"
    assert not page.all_of("details")


@pytest.mark.parametrize(
    "act",
    [
        b"/JavaScript",
        b"/S/JavaScript/JS(app.alert(1))",
        b"/OpenAction 5 0 R",
        b"/AA <<",
        b"/J#53",
        b"/#4a#61#76#61#53#63#72#69#70#74",
        b"/JavaScri#7zt",
        b"/JavaScrip#74(app.alert(1))",
        b"/ObjSt#6D",
        b"/Encryp#74 9 0 R",
        b"/ObjStm",
        b"/Type/ObjStm/N 1",
        b"/Encrypt 9 0 R",
        b"/Launch",
        b"/URI(http://example.org)",
        b"/S/GoToR",
        b"/XFA",
        b"/Names<</EmbeddedFiles 3 0 R>>",
    ],
)
def test_a_pdf_that_may_act_waits_to_be_opened(act: bytes) -> None:
    page = html_of("a.pdf", QUIET + b"<< " + act + b" >>")

    (details,) = page.all_of("details")
    assert "open" not in details
    assert "This PDF may hold scripts" in page.text


@pytest.mark.parametrize("held", [b"/JSON 1", b"/AAB+Helvetica", b"/A#20B", b"/J#53X", b"/F1#", b"(/)#53"])
def test_other_names_are_quiet(held: bytes) -> None:
    assert html_of("a.pdf", QUIET + b"<< " + held + b" >>").all_of("iframe")


@given(st.lists(st.sampled_from(["plain", "lower", "upper"]), min_size=10, max_size=10))
def test_no_way_of_writing_a_name_hides_it(ways: list[str]) -> None:
    spelt = {"plain": "{0:c}", "lower": "#{0:02x}", "upper": "#{0:02X}"}
    name = "".join(spelt[way].format(code) for way, code in zip(ways, b"JavaScript", strict=True))

    assert not is_quiet(QUIET + b"<</S/" + name.encode() + b"/X(x)>>")


def test_a_pdf_too_large_to_look_through_waits_too() -> None:
    assert html_of("a.pdf", QUIET + bytes(17 * 1024 * 1024)).all_of("details")


def test_in_place_a_pdf_is_a_link() -> None:
    assert not html_of("a.pdf", QUIET, is_fragment=True).all_of("iframe")
