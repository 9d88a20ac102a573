"""Names, sizes and times as text for people, in pages and terminals. Pure; nothing here is HTML."""

import re
from datetime import UTC, datetime, timedelta

_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
_BEYOND_ASCII = re.compile(r"[\x7f-\U0010ffff]")
_PICTURES_OF_CONTROLS = 0x2400
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def name(path: bytes | str) -> str:
    """Show a name whole: what is invisible or would turn the text around it gets a visible stand-in."""
    text = path.decode("utf-8", "replace") if isinstance(path, bytes) else path
    shown = _INVISIBLE.sub(_stand_in, text.replace("\t", "\u2409").replace("\n", "\u240a"))
    return shown if shown.strip() else "\u2423" * len(shown)


def line(text: str) -> str:
    """Show a sentence of somebody else, as a reason, without terminal codes and what would turn it around."""
    return _INVISIBLE.sub(_stand_in, _TERMINAL.sub("", text)).strip()


def ascii_json(document: bytes) -> str:
    """Write JSON in ASCII alone: a terminal obeys nothing of it, and readers find the same in it."""
    return _BEYOND_ASCII.sub(_escaped, document.decode())


def size(size_bytes: int | None) -> str:
    """`1.4 MiB`; empty when nobody knows."""
    if size_bytes is None:
        return ""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    amount = float(size_bytes)
    for unit in _UNITS:
        amount /= 1024
        if amount < 999.5 or unit == _UNITS[-1]:
            return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:,.0f} {unit}"
    raise AssertionError("the last unit takes everything")


def count(number: int) -> str:
    """`10,000`."""
    return f"{number:,}"


def when(at: datetime) -> str:
    """`23 Nov 2026, 17:05 UTC`."""
    return f"{at.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def machine_time(at: datetime) -> str:
    """`2026-11-23T17:05:09Z`, as the `datetime` attribute wants it."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def duration(lasted: timedelta) -> str:
    """`4 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`; clocks of two machines may disagree, never below zero."""
    seconds = max(0, round(lasted.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes == 0:
        return f"{seconds} s"
    if hours == 0:
        return f"{minutes} min {seconds % 60:02d} s"
    if days == 0:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{days} d {hours % 24} h"


def _stand_in(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(_PICTURES_OF_CONTROLS + code) if code < 0x20 else "\ufffd"


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
