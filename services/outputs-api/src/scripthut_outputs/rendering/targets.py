"""Decide where a link or image of an author's document leads: away, or to one of the task's own files. Pure."""

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from .marks import HERE

FILE_SCHEME = "scripthut-file:"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_EDGES = "".join(map(chr, range(0x21)))
_SWALLOWED = str.maketrans("", "", "\t\n\r")
_URL_SAFE = "%:/?#[]@!$&()*+,;=~-._"


def resolve(target: str) -> str | None:
    """Give the address to write for `target`, read as a browser reads it; `None` when it must go.

    Web addresses stay. A place in the document, `#results`, gets the mark of its scope. A relative path becomes
    `scripthut-file:<percent-encoded path>`, its dots resolved; it may still begin with `../`, since only the one who
    serves it knows the document's folder.
    """
    seen = target.strip(_EDGES).translate(_SWALLOWED)
    scheme = _SCHEME.match(seen)
    if scheme:
        return _absolute(seen, scheme[1].lower())
    if seen.startswith(("/", "\\")):
        return _encode(seen.replace("\\", "/"))
    if seen.startswith("#"):
        return f"#{HERE}{_encode(seen[1:])}" if len(seen) > 1 else None
    return _own_file(seen)


def join(folder: bytes, path: bytes) -> bytes | None:
    """Follow `path` from `folder`, both below the output directory; `None` when it leaves that or names nothing."""
    segments = _follow([*folder.split(b"/"), *path.split(b"/")])
    return b"/".join(segments) if segments and segments[0] != b".." else None


def encode_path(path: bytes) -> str:
    """Percent-encode the bytes of a path, exactly."""
    return quote_from_bytes(path, safe="/")


def _absolute(seen: str, scheme: str) -> str | None:
    rest = seen[len(scheme) + 1 :]
    if scheme == "mailto":
        return _encode(f"mailto:{rest}")
    rest = rest.replace("\\", "/")
    if scheme in {"http", "https"} and re.match(r"//[^/]", rest):
        return _encode(f"{scheme}:{rest}")
    return None


def _own_file(seen: str) -> str | None:
    address, has_anchor, anchor = seen.partition("#")
    path = unquote_to_bytes(address.partition("?")[0])
    if b"\0" in path:
        return None
    segments = _follow(path.split(b"/"))
    if not segments or segments[-1] == b"..":
        return None
    suffix = f"#{_encode(anchor)}" if has_anchor and anchor else ""
    return f"{FILE_SCHEME}{encode_path(b'/'.join(segments))}{suffix}"


def _follow(segments: Iterable[bytes]) -> list[bytes]:
    """Resolve `.` and `..`; what leads upwards out of the start stays in front."""
    kept: list[bytes] = []
    for segment in segments:
        if segment == b".." and kept and kept[-1] != b"..":
            kept.pop()
        elif segment not in {b"", b"."}:
            kept.append(segment)
    return kept


def _encode(url: str) -> str:
    return quote(url, safe=_URL_SAFE, errors="replace")
