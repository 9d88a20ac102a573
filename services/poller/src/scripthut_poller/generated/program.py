"""The program that reads generated lists on the cluster. Its text is sent there; no service imports it.

    python3 -I -S -c TEXT SECONDS MAX_FILE_BYTES MAX_BYTES  < request

The request is a number of paths, then each absolute path with its length in front; numbers have eight bytes. For each
path the answer has a status, a number (the length of what follows, or why it cannot be read), and the content.

Whoever can write a list runs code as our account. So a list must be a regular file of our own that not everybody can
write to, and symlinks on the way to it must be our own or root's: in a folder that others can write to, they could put
another file of ours in its place. Every component is opened by directory descriptor; nothing can be swapped in between.
Runs on Python 3.6 and newer, standard library only.
"""

import errno
import os
import signal
import stat
import struct
import sys

TYPE_CHECKING = False  # the real one would load all of typing at every start
if TYPE_CHECKING:
    from typing import BinaryIO

HEAD = struct.Struct(">BQ")  # status, number
CONTENT, LATER, UNREADABLE, EMPTY, CHANGED, NOT_REGULAR, NOT_OWNED, WRITABLE, TOO_LARGE, FOREIGN_LINK = range(10)
MAX_LINKS = 40
OPEN_DIR = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_LINK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Refused(Exception):
    """A file that is not read, by its status."""


class Way:
    """Walks to a file, one component after another."""

    def __init__(self) -> None:
        self.fd = os.open(b"/", OPEN_DIR)
        self.links = 0

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self.fd)

    def file(self, path: bytes) -> int:
        """Open the file at an absolute path."""
        left = path.split(b"/")[::-1]
        while left:
            part = left.pop()
            if part in (b"", b"."):
                continue
            found = os.stat(part, dir_fd=self.fd, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                left += self.target(part).split(b"/")[::-1]
            elif stat.S_ISDIR(found.st_mode):
                self.enter(part)
            elif any(part not in (b"", b".") for part in left):
                raise OSError(errno.ENOTDIR, "not a directory")
            elif not stat.S_ISREG(found.st_mode):
                raise Refused(NOT_REGULAR)
            else:
                return os.open(part, OPEN_FILE, dir_fd=self.fd)
        raise Refused(NOT_REGULAR)

    def enter(self, part: bytes) -> None:
        """Go into a directory; opened as one, it is mounted if it was not yet."""
        deeper = os.open(part, OPEN_DIR, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = deeper

    def target(self, part: bytes) -> bytes:
        """Read a symlink that nobody else has made."""
        self.links += 1
        if self.links > MAX_LINKS:
            raise OSError(errno.ELOOP, "too many symlinks")
        link = os.open(part, OPEN_LINK, dir_fd=self.fd)
        try:
            if os.fstat(link).st_uid not in (0, os.geteuid()):
                raise Refused(FOREIGN_LINK)
            target = os.readlink(b"", dir_fd=link)
        finally:
            os.close(link)
        if target.startswith(b"/"):
            os.close(self.fd)
            self.fd = os.open(b"/", OPEN_DIR)
        return target


def read(path: bytes, max_file_bytes: int, left_bytes: int) -> bytes:
    """Give a file's content, if it may be read."""
    way = Way()
    try:
        fd = way.file(path)
    finally:
        way.close()
    with os.fdopen(fd, "rb", buffering=0) as file:
        before = os.fstat(fd)
        status = judge(before, max_file_bytes)
        if status != CONTENT:
            raise Refused(status)
        if before.st_size > left_bytes:
            raise Refused(LATER)
        content = read_all(file, before.st_size + 1)
        if len(content) != before.st_size or marks(before) != marks(os.fstat(fd)):
            raise Refused(CHANGED)
        return content


def judge(found: os.stat_result, max_file_bytes: int) -> int:
    """Say whether a file may be read."""
    if not stat.S_ISREG(found.st_mode):
        return NOT_REGULAR
    if found.st_uid != os.geteuid():
        return NOT_OWNED
    if found.st_mode & stat.S_IWOTH:
        return WRITABLE
    if found.st_size > max_file_bytes:
        return TOO_LARGE
    return CONTENT if found.st_size else EMPTY


def marks(found: os.stat_result) -> "tuple[int, int, int]":
    """Give what changes when a file is written to."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_all(file: "BinaryIO", size: int) -> bytes:
    """Read so many bytes, or as many as there are."""
    pieces = []
    while size:
        piece = file.read(size)
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def take(body: bytes, at: int, length: int) -> bytes:
    """Take a piece of the request."""
    if at + length > len(body):
        sys.exit("the request is cut")
    return body[at : at + length]


def paths_of(body: bytes) -> "list[bytes]":
    """Read the request."""
    at, paths = 8, []
    for _ in range(int.from_bytes(take(body, 0, 8), "big")):
        length = int.from_bytes(take(body, at, 8), "big")
        paths.append(take(body, at + 8, length))
        at += 8 + length
    return paths


def main() -> None:
    """Answer one request."""
    seconds, max_file_bytes, left_bytes = map(int, sys.argv[1:])
    signal.alarm(seconds)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    paths = paths_of(sys.stdin.buffer.read())
    with os.fdopen(1, "wb", 1024 * 1024) as out:
        for path in paths:
            content, status, number = b"", CONTENT, 0
            try:
                content = read(path, max_file_bytes, left_bytes)
                number = len(content)
                left_bytes -= number
            except Refused as refused:
                status = refused.args[0]
            except OSError as fault:
                status, number = UNREADABLE, fault.errno or 0
            out.write(HEAD.pack(status, number) + content)
            out.flush()


if __name__ == "__main__":
    main()
