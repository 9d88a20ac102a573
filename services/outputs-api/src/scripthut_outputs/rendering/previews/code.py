"""Show code in the colours of its language, line by line; past a limit it is plain text. Pure."""

import re

from scripthut_outputs.rendering.highlighting import highlight

from . import texts
from .asking import Asked
from .choosing import MAX_CODE_BYTES, suffix_of
from .pieces import visible

_BY_NAME = {"makefile": "make", "dockerfile": "docker", "cmakelists.txt": "cmake"}
# Endings that are no name of their language.
_BY_SUFFIX = {
    "cu": "cuda",
    "f": "fortran",
    "for": "fortran",
    "geojson": "json",
    "htm": "html",
    "ipynb": "json",
    "jsonl": "json",
    "m": "matlab",
    "ndjson": "json",
    "patch": "diff",
    "pbs": "bash",
    "pyi": "python",
    "sbatch": "bash",
    "slurm": "bash",
}
_TAG = re.compile(r'<span class="([a-z-]+)">|</span>')


def show(content: bytes, asked: Asked) -> str:
    """Show the text that a file is written in."""
    text, encoding = texts.read(content, asked)
    lines = coloured(text, _language_of(asked.path))
    return texts.show(content, asked) if lines is None else texts.numbered(lines, asked, encoding)


def coloured(text: str, language: str) -> list[str] | None:
    """Colour code, every span closed in its line; `None` for an unknown language, and for what takes too long."""
    shown = visible(text.replace("\r\n", "\n"))
    html = highlight(shown, language, max_characters=MAX_CODE_BYTES)
    return None if html is None else _lines(html)[: shown.count("\n") + 1]


def _lines(html: str) -> list[str]:
    lines, class_ = [], ""
    for line in html.split("\n"):
        begin = f'<span class="{class_}">' if class_ else ""
        tags = _TAG.findall(line)
        class_ = tags[-1] if tags else class_
        lines.append(f"{begin}{line}{'</span>' if class_ else ''}")
    return lines


def _language_of(path: bytes) -> str:
    name = path.rpartition(b"/")[2].decode("utf-8", "replace").lower()
    suffix = suffix_of(path)
    return _BY_NAME.get(name) or _BY_SUFFIX.get(suffix, suffix)
