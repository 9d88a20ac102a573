"""Small pieces of HTML that previews share. Pure."""

import re
from codecs import getincrementaldecoder
from html import escape

_UNSHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
MAX_CELL_CHARACTERS = 500


def visible(text: str) -> str:
    """Give what is invisible, or would turn the text around it, a visible stand-in."""
    return _UNSHOWN.sub("\ufffd", text)


def safe(text: str) -> str:
    """Escape text for a place between tags or in a quoted attribute."""
    return escape(visible(text))


def shortened(text: str, max_characters: int = MAX_CELL_CHARACTERS) -> str:
    """Escape text, cut where it gets long."""
    return safe(text) if len(text) <= max_characters else f"{safe(text[:max_characters])}…"


def note(text: str) -> str:
    """Say something of ours about a preview."""
    return f'<p class="preview-note">{safe(text)}</p>'


def decode(raw: bytes, *, starts_amid: bool = False, ends_amid: bool = False) -> tuple[str, str]:
    """Read bytes as text, and name the encoding; Latin-1 where they are not UTF-8 and not said to be UTF-16.

    Args:
        raw: a file, or a piece of it.
        starts_amid: bytes go before: they may hold the beginning of the first character.
        ends_amid: bytes follow: they may hold the end of the last character.
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace"), "UTF-16"
    kept = _from_a_character(raw) if starts_amid else raw
    try:
        decoder = getincrementaldecoder("utf-8")()
        return decoder.decode(kept, final=not ends_amid).removeprefix("\ufeff"), "UTF-8"
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "Latin-1"


def _from_a_character(raw: bytes) -> bytes:
    start = 0
    while start < min(3, len(raw)) and raw[start] & 0xC0 == 0x80:
        start += 1
    return raw[start:]
