"""Where files stand in an archive: from the bytes of a path to a name that any unpacker takes, one for each. Pure.

What some system would not take is written as the percent-encoded bytes that it is on the cluster, `%` itself among
it, so that a name can be read back: `a:b` is `a%3Ab`, `..` is `.%2E`, `con.txt` is `%63on.txt`. Two names that some
system would take for one, by case or by Unicode's normal forms, are told apart by `~2`, `~3` … before the suffix. What
would be too long is cut and ends in `~` and a piece of a hash. The ledger in the archive has the name of every file.
"""

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from hashlib import sha256

LEDGER = "ledger.json"
RUN = "run.json"
TASKS = "tasks/"
OUTPUTS = "outputs/"
STDOUT = "stdout.txt"
STDERR = "stderr.txt"
RUN_SUMMARY = "run-summary.md"

# Linux takes parts of 255 bytes, macOS whole paths of 1,024: some of it is left for where it is unpacked.
MAX_PART_BYTES = 255
MAX_NAME_BYTES = 768
_MAX_FOLDERS = 64
_HASH_DIGITS = 16
_MAX_SUFFIX_CHARACTERS = 16
_FORBIDDEN = frozenset('"*/:<>?\\|%')
# Controls, what is invisible or turns the text around it, halves of characters, ends of lines.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_DEVICES = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|COM[0-9]|LPT[0-9])[ ]*(?:\.|$)")
_PLAIN = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9 ._~+=,@-]*[A-Za-z0-9_-])?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime(1980, 1, 1, tzinfo=UTC)
_LAST = datetime(2037, 12, 31, tzinfo=UTC)


class Names:
    """Gives every path of one folder its name in the archive; asked again in the same order, the same names."""

    def __init__(self) -> None:
        self._folders: dict[bytes, str] = {b"": ""}
        self._taken: dict[str, set[str]] = {}
        self._last: dict[tuple[str, str], int] = {}

    def of(self, path: bytes) -> str:
        """Name one file, by its path relative to the folder."""
        folder, _, part = path.rpartition(b"/")
        if path.count(b"/") <= _MAX_FOLDERS:
            name = self._folder(folder) + safe_part(part)
            if len(name.encode()) <= MAX_NAME_BYTES:
                return self._in(self._folder(folder), part)
        return self._free("", f"~{_digest(path, 2 * _HASH_DIGITS)}{_suffix(safe_part(part))}")

    def _folder(self, path: bytes) -> str:
        """Name a folder, always alike, its parents first."""
        if path not in self._folders:
            above, _, part = path.rpartition(b"/")
            self._folders[path] = self._in(self._folder(above), part) + "/"
        return self._folders[path]

    def _in(self, folder: str, part: bytes) -> str:
        return self._free(folder, safe_part(part))

    def _free(self, folder: str, part: str) -> str:
        """Take a part that nothing in the folder, file or folder, has yet in the eyes of any system."""
        taken = self._taken.setdefault(folder, set())
        candidate, key = part, _key(part)
        number = self._last.get((folder, key), 1)
        while _key(candidate) in taken:
            number += 1
            candidate = _numbered(part, number)
        self._last[folder, key] = number
        taken.add(_key(candidate))
        return folder + candidate


def safe_part(part: bytes) -> str:
    """Write one part of a path so that any system takes it and shows it as it is."""
    text = part.decode("utf-8", "surrogateescape")
    if len(part) <= MAX_PART_BYTES and _PLAIN.fullmatch(text) and not _DEVICES.match(text.upper()):
        return text
    written = [_written(character) for character in text]
    if text and unicodedata.normalize("NFKC", text)[-1] in ". ":
        written[-1] = _encoded(text[-1])
    if _DEVICES.match(unicodedata.normalize("NFKC", text).upper()):
        written[0] = _encoded(text[0])
    # A part without a character, which no file system has: a percent sign with nothing behind it.
    return _cut("".join(written), part) or "%"


def archive_name(*ids: str) -> str:
    """The file name of an archive of a run or a task."""
    name = "-".join(("scripthut", *ids))
    return f"{name if len(name) <= 200 else f'{name[:180]}-{_digest(name.encode(), _HASH_DIGITS)}'}.zip"


def entry_time(modified_at: float | None, otherwise: datetime | None) -> datetime:
    """A time that an archive can hold, of what a cluster or the catalog says."""
    try:
        at = otherwise or _FIRST if modified_at is None else _EPOCH + timedelta(seconds=modified_at)
    except (OverflowError, ValueError):
        at = _FIRST
    return min(max(at.astimezone(UTC), _FIRST), _LAST)


def _written(character: str) -> str:
    if character.isascii():
        is_safe = character not in _FORBIDDEN and character.isprintable()
    else:
        # Old code pages take a full-width slash for a slash.
        looks = unicodedata.normalize("NFKC", character)
        is_safe = unicodedata.category(character) not in _UNSAFE_CATEGORIES and not _FORBIDDEN.intersection(looks)
    return character if is_safe else _encoded(character)


def _encoded(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))


def _key(part: str) -> str:
    """What names have in common that some system takes for one. Source: The Unicode Standard, section 3.13, D145."""
    if part.isascii():
        return part.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", part).casefold())


def _numbered(part: str, number: int) -> str:
    suffix = _suffix(part)
    return _shortened(part.removesuffix(suffix), f"~{number}{suffix}")


def _cut(written: str, part: bytes) -> str:
    if len(written.encode()) <= MAX_PART_BYTES:
        return written
    return _shortened(written, f"~{_digest(part, _HASH_DIGITS)}{_suffix(written)}")


def _shortened(head: str, tail: str) -> str:
    """Join both, the head cut where it is too long, never within a character or its encoding."""
    room = MAX_PART_BYTES - len(tail.encode())
    if len(head.encode()) > room:
        head = head.encode()[:room].decode("utf-8", "ignore")
        head = re.sub(r"%[0-9A-F]?$", "", head)
    return head + tail


def _suffix(part: str) -> str:
    """The suffix, dot included, when it is one that tells a kind; empty when not."""
    stem, dot, suffix = part.rpartition(".")
    is_plain = dot and stem and suffix.isascii() and suffix.isalnum()
    return f".{suffix}" if is_plain and len(suffix) < _MAX_SUFFIX_CHARACTERS else ""


def _digest(raw: bytes, digits: int) -> str:
    return sha256(raw).hexdigest()[:digits]
