"""Make the preview of one file from the bytes that it wants. Pure."""

from collections.abc import Callable

from . import tables
from .asking import Asked, Format, Preview
from .pieces import decode, note, safe

_SHOWN_ESCAPED_BYTES = 64 * 1024
_MAKERS: dict[Format, Callable[[bytes, Asked], str]] = {
    Format.TABLE: tables.show,
}


def make(asked: Asked, content: bytes) -> Preview:
    """Show a file; what is not what it claims to be is shown as its text, with the reason."""
    said = note(asked.choice.note) if asked.choice.note else ""
    maker = _MAKERS.get(asked.choice.format)
    if maker is None:
        return escaped(content, "nothing shows it")
    try:
        return Preview(html=said + maker(content, asked))
    except ValueError as error:
        return escaped(content, str(error))


def escaped(content: bytes, reason: str) -> Preview:
    """Show the beginning of a file as its text: what is left when a preview fails."""
    text, _ = decode(content[:_SHOWN_ESCAPED_BYTES], ends_amid=len(content) > _SHOWN_ESCAPED_BYTES)
    said = note(f"There is no preview of this file: {reason}. This is its text.")
    if len(content) > _SHOWN_ESCAPED_BYTES:
        said += note(f"The first {_SHOWN_ESCAPED_BYTES // 1024} KiB of it.")
    return Preview(html=f'{said}<pre class="lines">{safe(text)}</pre>', reason=reason)
