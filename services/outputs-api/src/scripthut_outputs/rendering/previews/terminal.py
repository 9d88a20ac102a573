r"""Read program output as a terminal would show it: in colour, of a line written over its last state alone. Pure.

Understands SGR (`\x1b[1;31m`, 256 colours, true colour), carriage returns and the erasing of a line; every other
sequence goes. Source: ECMA-48, sections 8.3.117 (SGR) and 8.3.41 (EL).
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from .pieces import safe, visible

MAX_RUNS = 50_000
"""So many coloured pieces in all; what follows them is plain."""

_SEQUENCE = re.compile(r"\x1b(?:\[([0-?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]+[0-~]|[@-Z\\^_])")
_MAX_PARAMETERS = 32
_PLAIN_COLOUR = ""
# The sixteen colours as terminals have them; every other colour is shown as the nearest of them.
_RGB = (
    *((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229)),
    *((127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255), (255, 0, 255), (0, 255, 255)),
    (255, 255, 255),
)
_CUBE = (0, 95, 135, 175, 215, 255)
_SWITCHES = {
    1: ("bold", True),
    2: ("faint", True),
    3: ("italic", True),
    4: ("underline", True),
    7: ("inverse", True),
    9: ("struck", True),
    21: ("underline", True),
    23: ("italic", False),
    24: ("underline", False),
    27: ("inverse", False),
    29: ("struck", False),
}


class Style(msgspec.Struct, frozen=True):
    """How text stands there: colours as their number, empty for none."""

    ink: str = ""
    ground: str = ""
    words: frozenset[str] = frozenset()

    @property
    def classes(self) -> str:
        """CSS classes of it."""
        if "inverse" in self.words:
            return " ".join(f"t-{word}" for word in sorted(self.words))
        colours = [f"t-ink-{self.ink}"] if self.ink else []
        if self.ground:
            colours.append(f"t-ground-{self.ground}")
        return " ".join((*colours, *(f"t-{word}" for word in sorted(self.words))))


Run = tuple[Style, str]
PLAIN = Style()


def lines(text: str) -> Iterator[list[Run]]:
    """Yield what each line shows at last, as runs of one style."""
    screen = _Screen()
    for line in text.replace("\r\n", "\n").split("\n"):
        position = 0
        for found in _SEQUENCE.finditer(line):
            screen.write(line[position : found.start()])
            screen.obey(found[1] or "", found[2] or "")
            position = found.end()
        screen.write(line[position:])
        yield screen.end_line()


def plain(raw: bytes) -> str:
    """Give program output without its colours."""
    shown = ("".join(text for _, text in runs) for runs in lines(raw.decode("utf-8", "replace")))
    return "\n".join(visible(line) for line in shown).rstrip("\n")


def html_of(runs: Sequence[Run]) -> str:
    """Give one line as HTML, every span closed in it."""
    return "".join(
        f'<span class="{style.classes}">{safe(text)}</span>' if style.classes else safe(text) for style, text in runs
    )


class _Screen:
    """One line of a terminal at a time, and the style that goes on from line to line."""

    def __init__(self) -> None:
        self._style = PLAIN
        self._runs: list[tuple[Style, list[str]]] = []
        self._count = 0
        self._is_at_start = False

    def write(self, text: str) -> None:
        """Take text; what follows a return writes over what stood before it."""
        first, *after = text.split("\r")
        self._add(first)
        for part in after:
            self._is_at_start = True
            self._add(part)

    def obey(self, parameters: str, final: str) -> None:
        """Take a control sequence."""
        if final == "m" and not parameters.startswith("?"):
            self._style = _restyled(self._style, parameters)
        elif final == "K" and self._is_at_start:
            self._runs = []

    def end_line(self) -> list[Run]:
        """Give what the line shows, and begin the next."""
        ended, self._runs, self._is_at_start = self._runs, [], False
        return [(style, "".join(parts)) for style, parts in ended]

    def _add(self, text: str) -> None:
        if not text:
            return
        if self._is_at_start:
            self._runs, self._is_at_start = [], False
        style = self._style if self._count < MAX_RUNS else PLAIN
        if not self._runs or self._runs[-1][0] != style:
            self._count += bool(style.classes)
            self._runs.append((style, []))
        self._runs[-1][1].append(text)


@lru_cache(maxsize=1024)
def _restyled(style: Style, parameters: str) -> Style:
    codes = [_code(part) for part in re.split("[;:]", parameters)[:_MAX_PARAMETERS]]
    while codes:
        code = codes.pop(0)
        if code in {38, 48}:
            colour, codes = _extended(codes, has_space=f"{code}:2::" in parameters)
            style = _with_colour(style, colour, is_ground=code == 48)
        else:
            style = _with_code(style, code)
    return style


def _code(part: str) -> int:
    return int(part) if part.isascii() and part.isdecimal() and len(part) <= 4 else 0 if not part else -1


def _with_code(style: Style, code: int) -> Style:
    if code == 0:
        return PLAIN
    if code == 22:
        return Style(style.ink, style.ground, style.words - {"bold", "faint"})
    if code in _SWITCHES:
        word, is_on = _SWITCHES[code]
        return Style(style.ink, style.ground, style.words | {word} if is_on else style.words - {word})
    for first, is_ground, added in ((30, False, 0), (40, True, 0), (90, False, 8), (100, True, 8)):
        if first <= code < first + 8:
            return _with_colour(style, str(code - first + added), is_ground=is_ground)
    if code in {39, 49}:
        return _with_colour(style, _PLAIN_COLOUR, is_ground=code == 49)
    return style


def _with_colour(style: Style, colour: str, *, is_ground: bool) -> Style:
    return Style(style.ink, colour, style.words) if is_ground else Style(colour, style.ground, style.words)


def _extended(codes: list[int], *, has_space: bool) -> tuple[str, list[int]]:
    """Read what follows 38 or 48: `5;N`, or `2;R;G;B` (with colons, perhaps an empty colour space before R)."""
    if codes[:1] == [5] and len(codes) > 1:
        return _of_256(codes[1]), codes[2:]
    if codes[:1] == [2]:
        skipped = 2 if has_space else 1
        rgb = codes[skipped : skipped + 3]
        if len(rgb) == 3 and all(0 <= part <= 255 for part in rgb):
            return _nearest(rgb[0], rgb[1], rgb[2]), codes[skipped + 3 :]
    return _PLAIN_COLOUR, []


def _of_256(number: int) -> str:
    if 0 <= number < 16:
        return str(number)
    if 16 <= number < 232:
        cube = number - 16
        return _nearest(_CUBE[cube // 36], _CUBE[cube // 6 % 6], _CUBE[cube % 6])
    if 232 <= number < 256:
        grey = 8 + 10 * (number - 232)
        return _nearest(grey, grey, grey)
    return _PLAIN_COLOUR


@lru_cache(maxsize=4096)
def _nearest(red: int, green: int, blue: int) -> str:
    def distance(place: int) -> int:
        known = _RGB[place]
        return (known[0] - red) ** 2 + (known[1] - green) ** 2 + (known[2] - blue) ** 2

    return str(min(range(len(_RGB)), key=distance))
