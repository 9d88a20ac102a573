"""What a file of the ledger is called on this machine: its exact bytes, or nothing. Pure."""

import unicodedata
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from hashlib import sha256

from scripthut_common.errors import PermanentError

Parts = tuple[bytes, ...]
_DOTS = frozenset({b"", b".", b".."})


class Refused(PermanentError):
    """A file cannot have its name here; the text says why."""


def split(path: bytes) -> Parts:
    """Give the folders and the name of a path below an output directory.

    Raises:
        Refused: it is none: absolute, empty, or leading upwards.
    """
    parts = tuple(path.split(b"/"))
    if b"\0" in path or not _DOTS.isdisjoint(parts):
        raise Refused("its path does not lie below its directory")
    return parts


def alike(parts: Sequence[bytes]) -> str:
    """Equal for names that some file systems take for one: they differ in case or Unicode form alone."""
    shown = b"/".join(parts).decode("utf-8", "surrogateescape")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", shown).casefold())


def part_name(name: bytes, content: str) -> bytes:
    """What an unfinished file is called: by its name and the SHA-256 of what it becomes, however long the name is."""
    return b".scripthut-%s.part" % sha256(name + b"\0" + content.encode()).hexdigest()[:32].encode()


def is_wanted(path: bytes, patterns: Iterable[str]) -> bool:
    """Answer whether a path or its last name matches a wildcard; without any, everything does."""
    shown = path.decode("utf-8", "surrogateescape")
    name = shown.rpartition("/")[2]
    wildcards = list(patterns)
    return not wildcards or any(fnmatchcase(shown, one) or fnmatchcase(name, one) for one in wildcards)
