"""How a browser is told to treat a file that we trust in nothing: its type, shown or saved, and its cage. Pure."""

import re
from urllib.parse import quote

_IMAGES = {
    b".png": b"image/png",
    b".jpg": b"image/jpeg",
    b".jpeg": b"image/jpeg",
    b".gif": b"image/gif",
    b".webp": b"image/webp",
    b".svg": b"image/svg+xml",
}
_TEXTS = (
    *(b".txt", b".md", b".markdown", b".csv", b".tsv", b".log", b".out", b".err", b".json", b".jsonl", b".yaml"),
    *(b".yml", b".toml", b".ini", b".cfg", b".xml", b".html", b".htm", b".css", b".js", b".py", b".sh", b".r", b".jl"),
    *(b".m", b".c", b".h", b".cpp", b".f90", b".tex", b".bib", b".dat", b".gp", b".sql", b".rst"),
)
_CAGE = b"sandbox; default-src 'none'"
# Drawings by plotting programs carry their style and rasters inside; in the sandbox neither can act.
_CAGE_OF_DRAWINGS = _CAGE + b"; style-src 'unsafe-inline'; img-src data:; font-src data:"
_CAGE_IN_A_FRAME = _CAGE + b"; frame-ancestors 'self'"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def headers_for(path: bytes, *, is_framed: bool = False, is_followed: bool = False) -> list[tuple[bytes, bytes]]:
    """Content type, disposition and policy for a file of this name.

    Images and text are shown, text only ever as plain text; everything else is saved, but a PDF in a frame of our own
    page (`is_framed`) is shown there. What is followed while its task runs may be another one in a moment, and is asked
    for each time.
    """
    suffix = path[path.rfind(b".") :].lower() if b"." in path.rpartition(b"/")[2] else b""
    kind, is_shown, cage = b"application/octet-stream", False, _CAGE
    if suffix in _IMAGES:
        kind, is_shown = _IMAGES[suffix], True
        cage = _CAGE_OF_DRAWINGS if suffix == b".svg" else _CAGE
    elif suffix in _TEXTS:
        kind, is_shown = b"text/plain; charset=utf-8", True
    elif suffix == b".pdf":
        kind, is_shown = b"application/pdf", is_framed
        cage = _CAGE_IN_A_FRAME if is_framed else _CAGE
    return [
        (b"content-type", kind),
        (b"content-disposition", _disposition(path, is_shown=is_shown)),
        (b"content-security-policy", cage),
        (b"x-content-type-options", b"nosniff"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"referrer-policy", b"same-origin"),
        (b"cache-control", b"private, no-cache" if is_followed else b"private, max-age=60"),
    ]


def _disposition(path: bytes, *, is_shown: bool) -> bytes:
    """Source: RFC 6266; the plain form is for old clients and holds nothing that needs quoting."""
    name = path.rpartition(b"/")[2].decode("utf-8", "replace")
    plain = _UNSAFE.sub("_", name) or "file"
    word = "inline" if is_shown else "attachment"
    return f"{word}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}".encode("ascii")
