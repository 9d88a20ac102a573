"""A PDF that may act by itself is shown only when its reader says so."""

import pytest

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
        b"/ObjStm",
        b"/Launch",
        b"/XFA",
    ],
)
def test_a_pdf_that_may_act_waits_to_be_opened(act: bytes) -> None:
    page = html_of("a.pdf", QUIET + b"<< " + act + b" >>")

    (details,) = page.all_of("details")
    assert "open" not in details
    assert "This PDF may hold scripts" in page.text


def test_a_pdf_too_large_to_look_through_waits_too() -> None:
    assert html_of("a.pdf", QUIET + bytes(17 * 1024 * 1024)).all_of("details")


def test_in_place_a_pdf_is_a_link() -> None:
    assert not html_of("a.pdf", QUIET, is_fragment=True).all_of("iframe")
