"""Show a Jupyter notebook as it was saved; nothing in it is ever run. Pure.

Source: nbformat 4, https://nbformat.readthedocs.io/en/latest/format_description.html. What a cell shows of itself is
its author's: Markdown and HTML come through the sanitiser, pictures only if their bytes begin as pictures do.
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Any

import msgspec

from scripthut_outputs.rendering import fill, for_our_pages, render
from scripthut_outputs.rendering.converting import decode as decoded
from scripthut_outputs.rendering.parsing import TooIntricate
from scripthut_outputs.rendering.sanitising import sanitise

from . import code, terminal
from .asking import Asked
from .choosing import MIB, picture_of
from .pieces import note, safe
from .texts import MAX_LINE_CHARACTERS

MAX_CELLS = 500
MAX_PICTURE_BYTES = 8 * MIB
MAX_AUTHORED_CHARACTERS = 256 * 1024
MAX_CODE_CHARACTERS = 256 * 1024
MAX_OUTPUT_CHARACTERS = 512 * 1024
_MAX_OUTPUTS = 50
_MAX_STREAM_LINES = 500
_HEADINGS_FROM = 2
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
# What cannot be shown without running it, in words.
_ACTIVE = (
    ("application/vnd.jupyter.widget", "an interactive widget"),
    ("application/javascript", "a script"),
    ("text/javascript", "a script"),
    ("application/vnd", "an interactive figure"),
    ("image/svg+xml", "an SVG drawing"),
    ("application/pdf", "a PDF"),
)
_Text = str | list[str]


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What a cell gave: a stream, data by MIME type, or an error."""

    output_type: str = ""
    name: str = ""
    text: _Text = ""
    data: dict[str, Any] = {}
    ename: str = ""
    evalue: str = ""
    traceback: list[str] = []


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell."""

    cell_type: str
    source: _Text = ""
    outputs: list[Output] = []
    attachments: dict[str, Any] = {}
    execution_count: int | None = None


class LanguageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """In which language code cells are."""

    name: str = ""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of all cells."""

    language_info: LanguageInfo = LanguageInfo()


class Notebook(msgspec.Struct, frozen=True, kw_only=True):
    """A whole notebook."""

    cells: list[Cell]
    nbformat: int
    metadata: Metadata = Metadata()


def show(content: bytes, asked: Asked) -> str:
    """Show the cells with their outputs.

    Raises:
        ValueError: it is no notebook that we can read.
    """
    if not asked.is_whole:
        raise ValueError("it is too large to be shown as a notebook")
    try:
        notebook = msgspec.json.decode(content, type=Notebook)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no notebook of format 4 ({error})") from error
    if notebook.nbformat != 4:
        raise ValueError(f"it is a notebook of format {notebook.nbformat}, and format 4 alone can be read")
    room = _Room(notebook.metadata.language_info.name, asked)
    cells = "".join(room.cell(cell) for cell in notebook.cells[:MAX_CELLS])
    left = len(notebook.cells) - MAX_CELLS
    rest = note(f"{left:,} more cells are left out; the file has all.") if left > 0 else ""
    return f'<div class="notebook">{cells}{rest}</div>'


class _Room:
    """Writes cells while there is room for them."""

    def __init__(self, language: str, asked: Asked) -> None:
        self._language = language or "python"
        self._asked = asked
        self._documents = 0
        self._left_pictures = MAX_PICTURE_BYTES
        self._left_authored = MAX_AUTHORED_CHARACTERS
        self._left_code = MAX_CODE_CHARACTERS
        self._left_output = MAX_OUTPUT_CHARACTERS

    def cell(self, cell: Cell) -> str:
        source = _joined(cell.source)
        if cell.cell_type == "markdown":
            left_out = (
                note("Pictures attached to this cell are left out; the file has them.") if cell.attachments else ""
            )
            return f'<section class="cell">{self._markdown(source)}{left_out}</section>'
        if cell.cell_type != "code":
            return f'<section class="cell"><pre class="cell-raw">{safe(source[:MAX_LINE_CHARACTERS])}</pre></section>'
        outputs = "".join(self._output(output) for output in cell.outputs[:_MAX_OUTPUTS])
        if len(cell.outputs) > _MAX_OUTPUTS:
            outputs += note(f"{len(cell.outputs) - _MAX_OUTPUTS:,} more outputs are left out.")
        count = "" if cell.execution_count is None else f' data-count="{cell.execution_count}"'
        return f'<section class="cell"{count}>{self._code(source)}{outputs}</section>'

    def _code(self, source: str) -> str:
        if not source.strip():
            return ""
        lines = code.coloured(source, self._language) if len(source) <= self._left_code else None
        shown = safe(source[: max(0, self._left_code)]) if lines is None else "\n".join(lines)
        rest = "" if len(source) <= self._left_code else note("The code goes on; the file has all.")
        self._left_code -= len(source)
        return f'<pre class="cell-code" tabindex="0" role="group" aria-label="Code">{shown}</pre>{rest}'

    def _output(self, output: Output) -> str:
        if output.output_type == "stream":
            kind = " cell-errors" if output.name == "stderr" else ""
            return self._terminal(_joined(output.text), kind)
        if output.output_type == "error":
            said = "\n".join(output.traceback) or f"{output.ename}: {output.evalue}"
            return self._terminal(said, " cell-failed")
        return self._shown(output.data)

    def _shown(self, bundle: dict[str, Any]) -> str:
        """Show the richest form that is no program, and name those that are."""
        left_out = "".join(note(f"Left out: {word}.") for word in dict.fromkeys(_active(bundle)))
        for kind in _PICTURES:
            if kind in bundle:
                return left_out + self._picture(bundle[kind])
        if "text/html" in bundle:
            return left_out + self._html(_text_of(bundle["text/html"]))
        if "text/markdown" in bundle:
            return left_out + self._markdown(_text_of(bundle["text/markdown"]))
        for kind in ("text/latex", "text/plain"):
            if kind in bundle:
                return left_out + self._terminal(_text_of(bundle[kind]), "")
        return left_out

    def _picture(self, encoded: object) -> str:
        text = _text_of(encoded)
        if len(text) > 2 * self._left_pictures:
            return note("A picture is left out: there are too many large ones in this notebook.")
        try:
            raw = b64decode("".join(text.split()), validate=True)
        except (Base64Error, ValueError):
            return note("A picture is left out: it is damaged.")
        kind = picture_of(raw)
        if not kind:
            return note("A picture is left out: its bytes are none.")
        self._left_pictures -= len(raw)
        return (
            f'<img class="cell-picture" src="data:image/{kind};base64,{b64encode(raw).decode("ascii")}" alt="Output">'
        )

    def _html(self, html: str) -> str:
        if not self._takes_authored(html):
            return note("An output is left out: there is too much HTML in this notebook.")
        try:
            return self._on_page(sanitise(decoded(html.encode("utf-8", "replace"))))
        except TooIntricate as error:
            return note(f"An output is left out: {error}.")

    def _markdown(self, source: str) -> str:
        if not self._takes_authored(source):
            return f'<pre class="cell-raw">{safe(source[:MAX_LINE_CHARACTERS])}</pre>'
        raw = source.encode("utf-8", "replace")
        return self._on_page(render(raw, size_bytes=len(raw), max_bytes=MAX_AUTHORED_CHARACTERS).html)

    def _takes_authored(self, text: str) -> bool:
        self._left_authored -= len(text)
        return self._left_authored >= 0

    def _on_page(self, html: str) -> str:
        run_id, task_id = self._asked.run_id, self._asked.task_id
        self._documents += 1
        # Each has a name of its own, in the notebook's folder: what scopes its ids and where its links start.
        path = b"%s#%d" % (self._asked.path, self._documents)
        filled = fill(html, run_id=run_id, task_id=task_id, path=path)
        shown = for_our_pages(filled, run_id=run_id, task_id=task_id, headings_from=_HEADINGS_FROM)
        return f'<div class="document">{shown}</div>'

    def _terminal(self, text: str, kind: str) -> str:
        kept = text[: max(0, self._left_output)]
        self._left_output -= len(text)
        lines = [terminal.html_of(runs) for runs in terminal.lines(kept.removesuffix("\n"))]
        rest = (
            note("The output goes on; the file has all.")
            if len(kept) < len(text) or len(lines) > _MAX_STREAM_LINES
            else ""
        )
        shown = "\n".join(lines[:_MAX_STREAM_LINES])
        return f'<pre class="cell-output{kind}" tabindex="0" role="group" aria-label="Output">{shown}</pre>{rest}'


def _active(bundle: dict[str, Any]) -> list[str]:
    return [word for kind in bundle for prefix, word in _ACTIVE if kind.startswith(prefix)][:1]


def _joined(text: _Text) -> str:
    return text if isinstance(text, str) else "".join(text)


def _text_of(value: object) -> str:
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""
