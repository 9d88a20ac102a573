"""Show a PDF in a frame by the browser's own viewer; one that may act by itself only when its reader says so. Pure.

Browsers show no PDF in a frame with the attribute `sandbox`, so the answer is what is sandboxed, not the element. A
viewer runs what scripts a PDF holds, apart from us, and they can ask things in a dialog.
"""

import re

from .asking import Asked
from .pictures import file_address
from .pieces import note, safe

# What acts, what leads away, and what cannot be looked into. Source: ISO 32000-1, 7.5.7, 7.6, 7.11.4, 12.6.4, 12.7.8.
_ACTS = frozenset(
    b"""
    AA EFF EmbeddedFile EmbeddedFiles Encrypt GoToE GoToR ImportData JS JavaScript Launch Movie ObjStm OpenAction
    Rendition RichMedia Sound SubmitForm Thread URI XFA
    """.split()
)
_PLAIN = re.compile(rb"/(?:" + b"|".join(sorted(_ACTS)) + rb")(?![A-Za-z0-9_])")
# Any character of a name may be written by its number, as in `/J#53`. No name above has more than 13 characters.
_ESCAPED = re.compile(rb"/([^\x00\t\n\f\r ()<>\[\]{}/%#]{0,13}#[^\x00\t\n\f\r ()<>\[\]{}/%]{2,39})")
_NUMBER = re.compile(rb"#(..)", re.DOTALL)
_DIGITS = b"0123456789abcdef"


def show(content: bytes, asked: Asked) -> str:
    """Frame a PDF, and offer it for those whose browser shows none."""
    address = safe(file_address(asked))
    offer = f'<p class="preview-facts"><a href="{address}" download>Download the PDF</a></p>'
    if asked.is_fragment:
        return note("A PDF is shown on its own page.") + offer
    title = safe(asked.path.rpartition(b"/")[2].decode("utf-8", "replace"))
    frame = f'<iframe class="pdf" src="{address}?framed=1" title="{title}" loading="lazy"></iframe>'
    if asked.is_whole and is_quiet(content):
        return offer + frame
    why = note(
        "This PDF may hold scripts. Your browser's viewer keeps them apart from this site, but they can open dialogs."
    )
    return f'{offer}{why}<details class="pdf-frame"><summary>Show it here</summary>{frame}</details>'


def is_quiet(content: bytes) -> bool:
    """Tell a PDF in which nothing can act by itself, as plotting programs write it; in doubt it is none.

    It is read as bytes, without trust in its structure: broken ones are repaired by viewers, each in its way.
    """
    if _PLAIN.search(content):
        return False
    return all(_NUMBER.sub(_character, found[1]) not in _ACTS for found in _ESCAPED.finditer(content))


def _character(number: re.Match[bytes]) -> bytes:
    """Read the number of a character as the viewer of Chromium does, to which what is no digit is 0.

    Source: PDFium, `PDF_NameDecode`.
    """
    high, low = (max(0, _DIGITS.find(digit)) for digit in number[1].lower())
    return bytes((16 * high + low,))
