"""Decide what a file is: by its name, and by its first bytes where the name lies. Pure."""

import re

from .asking import Choice, Format, Span
from .pieces import decode

KIB, MIB = 1024, 1024 * 1024
MAX_TABLE_BYTES = 4 * MIB
TABLE_HEAD_BYTES = MIB
MAX_TREE_BYTES = 4 * MIB
MAX_NOTEBOOK_BYTES = 16 * MIB
MAX_PDF_BYTES = 16 * MIB
MAX_CODE_BYTES = 256 * KIB
MAX_TEXT_BYTES = MIB
FRAGMENT_BYTES = 64 * KIB
DUMP_BYTES = 256
# Up to how many bytes a file is read whole, and how much of a larger one.
_LIMITS = {
    Format.TABLE: (MAX_TABLE_BYTES, TABLE_HEAD_BYTES),
    Format.JSON: (MAX_TREE_BYTES, MAX_TEXT_BYTES),
    Format.NOTEBOOK: (MAX_NOTEBOOK_BYTES, MAX_TEXT_BYTES),
    Format.PDF: (MAX_PDF_BYTES, DUMP_BYTES),
    Format.BINARY: (DUMP_BYTES, DUMP_BYTES),
    Format.IMAGE: (0, 0),
    Format.DRAWING: (0, 0),
    Format.EMPTY: (0, 0),
}

_BY_SUFFIX: dict[Format, tuple[str, ...]] = {
    Format.IMAGE: ("png", "jpg", "jpeg", "gif", "webp"),
    Format.DRAWING: ("svg",),
    Format.PDF: ("pdf",),
    Format.MARKDOWN: ("md", "markdown"),
    Format.TABLE: ("csv", "tsv"),
    Format.JSON: ("json", "geojson"),
    Format.JSON_LINES: ("jsonl", "ndjson"),
    Format.NOTEBOOK: ("ipynb",),
    Format.CODE: (
        *("py", "pyi", "sh", "bash", "c", "h", "cc", "cpp", "cxx", "hpp", "cu", "f", "f90", "f95", "f03", "for", "jl"),
        *("r", "m", "yaml", "yml", "toml", "ini", "cfg", "xml", "html", "htm", "css", "tex", "bib", "sql", "js", "ts"),
        *("rs", "go", "java", "pl", "lua", "sbatch", "slurm", "pbs", "gp", "gnuplot", "cmake", "diff", "patch", "rst"),
    ),
    Format.TEXT: ("txt", "log", "out", "err", "dat"),
}
_CODE_NAMES = frozenset({"makefile", "dockerfile", "cmakelists.txt"})
_FORMATS = {suffix: format_ for format_, suffixes in _BY_SUFFIX.items() for suffix in suffixes}
PICTURES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF87a": "gif", b"GIF89a": "gif"}
_MAGIC = {
    b"%PDF-": "PDF",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"CDF\x01": "NetCDF",
    b"CDF\x02": "NetCDF",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x7fELF": "ELF program or library",
    b"\x93NUMPY": "NumPy array",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"SQLite format 3\x00": "SQLite database",
    b"SIMPLE  =": "FITS",
    b"II*\x00": "TIFF picture",
    b"MM\x00*": "TIFF picture",
    b"BM": "BMP picture",
    b"MATLAB 5.0 MAT-file": "MATLAB data",
    b"RIFF": "RIFF",
    b"\x80\x04\x95": "Python pickle",
    b"%!PS": "PostScript",
}
_MARKUP = re.compile(r"\s*<(!doctype html|html|head|body|script|\?xml|svg)", re.IGNORECASE)
_DRAWING = re.compile(r"<svg[\s>]", re.IGNORECASE)
_MAX_STRANGE_SHARE = 0.05


def suffix_of(path: bytes) -> str:
    """The lower-case suffix of a file's name, without its dot; empty when it has none."""
    name = path.rpartition(b"/")[2].decode("utf-8", "replace").lower()
    return name.rpartition(".")[2] if "." in name else ""


def claim(path: bytes) -> Format | None:
    """What a name says that a file is; `None` when it says nothing."""
    name = path.rpartition(b"/")[2].decode("utf-8", "replace").lower()
    return Format.CODE if name in _CODE_NAMES else _FORMATS.get(suffix_of(path))


def choose(path: bytes, head: bytes, *, size_bytes: int) -> Choice:
    """Tell what a file is.

    Args:
        path: its name.
        head: its first bytes, `HEAD_BYTES` where there are as many.
        size_bytes: of all of it.
    """
    claimed, magic = claim(path), magic_of(head)
    if not size_bytes:
        return Choice(format=Format.EMPTY)
    if claimed in {Format.IMAGE, Format.PDF, Format.DRAWING}:
        return _as_claimed_or_not(path, claimed, head, magic, size_bytes)
    is_text = is_textual(head, is_whole=len(head) >= size_bytes)
    if not is_text:
        return Choice(format=Format.BINARY, note=_not_as_named(path, "binary data") if claimed else "", magic=magic)
    return Choice(format=claimed or Format.TEXT)


def _as_claimed_or_not(path: bytes, claimed: Format, head: bytes, magic: str, size_bytes: int) -> Choice:
    """A picture, drawing or PDF is one by its bytes too; else it is shown as what it is, and that is said."""
    is_text = is_textual(head, is_whole=len(head) >= size_bytes)
    if claimed is Format.IMAGE and picture_of(head):
        return Choice(format=claimed, magic=magic)
    if claimed is Format.PDF and magic == "PDF":
        return Choice(format=claimed, magic=magic)
    if claimed is Format.DRAWING and is_text and _DRAWING.search(decode(head, ends_amid=True)[0]):
        return Choice(format=claimed)
    if not is_text:
        return Choice(format=Format.BINARY, note=_not_as_named(path, magic or "other data"), magic=magic)
    held = "HTML or XML" if _MARKUP.match(decode(head, ends_amid=True)[0]) else "text"
    return Choice(format=Format.TEXT, note=_not_as_named(path, held))


def magic_of(head: bytes) -> str:
    """Name what binary format these first bytes begin; empty when none is known."""
    picture = picture_of(head)
    if picture:
        return f"{picture.upper()} picture"
    found = next((word for magic, word in _MAGIC.items() if head.startswith(magic)), "")
    return "tar archive" if not found and head[257:262] == b"ustar" else found


def picture_of(head: bytes) -> str:
    """The kind of picture that browsers show, as its MIME type has it; empty when it is none."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return next((kind for magic, kind in PICTURES.items() if head.startswith(magic)), "")


def is_textual(head: bytes, *, is_whole: bool) -> bool:
    """Tell text from other bytes: hardly a control character, and no NUL unless it is said to be UTF-16."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and len(head) > 2:
        return True
    if b"\0" in head or (magic_of(head) and not _is_plain(head[:4])):
        return False
    text, _ = decode(head, ends_amid=not is_whole)
    strange = sum(1 for character in text if character < " " and character not in "\t\n\r\f\b\x1b")
    strange += sum(1 for character in text if "\x7f" <= character < "\xa0")
    return strange <= _MAX_STRANGE_SHARE * len(text)


def _is_plain(begin: bytes) -> bool:
    """Tell what words begin with, too: `BM` and `PAR1` make no picture and no table of a text."""
    return all(0x20 <= byte < 0x7F or byte in b"\t\n\r" for byte in begin)


def span(choice: Choice, size_bytes: int, *, is_tail: bool, is_fragment: bool, is_source: bool) -> Span:
    """Say which bytes a preview of such a file wants."""
    limit = _limit(Format.TEXT if is_source and choice.format is not Format.CODE else choice.format, size_bytes)
    if is_fragment and choice.format in {Format.TEXT, Format.CODE}:
        limit = FRAGMENT_BYTES
    length = min(limit, size_bytes)
    has_end = choice.format in {Format.TEXT, Format.CODE} or is_source
    start = size_bytes - length if is_tail and has_end else 0
    return Span(start=start, length=length)


def _limit(format_: Format, size_bytes: int) -> int:
    whole, head = _LIMITS.get(format_, (MAX_TEXT_BYTES, MAX_TEXT_BYTES))
    return whole if size_bytes <= whole else head


def _not_as_named(path: bytes, held: str) -> str:
    return f"Its name ends in .{suffix_of(path)}, but it holds {held}."
