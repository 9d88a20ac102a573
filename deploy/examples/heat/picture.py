"""Draw a picture with smooth lines and write it as PNG, with nothing but the standard library."""

import math
import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from strokes import Point, strokes

Colour = tuple[int, int, int]


class Picture:
    """Pixels, row by row, red green blue."""

    def __init__(self, width: int, height: int, paper: Colour = (255, 255, 255)) -> None:
        self.width, self.height = width, height
        self._pixels = bytearray(bytes(paper) * (width * height))

    def rectangle(self, left: int, top: int, right: int, bottom: int, colour: Colour) -> None:
        """Fill a rectangle; `right` and `bottom` are outside of it."""
        row = bytes(colour) * (right - left)
        for y in range(top, bottom):
            self.row(left, y, row)

    def row(self, left: int, y: int, colours: bytes) -> None:
        """Put a row of pixels."""
        start = 3 * (y * self.width + left)
        self._pixels[start : start + len(colours)] = colours

    def line(self, points: Sequence[Point], colour: Colour, thickness: float = 3.0) -> None:
        """Draw a smooth line through `points`."""
        for (ax, ay), (bx, by) in pairwise(points):
            self._segment(ax, ay, bx, by, colour, thickness / 2)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Draw a dot."""
        self._segment(x, y, x, y, colour, radius)

    def text(self, x: float, y: float, text: str, height: float, colour: Colour, anchor: float = 0.0) -> None:
        """Write text with its baseline at `y`; `anchor` 0 begins at `x`, 0.5 is centred, 1 ends there."""
        lines, width = strokes(text, height)
        for line in lines:
            self.line([(x - anchor * width + px, y + py) for px, py in line], colour, max(1.3, height / 7))

    def text_upwards(self, x: float, y: float, text: str, height: float, colour: Colour) -> None:
        """Write text from bottom to top, centred at `y`."""
        lines, width = strokes(text, height)
        for line in lines:
            self.line([(x + py, y + width / 2 - px) for px, py in line], colour, max(1.3, height / 7))

    def write(self, path: Path) -> None:
        """Write the picture as PNG. Source: PNG specification, third edition, W3C."""
        stride = 3 * self.width
        rows = (b"\0" + self._pixels[start : start + stride] for start in range(0, len(self._pixels), stride))
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"".join(rows), 9)) + _chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)

    def _segment(self, ax: float, ay: float, bx: float, by: float, colour: Colour, radius: float) -> None:
        """Blend every pixel near the segment by how much of it the line covers."""
        length2 = (bx - ax) ** 2 + (by - ay) ** 2
        reach = radius + 1
        for y in range(max(0, int(min(ay, by) - reach)), min(self.height, int(max(ay, by) + reach) + 1)):
            for x in range(max(0, int(min(ax, bx) - reach)), min(self.width, int(max(ax, bx) + reach) + 1)):
                dx, dy = x - ax, y - ay
                along = max(0.0, min(1.0, (dx * (bx - ax) + dy * (by - ay)) / length2)) if length2 else 0.0
                cover = radius + 0.5 - math.hypot(dx - along * (bx - ax), dy - along * (by - ay))
                if cover > 0:
                    self._blend(3 * (y * self.width + x), colour, min(1.0, cover))

    def _blend(self, start: int, colour: Colour, cover: float) -> None:
        for channel in range(3):
            old = self._pixels[start + channel]
            self._pixels[start + channel] = round(old + (colour[channel] - old) * cover)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
