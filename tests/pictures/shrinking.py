"""Make the picture of a page small: its 256 commonest colours, packed as well as zlib can. Pure.

Source: PNG specification, third edition, W3C.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import product

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = 256
_RGB = 2


def shrink(png: bytes) -> bytes:
    """Give a picture with a palette for one with 8 bits a channel and no transparency.

    Raises:
        ValueError: it is of another kind.
    """
    chunks = dict.fromkeys((b"IHDR", b"IDAT"), b"")
    for name, body in _chunks(png):
        chunks[name] = chunks.get(name, b"") + body
    width, height, depth, kind = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    if (depth, kind) != (8, _RGB):
        raise ValueError(f"a picture of {depth} bits and kind {kind} is not one that browsers write of a page")
    rows = [_colours(row) for row in _rows(zlib.decompress(chunks[b"IDAT"]), 3 * width)]
    palette, places = _palette(Counter(colour for row in rows for colour in row))
    packed = zlib.compress(b"".join(b"\0" + bytes(places[colour] for colour in row) for row in rows), 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    told = ((b"IHDR", header), (b"PLTE", b"".join(palette)), (b"IDAT", packed), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, body) for name, body in told)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(_SIGNATURE)
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        yield png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        place += 12 + length


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _colours(row: bytes) -> list[bytes]:
    return [row[place : place + 3] for place in range(0, len(row), 3)]


def _rows(raw: bytes, stride: int) -> Iterator[bytes]:
    """Yield the rows as they were before each was filtered."""
    above = bytes(stride)
    for start in range(0, len(raw), stride + 1):
        above = _unfiltered(raw[start], raw[start + 1 : start + 1 + stride], above)
        yield above


def _unfiltered(kind: int, row: bytes, above: bytes) -> bytes:
    if kind == 0:
        return row
    if kind == 2:
        return bytes((new + up) & 255 for new, up in zip(row, above, strict=True))
    made, corner = bytearray(3) + bytearray(row), bytes(3) + above
    for place, up in enumerate(above, start=3):
        left = made[place - 3]
        guess = left if kind == 1 else (left + up) // 2 if kind == 3 else _paeth(left, up, corner[place - 3])
        made[place] = (made[place] + guess) & 255
    return bytes(made[3:])


def _paeth(left: int, up: int, corner: int) -> int:
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if to_left <= to_up and to_left <= to_corner:
        return left
    return up if to_up <= to_corner else corner


def _palette(counted: Counter[bytes]) -> tuple[list[bytes], dict[bytes, int]]:
    """Choose the commonest colours, and tell where every colour is found among them.

    One of each wide neighbourhood comes first, so that a rare line keeps its hue; then one of each narrow one.
    """
    chosen: dict[tuple[int, bytes], bytes] = {}
    for bits, (colour, _) in product((5, 3), counted.most_common()):
        if len(chosen) < _COLOURS and (bits == 5 or colour not in chosen.values()):
            chosen.setdefault((bits, bytes(part >> bits for part in colour)), colour)
    palette = list(chosen.values())
    exact = {colour: place for place, colour in enumerate(palette)}
    return palette, {colour: exact.get(colour, _nearest(colour, palette)) for colour in counted}


def _nearest(colour: bytes, palette: list[bytes]) -> int:
    red, green, blue = colour
    distances = [(red - r) ** 2 + (green - g) ** 2 + (blue - b) ** 2 for r, g, b in palette]
    return distances.index(min(distances))
