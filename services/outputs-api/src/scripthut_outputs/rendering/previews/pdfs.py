"""Show a PDF in a frame by the browser's own viewer; one that may act by itself only when its reader says so. Pure.

Browsers show no PDF in a frame with the attribute `sandbox`, so the answer is what is sandboxed, not the element. A
viewer runs what scripts a PDF holds, apart from us, and they can ask things in a dialog.
"""

import re

from .asking import Asked
from .pictures import file_address
from .pieces import note, safe

# Source: ISO 32000-1, 12.6.4. In an object stream such a dictionary would be compressed; any name may be written with
# escapes, as `/J#53`.
_ACTS = re.compile(
    rb"/(?:JavaScript|JS|OpenAction|AA|Launch|SubmitForm|ImportData|Rendition|RichMedia|Movie|XFA|ObjStm|Encrypt)\b"
    rb"|/[A-Za-z]{0,12}#[0-9A-Fa-f]{2}"
)


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
    """Tell a PDF in which nothing can act by itself, as plotting programs write it; in doubt it is none."""
    return _ACTS.search(content) is None
