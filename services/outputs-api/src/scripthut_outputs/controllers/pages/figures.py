"""Group the pictures of a task into figures: `flow_0001.png`, `flow_0002.png` … are one, to step through. Pure."""

import re
from collections.abc import Sequence

import msgspec

from . import addresses

_NUMBERED = re.compile(r"(.*?)(\d{1,12})(\.[A-Za-z]{3,4})", re.DOTALL | re.ASCII)
_MIN_FRAMES = 3
# `fig1.png` … `fig5.png` are likelier pictures of their own than a film.
_MIN_FRAMES_UNPADDED = 8
_PADDED_DIGITS = 3


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture: `url` is of its bytes, `src` too, and another one for other bytes, `page_url` of its page."""

    folder: str
    name: str
    url: str
    src: str
    page_url: str
    size: str


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One picture, or the frames of a series in the order of their numbers."""

    name: str
    frames: tuple[Picture, ...]

    @property
    def id(self) -> str:
        """What tells its element from others of a task."""
        return addresses.id_of(self.name.encode())

    @property
    def content(self) -> str:
        """What names all that it shows."""
        return addresses.id_of("\0".join(frame.src for frame in self.frames).encode())

    @property
    def is_series(self) -> bool:
        """Whether there is anything to step through."""
        return len(self.frames) > 1


def group(pictures: Sequence[Picture]) -> tuple[Figure, ...]:
    """Give figures in the order in which their first pictures come."""
    series: dict[tuple[str, str, str], list[tuple[int, Picture]]] = {}
    for picture in pictures:
        found = _NUMBERED.fullmatch(picture.name)
        if found:
            series.setdefault((picture.folder, found[1], found[3]), []).append((int(found[2]), picture))
    figures: list[Figure] = []
    taken: set[str] = set()
    whole = {frames[0][1].url: (key, frames) for key, frames in series.items() if _is_series(frames)}
    grouped = {picture.url for _, frames in whole.values() for _, picture in frames}
    for picture in pictures:
        if picture.url in whole:
            (folder, prefix, suffix), frames = whole[picture.url]
            ordered = tuple(frame for _, frame in sorted(frames, key=lambda pair: pair[0]))
            figures.append(Figure(name=f"{folder}{prefix}…{suffix}", frames=ordered))
        elif picture.url not in grouped and picture.url not in taken:
            figures.append(Figure(name=f"{picture.folder}{picture.name}", frames=(picture,)))
            taken.add(picture.url)
    return tuple(figures)


def _is_series(frames: Sequence[tuple[int, Picture]]) -> bool:
    is_padded = all(_digits(picture.name) >= _PADDED_DIGITS for _, picture in frames)
    return len(frames) >= (_MIN_FRAMES if is_padded else _MIN_FRAMES_UNPADDED)


def _digits(name: str) -> int:
    found = _NUMBERED.fullmatch(name)
    return len(found[2]) if found else 0
