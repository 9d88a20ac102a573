"""Make the preview of one file from the bytes that it wants. Pure."""

from collections.abc import Callable

import msgspec

from . import binaries, code, notebooks, pdfs, pictures, tables, texts, trees
from .asking import Asked, Format, Preview, Span
from .choosing import MAX_TEXT_BYTES
from .pieces import decode, note, safe

_SHOWN_ESCAPED_BYTES = 64 * 1024
_MAKERS: dict[Format, Callable[[bytes, Asked], str]] = {
    Format.IMAGE: pictures.show,
    Format.DRAWING: pictures.show,
    Format.PDF: pdfs.show,
    Format.MARKDOWN: code.show,
    Format.TABLE: tables.show,
    Format.JSON: trees.show,
    Format.JSON_LINES: trees.show_lines,
    Format.NOTEBOOK: notebooks.show,
    Format.CODE: code.show,
    Format.TEXT: texts.show,
    Format.BINARY: binaries.show,
    Format.EMPTY: binaries.show_empty,
}


def make(asked: Asked, content: bytes) -> Preview:
    """Show a file; what is not what its name claims is shown as what it is, and that is said."""
    said = note(asked.choice.note) if asked.choice.note else ""
    maker = code.show if asked.is_source else _MAKERS[asked.choice.format]
    try:
        return Preview(html=said + maker(content, asked))
    except ValueError as error:
        reason = f"There is no preview of this file: {error}. This is its text."
        shown = min(len(content), MAX_TEXT_BYTES)
        head = msgspec.structs.replace(asked, span=Span(length=shown), is_source=True)
        return Preview(html=said + note(reason) + texts.show(content[:shown], head), reason=str(error))


def escaped(content: bytes, reason: str) -> Preview:
    """Show the beginning of a file as its text: what is left when a preview was ended."""
    text, _ = decode(content[:_SHOWN_ESCAPED_BYTES], ends_amid=len(content) > _SHOWN_ESCAPED_BYTES)
    said = note(f"There is no preview of this file: {reason}. This is its text.")
    if len(content) > _SHOWN_ESCAPED_BYTES:
        said += note(f"The first {_SHOWN_ESCAPED_BYTES // 1024} KiB of it.")
    html = f'{said}<pre class="lines" tabindex="0" role="group" aria-label="Text">{safe(text)}</pre>'
    return Preview(html=html, reason=reason)
