"""Colour code: spans with classes of a fixed, small set. Pure.

Languages are a fixed set too. Lexers are not made for hostile text, and most are not worth their risk here.
"""

import re
from functools import cache
from html import escape
from itertools import groupby

MAX_CHARACTERS = 32 * 1024
MAX_CHARACTERS_OF_ALL = 128 * 1024
CLASSES = frozenset(
    {
        "code-comment",
        "code-keyword",
        "code-string",
        "code-number",
        "code-name",
        "code-builtin",
        "code-tag",
        "code-heading",
        "code-inserted",
        "code-deleted",
    }
)
LANGUAGES = {
    alias: name
    for name, *aliases in (
        line.split()
        for line in """
bash sh shell zsh
batch bat
c h
cmake
console shell-session sh-session
cpp c++ cc cxx hpp cuda
css
cython pyx
diff patch udiff
docker dockerfile
fortran f90 f95 f03 f08
go golang
groovy
haskell hs
html
ini cfg conf
java
javascript js mjs
json json5 jsonc
julia jl
kotlin kt
lua
make makefile mf
matlab octave
mathematica mma nb
nix
perl pl
php
powershell ps1 pwsh
properties
pycon
pytb py3tb traceback
python py python3 py3
r rlang splus
ruby rb
rust rs
scala
sql
swift
tcl
tex latex
toml
typescript ts
xml svg
yaml yml
zig
""".strip().splitlines()
    )
    for alias in (name, *aliases)
}
# Lexers look ahead from each of many blank lines or characters of a long line, and back again.
_SLOW = re.compile(r"[^\n]{1000}|(?:[ \t]*\n){50}")
_COLOURS = (
    ("Comment.Preproc", "code-keyword"),
    ("Comment", "code-comment"),
    ("Keyword.Constant", "code-builtin"),
    ("Keyword", "code-keyword"),
    ("Operator.Word", "code-keyword"),
    ("Literal.String", "code-string"),
    ("Literal.Number", "code-number"),
    ("Name.Function", "code-name"),
    ("Name.Class", "code-name"),
    ("Name.Decorator", "code-name"),
    ("Name.Namespace", "code-name"),
    ("Name.Exception", "code-name"),
    ("Name.Builtin", "code-builtin"),
    ("Name.Constant", "code-builtin"),
    ("Name.Variable", "code-builtin"),
    ("Name.Tag", "code-tag"),
    ("Name.Attribute", "code-name"),
    ("Generic.Heading", "code-heading"),
    ("Generic.Subheading", "code-heading"),
    ("Generic.Prompt", "code-comment"),
    ("Generic.Inserted", "code-inserted"),
    ("Generic.Deleted", "code-deleted"),
    ("Generic.Traceback", "code-heading"),
    ("Generic.Error", "code-deleted"),
)


class Highlighter:
    """Colours the code of one document, which shares a limit."""

    def __init__(self) -> None:
        self._left = MAX_CHARACTERS_OF_ALL

    def highlight(self, code: str, language: str) -> str | None:
        """Give `code` as HTML with coloured spans; `None` for an unknown language, and for what takes too long."""
        if len(code) > self._left:
            return None
        coloured = highlight(code, language)
        if coloured is not None:
            self._left -= len(code)
        return coloured


def highlight(code: str, language: str, *, max_characters: int = MAX_CHARACTERS) -> str | None:
    """Give `code` as HTML with coloured spans; `None` for an unknown language, and for what takes too long."""
    name = LANGUAGES.get(language.lower())
    if name is None or len(code) > max_characters or _SLOW.search(code):
        return None
    # Finding a lexer loads the module of that language alone; most documents need none.
    from pygments.lexers import get_lexer_by_name  # noqa: PLC0415

    tokens = get_lexer_by_name(name, stripnl=False).get_tokens(code)
    runs = groupby(tokens, key=lambda token: _colour(str(token[0])))
    return "".join(_span(colour, "".join(text for _, text in run)) for colour, run in runs)


@cache
def _colour(kind: str) -> str:
    name = kind.removeprefix("Token.")
    for prefix, colour in _COLOURS:
        if name.startswith(prefix):
            return colour
    return ""


def _span(colour: str, text: str) -> str:
    shown = escape(text, quote=False)
    return f'<span class="{colour}">{shown}</span>' if colour and text.strip() else shown
