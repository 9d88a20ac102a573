"""A small alphabet of strokes, for labels in pictures."""

from collections.abc import Iterator

Point = tuple[float, float]

# A point is two digits, x then y downwards; capitals reach from 0 to 6, small letters from 2, tails to 8.
_CHARACTERS = {
    "0": "10 30 41 45 36 16 05 01 10",
    "1": "11 20 26",
    "2": "01 10 30 41 42 06 46",
    "3": "01 10 30 41 42 33 13, 33 44 45 36 16 05",
    "4": "36 30 04 44",
    "5": "40 00 02 32 43 45 36 16 05",
    "6": "41 30 10 01 05 16 36 45 44 33 13 04",
    "7": "00 40 16",
    "8": "13 02 01 10 30 41 42 33 13 04 05 16 36 45 44 33",
    "9": "42 33 13 02 01 10 30 41 45 36 16 05",
    "A": "06 20 46, 14 34",
    "B": "33 03 06 36 45 44 33 42 41 30 00 03",
    "C": "41 30 10 01 05 16 36 45",
    "D": "00 06 36 45 41 30 00",
    "E": "40 00 06 46, 03 33",
    "F": "40 00 06, 03 33",
    "G": "41 30 10 01 05 16 36 45 43 23",
    "H": "00 06, 40 46, 03 43",
    "I": "20 26",
    "J": "40 45 36 16 05",
    "K": "00 06, 40 03 46",
    "L": "00 06 46",
    "M": "06 00 23 40 46",
    "N": "06 00 46 40",
    "O": "10 30 41 45 36 16 05 01 10",
    "P": "06 00 30 41 42 33 03",
    "Q": "10 30 41 45 36 16 05 01 10, 24 46",
    "R": "06 00 30 41 42 33 03, 23 46",
    "S": "41 30 10 01 02 13 33 44 45 36 16 05",
    "T": "00 40, 20 26",
    "U": "00 05 16 36 45 40",
    "V": "00 26 40",
    "W": "00 16 23 36 40",
    "X": "00 46, 40 06",
    "Y": "00 23 40, 23 26",
    "Z": "00 40 06 46",
    "a": "12 32 43 46, 44 14 05 16 36 45",
    "b": "00 06, 03 12 32 43 45 36 16 05",
    "c": "43 32 12 03 05 16 36 45",
    "d": "40 46, 43 32 12 03 05 16 36 45",
    "e": "04 44 43 32 12 03 05 16 36 45",
    "f": "30 20 11 16, 02 22",
    "g": "42 47 38 18 07, 43 32 12 03 05 16 36 45",
    "h": "00 06, 03 12 32 43 46",
    "i": "22 26, 20 20",
    "j": "22 27 18, 20 20",
    "k": "00 06, 42 04 46",
    "l": "20 26",
    "m": "02 06, 03 12 23 26, 23 32 43 46",
    "n": "02 06, 03 12 32 43 46",
    "o": "12 32 43 45 36 16 05 03 12",
    "p": "02 08, 03 12 32 43 45 36 16 05",
    "q": "42 48, 43 32 12 03 05 16 36 45",
    "r": "02 06, 03 12 32",
    "s": "43 32 12 03 14 34 45 36 16 05",
    "t": "10 15 26 36, 02 32",
    "u": "02 05 16 36 45, 42 46",
    "v": "02 26 42",
    "w": "02 16 23 36 42",
    "x": "02 46, 42 06",
    "y": "02 26, 42 18",
    "z": "02 42 06 46",
    ".": "26 26",
    ",": "26 17",
    ":": "23 23, 26 26",
    "-": "14 34",
    "+": "04 44, 22 26",
    "=": "03 43, 05 45",
    "(": "30 21 25 36",
    ")": "10 21 25 16",
    "/": "06 40",
    "%": "06 40, 01 01, 45 45",
    "|": "20 26",
    "\u00d7": "03 36, 33 06",
    "\u03b1": "42 35 26 16 05 03 12 22 33 46",
}
_HEIGHT, _GAP, _SPACE = 6.0, 1.7, 2.8


def strokes(text: str, height: float) -> tuple[list[list[Point]], float]:
    """Give the lines of a text whose capitals are `height` high, baseline at y = 0, and how wide it is."""
    scale, x, lines = height / _HEIGHT, 0.0, []
    for character in text:
        if character == " ":
            x += _SPACE
            continue
        glyph = list(_glyph(character))
        left = min(point[0] for line in glyph for point in line)
        right = max(point[0] for line in glyph for point in line)
        lines += [[((x + px - left) * scale, (py - _HEIGHT) * scale) for px, py in line] for line in glyph]
        x += right - left + _GAP
    return lines, max(0.0, x - _GAP) * scale


def _glyph(character: str) -> Iterator[list[Point]]:
    for line in _CHARACTERS[character].split(", "):
        yield [(float(point[0]), float(point[1])) for point in line.split()]
