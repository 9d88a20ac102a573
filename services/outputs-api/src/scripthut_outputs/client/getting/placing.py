"""Write files below one folder and nowhere else: each folder on the way is opened by itself, no link is followed."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scripthut_common.errors import PermanentError

from .naming import Parts, Refused, part_name

_PIECE_BYTES = 1024 * 1024
_NO_LINK = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | _NO_LINK
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LINKED = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK})


class DiskFull(PermanentError):
    """There is no room for the rest; what is unfinished can be taken up again."""


class Folder:
    """The folder that files are brought to; it is made where there is none.

    Raises:
        PermanentError: it cannot be made or entered.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise PermanentError(f"{ascii(str(path))[1:-1]}: {error.strerror}; choose another with --to") from error
        self._taken: dict[tuple[int, int], Parts] = {}

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    def has(self, parts: Parts, *, size_bytes: int, sha256: str) -> bool:
        """Answer whether the file is here already, and right.

        Raises:
            Refused: something else has its name, that is not ours to replace.
            DiskFull: see there.
        """
        with self._at(parts) as folder:
            found = _look(folder, parts[-1])
            if found is None:
                return False
            if not stat.S_ISREG(found.st_mode):
                raise Refused("something that is no file has its name here")
            is_right = found.st_size == size_bytes and _hash_of(folder, parts[-1]) == sha256
            other = self._taken.setdefault((found.st_dev, found.st_ino), parts) if is_right else self._owner(found)
            if other not in {None, parts} and not is_right:
                raise Refused("this file system takes its name for that of another file that was fetched")
            return is_right

    @contextmanager
    def part(self, parts: Parts, sha256: str) -> Iterator["Part"]:
        """Open the unfinished file, with what is there of it; raises as `has` does."""
        with self._at(parts) as folder:
            name = part_name(parts[-1], sha256)
            part = Part(folder, name)
            try:
                yield part
            finally:
                part.close()

    def finish(self, part: "Part", parts: Parts) -> None:
        """Give a file its name, in one step; raises as `has` does."""
        with _told():
            found = _look(part.folder, parts[-1])
            if found is not None and self._owner(found) not in {None, parts}:
                raise Refused("this file system takes its name for that of another file that was fetched")
            os.rename(part.name, parts[-1], src_dir_fd=part.folder, dst_dir_fd=part.folder)
            named = os.stat(parts[-1], dir_fd=part.folder, follow_symlinks=False)
        self._taken[named.st_dev, named.st_ino] = parts

    def _owner(self, found: os.stat_result) -> Parts | None:
        return self._taken.get((found.st_dev, found.st_ino))

    @contextmanager
    def _at(self, parts: Parts) -> Iterator[int]:
        """Enter the folder of a file, making those on the way."""
        with _told():
            folder = os.dup(self._descriptor)
            try:
                for name in parts[:-1]:
                    below = _enter(folder, name)
                    os.close(folder)
                    folder = below
                yield folder
            finally:
                os.close(folder)


class Part:
    """An unfinished file.

    Attributes:
        size_bytes: how much of it there is.
        sha256: of that.
    """

    def __init__(self, folder: int, name: bytes) -> None:
        self.folder, self.name = folder, name
        self._descriptor = _open_part(folder, name)
        self.sha256 = hashlib.sha256()
        self.size_bytes = 0
        while piece := os.read(self._descriptor, _PIECE_BYTES):
            self.sha256.update(piece)
            self.size_bytes += len(piece)

    def write(self, piece: bytes) -> None:
        """Add to it; raises as `Folder.has` does."""
        view = memoryview(piece)
        with _told():
            while view:
                view = view[os.write(self._descriptor, view) :]
        self.sha256.update(piece)
        self.size_bytes += len(piece)

    def empty(self) -> None:
        """Begin anew."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.sha256, self.size_bytes = hashlib.sha256(), 0

    def remove(self) -> None:
        """Leave nothing of it."""
        os.unlink(self.name, dir_fd=self.folder)

    def close(self) -> None:
        """Let go of it; what there is of it stays."""
        os.close(self._descriptor)


def _open_part(folder: int, name: bytes) -> int:
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666, dir_fd=folder)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        return descriptor
    # Somebody put something here that other names lead to as well: what we write is not for those.
    os.close(descriptor)
    os.unlink(name, dir_fd=folder)
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o666, dir_fd=folder)


def _enter(folder: int, name: bytes) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=folder)
    return os.open(name, _FOLDER, dir_fd=folder)


def _look(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _hash_of(folder: int, name: bytes) -> str:
    with os.fdopen(os.open(name, os.O_RDONLY | _NO_LINK, dir_fd=folder), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(f"there is no room here ({error.strerror})") from error
        if error.errno in _LINKED:
            raise Refused("a link, or something that is no folder, has the name of one of its folders here") from error
        raise Refused(f"this machine does not take its name ({error.strerror})") from error
