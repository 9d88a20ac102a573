r"""Turn LaTeX into MathML, element by element from a fixed set. Pure.

latex2mathml passes authors' text, addresses and styles through (`\text{<img>}`, `\href`, `\style`), so its tree is
read and written anew here: nothing of it reaches a page as it is.
"""

import re
from html import escape, unescape
from xml.etree.ElementTree import Element

from .marks import without_marks

MAX_CHARACTERS = 8 * 1024
MAX_CHARACTERS_OF_ALL = 96 * 1024
SOURCE_CLASS = "math-source"
NOT_UNDERSTOOD = "LaTeX that is not understood"
_ELEMENTS = """
math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow mspace msqrt mstyle msub
msubsup msup mtable mtd mtext mtr munder munderover
"""
ELEMENTS = frozenset(_ELEMENTS.split())
_WORD = re.compile(r"[a-z-]{1,24}(?: [a-z]{1,24}){0,15}").fullmatch
_WORDS = """
accent accentunder columnalign columnlines display displaystyle fence form largeop linebreak mathvariant movablelimits
notation rowalign rowlines separator stretchy symmetric
"""
# No length is negative: a formula stays in its place.
_LENGTH = re.compile(r"[0-9]{0,2}(?:\.[0-9]{1,4})?(?:em|ex|px|pt|mu|%)?").fullmatch
_LENGTHS = ("depth", "height", "linethickness", "lspace", "maxsize", "minsize", "rspace", "width")
ATTRIBUTES = {
    **dict.fromkeys(_WORDS.split(), _WORD),
    **dict.fromkeys(_LENGTHS, _LENGTH),
    "scriptlevel": re.compile(r"[+-]?[0-9]").fullmatch,
}
_MACRO = re.compile(r"\\(?:[egx]?def|let|(?:re)?newcommand|providecommand|DeclareMathOperator)(?![A-Za-z])")
_FAILURES = (ValueError, LookupError, ArithmeticError, AttributeError, TypeError, RuntimeError, StopIteration)
_UNKNOWN = re.compile(r"\\[A-Za-z]+").fullmatch


class Formulas:
    """The formulas of one document, which share a limit.

    The time that latex2mathml needs grows with the source, some 30 µs a character.
    """

    def __init__(self) -> None:
        self._left = MAX_CHARACTERS_OF_ALL

    def convert(self, latex: str, *, is_block: bool) -> str:
        """Give MathML, or the source with a note where it is broken or too much."""
        source = latex.strip()
        if len(source) > min(MAX_CHARACTERS, self._left):
            return _source(source, "more LaTeX than is shown as formulas")
        self._left -= len(source)
        tree = None if _MACRO.search(source) else _parse(source, is_block=is_block)
        return _source(source, NOT_UNDERSTOOD) if tree is None else _write(tree)


def _parse(source: str, *, is_block: bool) -> Element | None:
    """Read LaTeX; `None` when it is not understood. The library fails in all these ways on what is broken."""
    # Its tables of symbols are read when it is imported; most documents need none.
    from latex2mathml import exceptions  # noqa: PLC0415
    from latex2mathml.converter import Converter  # noqa: PLC0415

    kinds = (kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, Exception))
    failures: tuple[type[Exception], ...] = (*kinds, *_FAILURES)
    try:
        tree = Converter(display="block" if is_block else "inline").convert_to_element(source)
    except failures:
        return None
    is_whole = not any(element.tag == "mi" and _UNKNOWN(element.text or "") for element in tree.iter())
    return tree if is_whole else None


def _write(element: Element) -> str:
    """Write one element with what is in it; one that is not in the set becomes a row of what is in it."""
    tag = element.tag if element.tag in ELEMENTS else "mrow"
    attributes = "".join(
        f' {name}="{value}"' for name, value in element.attrib.items() if name in ATTRIBUTES and ATTRIBUTES[name](value)
    )
    inner = "".join((_text(element.text), *(_write(child) for child in element)))
    return f"<{tag}{attributes}>{inner}</{tag}>{_text(element.tail)}"


def _text(text: str | None) -> str:
    """Write text: the library's own entities stand in it as text, beside those of the author."""
    return escape(without_marks(unescape(text)), quote=True) if text else ""


def _source(source: str, why: str) -> str:
    return f'<span class="{SOURCE_CLASS}"><code>{escape(source)}</code> <small>({why})</small></span>'
