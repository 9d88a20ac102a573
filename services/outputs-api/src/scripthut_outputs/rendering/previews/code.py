"""Colour code by its language, with classes of a fixed, small set; past a limit it is plain text. Pure."""

from itertools import groupby

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
from pygments.util import ClassNotFound

from . import texts
from .asking import Asked
from .choosing import MAX_CODE_BYTES, suffix_of
from .pieces import safe

_BY_SUFFIX = {
    "cfg": "ini",
    "f": "fortranfixed",
    "for": "fortranfixed",
    "geojson": "json",
    "gp": "gnuplot",
    "ipynb": "json",
    "jsonl": "json",
    "m": "matlab",
    "markdown": "markdown",
    "md": "markdown",
    "ndjson": "json",
    "pbs": "bash",
    "sbatch": "bash",
    "slurm": "bash",
    "svg": "xml",
}
# In this order: the first that a token's kind begins with counts.
_COLOURS = (
    ("Comment.Preproc", "code-builtin"),
    ("Comment", "code-comment"),
    ("Keyword", "code-keyword"),
    ("Operator.Word", "code-keyword"),
    ("Literal.String", "code-string"),
    ("Literal.Number", "code-number"),
    ("Name.Function", "code-name"),
    ("Name.Class", "code-name"),
    ("Name.Namespace", "code-name"),
    ("Name.Decorator", "code-builtin"),
    ("Name.Builtin", "code-builtin"),
    ("Name.Constant", "code-builtin"),
    ("Name.Variable", "code-builtin"),
    ("Name.Tag", "code-tag"),
    ("Name.Attribute", "code-name"),
    ("Generic.Heading", "code-heading"),
    ("Generic.Subheading", "code-heading"),
    ("Generic.Inserted", "code-inserted"),
    ("Generic.Deleted", "code-deleted"),
)


def show(content: bytes, asked: Asked) -> str:
    """Show the text that a file is written in."""
    text, encoding = texts.read(content, asked)
    lexer = _lexer_of(asked.path)
    is_long = any(len(line) > texts.MAX_LINE_CHARACTERS for line in text.split("\n"))
    if lexer is None or is_long or len(content) > MAX_CODE_BYTES:
        return texts.show(content, asked)
    return texts.numbered(coloured(text, lexer), asked, encoding)


def coloured(text: str, lexer: Lexer) -> list[str]:
    """Colour text; every span is closed in its line."""
    tokens = ((_colour(str(kind)), value) for kind, value in lexer.get_tokens(text))
    lines: list[list[str]] = [[]]
    for colour, run in groupby(tokens, key=lambda pair: pair[0]):
        first, *more = "".join(value for _, value in run).split("\n")
        lines[-1].append(_span(colour, first))
        lines.extend([_span(colour, part)] for part in more)
    return ["".join(parts) for parts in lines]


def lexer_named(language: str) -> Lexer | None:
    """The lexer of a language by its name; `None` where none has it."""
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def _lexer_of(path: bytes) -> Lexer | None:
    suffix = suffix_of(path)
    if suffix in _BY_SUFFIX:
        return lexer_named(_BY_SUFFIX[suffix])
    name = path.rpartition(b"/")[2].decode("utf-8", "replace")
    try:
        found: Lexer = get_lexer_for_filename(name, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
    return found


def _colour(kind: str) -> str:
    name = kind.removeprefix("Token.")
    return next((colour for prefix, colour in _COLOURS if name.startswith(prefix)), "")


def _span(colour: str, text: str) -> str:
    shown = safe(text)
    return f'<span class="{colour}">{shown}</span>' if colour and text.strip() else shown
