"""Show text and logs by lines that have numbers and addresses; of large ones the beginning or the end. Pure."""

from collections.abc import Iterable, Sequence

from . import terminal
from .asking import Asked
from .pieces import decode, safe

MAX_LINES = 20_000
MAX_LINES_OF_FRAGMENT = 500
MAX_LINE_CHARACTERS = 10_000


def show(content: bytes, asked: Asked) -> str:
    """Show text with its terminal colours."""
    text, encoding = read(content, asked)
    shown = [terminal.html_of(_shortened(runs)) for runs in terminal.lines(text)]
    return numbered(shown, asked, encoding)


def tail(raw: bytes, max_lines: int) -> tuple[str, bool]:
    """Give the last lines of program output as HTML, and whether some were left out; `raw` may begin amid a line."""
    text, _ = decode(raw, starts_amid=True)
    lines = [terminal.html_of(_shortened(runs)) for runs in terminal.lines(text.rstrip("\r\n"))]
    return "\n".join(lines[-max_lines:]), len(lines) > max_lines


def read(content: bytes, asked: Asked) -> tuple[str, str]:
    """Give the whole lines of what was read, and the encoding; a last line feed ends a line and begins none."""
    start, end = asked.span.start, asked.span.start + asked.span.length
    text, encoding = decode(content, starts_amid=start > 0, ends_amid=end < asked.size_bytes)
    if start > 0 and "\n" in text:
        text = text.partition("\n")[2]
    return text.removesuffix("\n"), encoding


def numbered(lines: Sequence[str], asked: Asked, encoding: str) -> str:
    """Lay out lines of HTML; where they are too many, those at the wanted end."""
    is_tail = asked.span.start > 0
    limit = MAX_LINES_OF_FRAGMENT if asked.is_fragment else MAX_LINES
    kept = lines[-limit:] if is_tail else lines[:limit]
    first = asked.first_line + is_tail + (len(lines) - len(kept) if is_tail else 0)
    facts = _facts(len(kept), len(lines), asked, encoding)
    body = "".join(_line(line, number, asked) for number, line in enumerate(kept, first if asked.first_line else 0))
    return f'{facts}<pre class="lines" tabindex="0" role="group" aria-label="Text">{body}</pre>'


def _line(line: str, number: int, asked: Asked) -> str:
    if not asked.first_line:
        return f'<span class="line">{line}\n</span>'
    if asked.is_fragment:
        return f'<span class="line" data-line="{number}">{line}\n</span>'
    anchor = f'<a href="#L{number}" tabindex="-1" aria-label="Line {number}" data-line="{number}"></a>'
    return f'<span class="line" id="L{number}">{anchor}{line}\n</span>'


def _shortened(runs: Iterable[terminal.Run]) -> list[terminal.Run]:
    left = MAX_LINE_CHARACTERS
    kept: list[terminal.Run] = []
    for style, text in runs:
        if len(text) > left:
            return [*kept, (style, text[:left]), (terminal.PLAIN, " … (this line goes on)")]
        kept.append((style, text))
        left -= len(text)
    return kept


def _facts(shown: int, read_lines: int, asked: Asked, encoding: str) -> str:
    said = [] if encoding == "UTF-8" else [f"Read as {encoding}."]
    if asked.is_whole and shown == read_lines:
        return f'<p class="preview-facts">{said[0]}</p>' if said else ""
    is_tail = asked.span.start > 0
    words = ("last", "beginning", "head") if is_tail else ("first", "end", "tail")
    amount = f"{shown:,} line{'s' if shown != 1 else ''}"
    said.insert(0, f"The {words[0]} {amount} of a file of {asked.size_bytes:,} bytes.")
    view = "view=source&amp;" if asked.is_source else ""
    other = f'<a href="{safe(asked.url)}?{view}end={words[2]}">Show its {words[1]}</a>'
    return f'<p class="preview-facts">{safe(" ".join(said))} {other}</p>'
