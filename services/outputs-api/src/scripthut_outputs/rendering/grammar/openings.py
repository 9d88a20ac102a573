"""What the first line of a block looks like. Pure. Source: CommonMark 0.31, 4.5 and 4.6; GitHub's formulas."""

import re

FENCE = re.compile(r"(`{3,})(?=[^`]*$)|(~{3,})")
HEADING = re.compile(r"#{1,6}(?: |$)")
FOOTNOTE = re.compile(r"\[\^[^\]]*\]:")
DELIMITERS = re.compile(r"\|?[ ]*:?-+:?[ ]*(?:\|[ ]*:?-+:?[ ]*)*\|?[ ]*$")
_RAW = "script|pre|style|textarea"
_BLOCKS = """
address article aside base basefont blockquote body caption center col colgroup dd details dialog dir div dl dt fieldset
figcaption figure footer form frame frameset h[1-6] head header hr html iframe legend li link main menu menuitem nav
noframes ol optgroup option p param search section summary table tbody td tfoot th thead title tr track ul
"""
_HTML = tuple(
    (re.compile(opening, re.IGNORECASE), re.compile(closing, re.IGNORECASE))
    for opening, closing in (
        (rf"<(?:{_RAW})(?=[\s>]|$)", rf"</(?:{_RAW})>"),
        ("<!--", "-->"),
        (r"<\?", r"\?>"),
        (r"<!\[CDATA\[", r"\]\]>"),
        ("<![a-z]", ">"),
        (rf"</?(?:{'|'.join(_BLOCKS.split())})(?=[\s/>]|$)", r"^\s*$"),
    )
)
BLANK = _HTML[-1][1]


def html_end(content: str) -> re.Pattern[str] | None:
    """What ends the raw HTML that begins with this line (`BLANK`: the blank line after it); `None` if none does."""
    if not content.startswith("<"):
        return None
    return next((closing for opening, closing in _HTML if opening.match(content)), None)
