"""The pictures of the documentation are shrunk without becoming others."""

import struct
import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pictures.shrinking import shrink
from tests.testbed.browser import Browser

WIDTH = 5


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(rows: bytes, height: int, kind: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", WIDTH, height, 8, kind, 0, 0, 0)
    told = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, body) for name, body in told)


def pixels(shrunk: bytes) -> bytes:
    """The colours of a picture with a palette, row by row."""
    palette = shrunk.partition(b"PLTE")[2]
    packed = zlib.decompress(shrunk.partition(b"IDAT")[2][:-16])
    rows = (packed[start + 1 : start + 1 + WIDTH] for start in range(0, len(packed), WIDTH + 1))
    return b"".join(palette[3 * place : 3 * place + 3] for row in rows for place in row)


@given(st.lists(st.sampled_from([b"\x00\x20\x40", b"\xff\xff\xff", b"\x80\x10\xf0"]), min_size=WIDTH, max_size=WIDTH))
def test_few_colours_stay_as_they_are(colours: list[bytes]) -> None:
    row = b"".join(colours)

    assert pixels(shrink(png(b"\0" + row + b"\2" + bytes(len(row)), 2))) == 2 * row


def test_a_picture_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind 6"):
        shrink(png(b"\0" * (4 * WIDTH + 1), 1, kind=6))


async def test_what_a_browser_writes_looks_the_same_when_it_is_small(browser: Browser) -> None:
    async with browser.visit(width=300, height=200) as visit:
        await visit.page.set_content("<style>body{background:linear-gradient(#fff,#0b6069)}</style><h1>Page</h1>")
        taken = await visit.page.screenshot()
        small = shrink(taken)
        both = [f"data:image/png;base64,{b64encode(one).decode()}" for one in (taken, small)]

        apart = await visit.page.evaluate(_FARTHEST, both)

        assert apart < 24


_FARTHEST = """async (addresses) => {
    const [one, other] = await Promise.all(addresses.map(async (address) => {
        const image = new Image();
        image.src = address;
        await image.decode();
        const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
        canvas.drawImage(image, 0, 0);
        return canvas.getImageData(0, 0, image.width, image.height).data;
    }));
    return one.reduce((most, part, place) => Math.max(most, Math.abs(part - other[place])), 0);
}"""
