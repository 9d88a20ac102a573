"""Show a Markdown file as the service will, offline; say what would be taken out and what leads nowhere.

The file is the author's own, and its size bounds the time that it takes: there is no process that would end it.
"""

import os
import re
import sys
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from secrets import token_hex
from urllib.parse import quote, unquote_to_bytes

import msgspec

from scripthut_common import text
from scripthut_common.clusters import CollectionLimits
from scripthut_common.errors import NotFound, PermanentError
from scripthut_outputs.rendering import Stripped, file_url, fill, for_our_pages, page_url, render, stripped

from . import prose
from .exits import Exit
from .screen import Screen

MAX_BYTES = 1024 * 1024
_NOBODY = "preview"
_FILES, _PAGES = (url(_NOBODY, _NOBODY, b"") for url in (file_url, page_url))
_OWN = re.compile(rf'(<a href="{_PAGES}|<img src="{_FILES})([^"#]*)(#[^"]*)?"')
_STYLES = ("tokens.css", "page.css", "forms.css", "tables.css", "document.css")
_IMAGES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".svg": "svg+xml", ".gif": "gif", ".webp": "webp"}
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_LIMITS = CollectionLimits()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """How to show it. `output`: where to; `-` is standard output, `None` beside the file."""

    file: Path
    output: str | None
    is_text: bool
    is_strict: bool


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What an author wants to know before the task runs."""

    written: str | None
    taken_out: tuple[Stripped, ...]
    limits: tuple[str, ...]
    missing: tuple[str, ...]


def preview(screen: Screen, wanted: Wanted) -> Exit:
    """Render the file, and say what is wrong with it.

    Raises:
        NotFound: there is no such file.
        PermanentError: it cannot be read, or the page cannot be written.
    """
    document, size_bytes = _read(wanted.file)
    rendered = render(document, size_bytes=size_bytes, max_bytes=MAX_BYTES)
    html = for_our_pages(
        fill(rendered.html, run_id=_NOBODY, task_id=_NOBODY), run_id=_NOBODY, task_id=_NOBODY, headings_from=1
    )
    targets = [unquote_to_bytes(target) for target in dict.fromkeys(found[2] for found in _OWN.finditer(html))]
    folder = wanted.file.resolve().parent
    findings = Findings(
        written=None if wanted.is_text or wanted.output == "-" else str(_output_of(wanted)),
        taken_out=stripped(document, MAX_BYTES),
        limits=tuple(_limits(folder, targets, size_bytes, rendered.reason)),
        missing=tuple(text.name(target) for target in targets if not _is_there(folder, target)),
    )
    _show(screen, wanted, _embed(html, folder), findings)
    return Exit.INCOMPLETE if wanted.is_strict and _is_faulty(findings) else Exit.FINE


def _read(file: Path) -> tuple[bytes, int]:
    """Give the first bytes of a document, and how many it has."""
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES + 1), os.fstat(opened.fileno()).st_size
    except FileNotFoundError as error:
        raise NotFound(f"{text.name(str(file))}: there is no such file") from error
    except OSError as error:
        raise PermanentError(f"{text.name(str(file))}: {error.strerror}") from error


def _limits(folder: Path, targets: Sequence[bytes], size_bytes: int, reason: str | None) -> list[str]:
    """Say what the defaults of a service would cut or leave out."""
    said = []
    if size_bytes > MAX_BYTES:
        said.append(
            f"the document has {size_bytes:,} bytes; {MAX_BYTES:,} are shown, then it is cut between two blocks"
        )
    if reason is not None:
        said.append(f"the document is shown as its text: {text.line(reason)}")
    for target in targets:
        file, name = folder / os.fsdecode(target), text.name(target)
        if target.count(b"/") > _LIMITS.max_depth - 1:
            said.append(f"{name} lies deeper than the {_LIMITS.max_depth} levels that are collected")
        if file.is_file() and file.stat().st_size > _LIMITS.max_file_bytes:
            said.append(f"{name} has {file.stat().st_size:,} bytes; a file has at most {_LIMITS.max_file_bytes:,}")
    return said


def _is_there(folder: Path, target: bytes) -> bool:
    """Answer whether a file lies below `folder`, which is resolved; links count as nothing, they are not collected."""
    file = folder / os.fsdecode(target)
    try:
        return file.resolve() == file and file.is_file()
    except (OSError, ValueError):
        return False


def _is_faulty(findings: Findings) -> bool:
    return bool(findings.taken_out or findings.limits or findings.missing)


def _embed(html: str, folder: Path) -> str:
    """Put pictures into the page itself, and have links lead to the files beside the document."""

    def address(found: re.Match[str]) -> str:
        target = os.fsdecode(unquote_to_bytes(found[2]))
        file, kind = folder / target, _IMAGES.get(Path(target).suffix.lower())
        begin = found[1].partition('"')[0]
        is_shown = begin == "<img src=" and kind is not None and _is_there(folder, os.fsencode(target))
        if is_shown and file.stat().st_size <= _LIMITS.max_file_bytes:
            return f'{begin}"data:image/{kind};base64,{b64encode(file.read_bytes()).decode()}"'
        return f'{begin}"{escape(file.as_uri() if file.is_absolute() else quote(target))}{found[3] or ""}"'

    return _OWN.sub(address, html)


def _page(title: str, html: str) -> str:
    static = files("scripthut_outputs") / "static"
    styles = "\n".join((static / name).read_text("utf-8") for name in _STYLES)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="content-security-policy" content="{escape(_POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{styles}\n</style>\n</head>\n"
        f'<body>\n<main id="main">\n<section class="document">{html}</section>\n</main>\n</body>\n</html>\n'
    )


def _output_of(wanted: Wanted) -> Path:
    return Path(wanted.output) if wanted.output else wanted.file.with_name(f"{wanted.file.stem}.preview.html")


def _show(screen: Screen, wanted: Wanted, html: str, findings: Findings) -> None:
    if findings.written is not None:
        _write(Path(findings.written), _page(text.name(wanted.file.name), html))
    if screen.is_json:
        shown = prose.read(html) if wanted.is_text else None
        screen.tell({**msgspec.structs.asdict(findings), "text": shown})
        return
    if wanted.is_text:
        screen.say(prose.read(html))
    elif wanted.output == "-":
        sys.stdout.buffer.write(_page(text.name(wanted.file.name), html).encode())
        sys.stdout.flush()
    else:
        screen.say(text.name(str(findings.written)))
    for line in _lines(findings):
        screen.note(line)


def _lines(findings: Findings) -> list[str]:
    return [
        *(f"taken out, {_times(one.count)}: {text.name(one.what)}" for one in findings.taken_out),
        *(f"limit: {limit}" for limit in findings.limits),
        *(f"leads to no file: {name}" for name in findings.missing),
    ]


def _write(path: Path, page: str) -> None:
    """Write a page whole or not at all."""
    fresh = path.with_name(f".{path.name}.{token_hex(8)}")
    try:
        try:
            fresh.write_bytes(page.encode())
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise PermanentError(f"{text.name(str(path))}: {error.strerror}; choose another with --output") from error


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
