"""What a group that computes flows would plot: a vortex street, residuals on their way down, drag over time. Pure."""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import plot
from picture import Colour, Picture

_INK: Colour = (58, 62, 70)
_FAINT: Colour = (124, 129, 139)
_SPACING = 2.6
_CORE = 0.62
_HALF_WIDTH = 0.42
_COLD, _MIDDLE, _WARM = (33, 74, 142), (247, 246, 242), (171, 44, 38)


@cache
def wake(phase: float, strength: float = 1.0) -> bytes:
    """Draw the vorticity behind a cylinder, PNG; `phase` from 0 to 1 is one period of the street."""
    picture = Picture(920, 340)
    left, top, width, height, grain = 20, 56, 820, 246, 2
    vortices = tuple(_street(phase, strength))
    for row in range(0, height, grain):
        y = (row / height - 0.5) * 6
        colours = b"".join(
            grain * bytes(_colour(_vorticity(12.5 * column / width - 1.5, y, vortices)))
            for column in range(0, width, grain)
        )
        for below in range(grain):
            picture.row(left, top + row + below, colours)
    picture.disc(left + 1.5 / 12.5 * width, top + height / 2, 20, _INK)
    for row in range(height):
        picture.row(left + width + 16, top + row, bytes(_colour(1 - 2 * row / (height - 1))) * 14)
    for label, share in (("1", 0.03), ("0", 0.5), ("-1", 0.97)):
        picture.text(left + width + 38, top + height * share + 5, label, 11, _FAINT)
    picture.text(left, 36, f"Vorticity, phase {phase:.2f} of a period", 17, _INK)
    return _written(picture)


@cache
def residuals(runs: Sequence[tuple[str, float, int]]) -> bytes:
    """Plot how residuals fall, PNG; a run is its name, how much a step leaves of them, and its steps."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plot.png"
        lines = [(name, *_falling(rate, steps)) for name, rate, steps in runs]
        plot.line_plot(path, lines, title="Residual of momentum", x_label="step", y_label="residual")
        return path.read_bytes()


def drag(reynolds: int, cells: int) -> str:
    """Draw drag and lift over time, SVG as plotting programs write it."""
    drag_line = _points(lambda t: 1.35 + 0.03 * math.sin(2.1 * t) - 0.9 * math.exp(-0.6 * t), 0.0, 2.0)
    lift_line = _points(lambda t: (1 - math.exp(-0.12 * t)) * 0.33 * math.sin(1.05 * t), -1.0, 1.0)
    grid = "".join(f'<path d="M70 {y}H640" stroke="#e9e7e2"/>' for y in (60, 130, 200, 270))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 340" width="680" height="340"'
        ' font-family="sans-serif">'
        f'<rect width="680" height="340" fill="#fff"/>{grid}'
        f'<text x="70" y="36" font-size="17" fill="#3a3e46">Drag and lift, Re {reynolds}, {cells:,} cells</text>'
        f'<polyline points="{drag_line}" fill="none" stroke="#0f6b74" stroke-width="2.4"/>'
        f'<polyline points="{lift_line}" fill="none" stroke="#d67026" stroke-width="2.4"/>'
        '<g font-size="14"><text x="646" y="132" fill="#0f6b74">drag</text>'
        '<text x="646" y="196" fill="#d67026">lift</text></g>'
        '<g font-size="13" fill="#7c818b"><text x="44" y="65">2.0</text><text x="44" y="275">0.0</text>'
        '<text x="70" y="316">0</text><text x="590" y="316">40 t U / D</text></g>'
        "</svg>"
    )


def probes(steps: int) -> str:
    """Write a table of samples, CSV."""
    rows = (f"{0.05 * step:.2f},{_cd(step):.5f},{_cl(step):.5f},{1e-2 * 0.985**step:.3e}" for step in range(steps))
    return "\n".join(("t,c_d,c_l,residual", *rows)) + "\n"


def _street(phase: float, strength: float) -> Iterator[tuple[float, float, float]]:
    """Yield the vortices of a street as x, y and circulation, in diameters from the cylinder."""
    for number in range(-1, 12):
        x = 0.9 + (number / 2 + phase) * _SPACING
        grown = 1 - math.exp(-max(0.0, x) / 1.6)
        side = 1 if number % 2 else -1
        if x > 0.4:
            yield x, side * _HALF_WIDTH * (0.6 + 0.4 * grown), -side * strength * grown
    for step in range(10):
        x = 0.16 * step
        fades = 1 - step / 10
        yield x, 0.5, -0.55 * strength * fades
        yield x, -0.5, 0.55 * strength * fades


def _vorticity(x: float, y: float, vortices: Sequence[tuple[float, float, float]]) -> float:
    total = 0.0
    for vx, vy, circulation in vortices:
        core = _CORE * (0.45 + 0.09 * vx)
        distance2 = ((x - vx) ** 2 + (y - vy) ** 2) / (core * core)
        if distance2 < 9:
            total += circulation * math.exp(-distance2) * (1.1 - 0.055 * vx)
    return total


def _colour(value: float) -> Colour:
    """Cold below zero, warm above, paper between."""
    share = min(1.0, abs(value)) ** 0.8
    end = _WARM if value > 0 else _COLD
    red, green, blue = (round(middle + (far - middle) * share) for middle, far in zip(_MIDDLE, end, strict=True))
    return red, green, blue


def _falling(rate: float, steps: int) -> tuple[list[float], list[float]]:
    xs = [float(step) for step in range(0, steps, max(1, steps // 90))]
    wobble = [1 + 0.35 * math.sin(0.11 * x) * math.exp(-x / steps) for x in xs]
    return xs, [0.8 * rate**x * shake for x, shake in zip(xs, wobble, strict=True)]


def _points(curve: Callable[[float], float], low: float, high: float) -> str:
    times = (40 * step / 200 for step in range(201))
    return " ".join(f"{70 + 14.25 * t:.1f},{290 - 230 * (curve(t) - low) / (high - low):.1f}" for t in times)


def _cd(step: int) -> float:
    return 1.35 + 0.03 * math.sin(0.105 * step) - 0.9 * math.exp(-0.03 * step)


def _cl(step: int) -> float:
    return (1 - math.exp(-0.006 * step)) * 0.33 * math.sin(0.0525 * step)


def _written(picture: Picture) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        picture.write(path)
        return path.read_bytes()
