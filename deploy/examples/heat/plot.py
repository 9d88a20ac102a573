"""Line plots and heat maps that can be looked at, drawn on a `Picture`."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from picture import Colour, Picture

INK: Colour = (58, 62, 70)
FAINT: Colour = (124, 129, 139)
GRID: Colour = (233, 231, 226)
COLOURS: tuple[Colour, ...] = ((15, 107, 116), (214, 112, 38), (107, 79, 160))
_STOPS: tuple[Colour, ...] = (
    *((13, 17, 43), (52, 24, 98), (106, 28, 122), (161, 42, 113)),
    *((210, 66, 84), (241, 107, 51), (251, 162, 41), (248, 219, 105), (253, 250, 214)),
)
Place = Callable[[float, float], tuple[float, float]]
Line = tuple[str, Sequence[float], Sequence[float]]


def line_plot(path: Path, lines: Sequence[Line], *, title: str, x_label: str, y_label: str) -> None:
    """Plot lines over steps on a logarithmic scale and write the picture."""
    picture = Picture(1280, 720)
    left, top, right, bottom = 150, 110, 1220, 600
    highest = max(max(ys) for _, _, ys in lines)
    lowest = min(min(ys) for _, _, ys in lines)
    top_decade, bottom_decade = math.ceil(math.log10(highest)), math.floor(math.log10(lowest))
    step, last = _round_steps(max(max(xs) for _, xs, _ in lines))

    def place(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(y) - bottom_decade) / (top_decade - bottom_decade)
        return left + (right - left) * x / last, bottom - (bottom - top) * share

    _decades(picture, range(bottom_decade, top_decade + 1), left, right, place)
    for x in range(0, last + 1, step):
        _tick(picture, place(x, lowest)[0], bottom, f"{x}")
    for number, (name, xs, ys) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        points = [place(x, y) for x, y in zip(xs, ys, strict=True)]
        picture.line(points, colour, 5.0)
        picture.disc(*points[-1], 8.0, colour)
        _key(picture, number, name, right, top, colour)
    picture.text(left, 60, title, 25, INK)
    picture.text((left + right) / 2, 685, x_label, 19, FAINT, 0.5)
    picture.text_upwards(48, (top + bottom) / 2, y_label, 19, FAINT)
    picture.write(path)


def heat_map(path: Path, field: Sequence[Sequence[float]], *, title: str) -> None:
    """Colour a square field of values from 0 to 1, with a scale beside it, and write the picture."""
    side, left, top = 576, 30, 80
    picture = Picture(side + 160, side + 110)
    colours = [_colour(shade / 255) for shade in range(256)]
    for y in range(0, side, 2):
        row = _between(field, y / side)
        pixels = b"".join(2 * colours[round(255 * min(1.0, max(0.0, _at(row, x / side))))] for x in range(0, side, 2))
        picture.row(left, top + y, pixels)
        picture.row(left, top + y + 1, pixels)
    for y in range(side):
        picture.row(left + side + 30, top + y, _colour(1 - y / (side - 1)) * 24)
    for label in ("0.0", "0.5", "1.0"):
        y = round(top + (side - 14) * (1 - float(label)))
        picture.text(left + side + 64, y + 14, label, 15, FAINT)
    picture.text(left, 48, title, 22, INK)
    picture.write(path)


def _decades(picture: Picture, decades: range, left: int, right: int, place: Place) -> None:
    for decade in decades[:: max(1, len(decades) // 7)]:
        y = place(0, 10.0**decade)[1]
        picture.line([(left, y), (right, y)], GRID, 2.0)
        picture.text(left - 18, y + 8, f"1e{decade}", 17, FAINT, 1.0)


def _round_steps(last: float) -> tuple[int, int]:
    """Give a round distance between ticks, and where the axis ends: at the tick after `last`."""
    size = 10 ** math.floor(math.log10(last / 4))
    step = next(int(factor * size) for factor in (1, 2, 2.5, 5, 10) if factor * size >= last / 6)
    return step, step * math.ceil(last / step)


def _tick(picture: Picture, x: float, bottom: int, label: str) -> None:
    picture.line([(x, bottom), (x, bottom + 9)], FAINT, 2.0)
    picture.text(x, bottom + 36, label, 17, FAINT, 0.5)


def _key(picture: Picture, number: int, name: str, right: int, top: int, colour: Colour) -> None:
    y = top + 26 + 38 * number
    picture.line([(right - 330, y - 7), (right - 285, y - 7)], colour, 5.0)
    picture.text(right - 268, y, name, 17, INK)


def _between(field: Sequence[Sequence[float]], share: float) -> list[float]:
    place = share * (len(field) - 1)
    index = min(int(place), len(field) - 2)
    rest = place - index
    return [a + (b - a) * rest for a, b in zip(field[index], field[index + 1], strict=True)]


def _at(row: Sequence[float], share: float) -> float:
    place = share * (len(row) - 1)
    index = min(int(place), len(row) - 2)
    return row[index] + (row[index + 1] - row[index]) * (place - index)


def _colour(share: float) -> bytes:
    place = min(1.0, max(0.0, share)) * (len(_STOPS) - 1)
    index = min(int(place), len(_STOPS) - 2)
    low, high, rest = _STOPS[index], _STOPS[index + 1], place - index
    return bytes(round(a + (b - a) * rest) for a, b in zip(low, high, strict=True))
