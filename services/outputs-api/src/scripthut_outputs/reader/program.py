"""The program that reads files on the cluster. Its text is sent there; no service imports it.

    python3 -I -S -c TEXT list SECONDS  < request      everything that items hold, in one answer
    python3 -I -S -c TEXT send SECONDS  < request      chosen files, in one stream

What it reads and writes is described in `listing` and `transfer`. It opens every component below a base directory
by directory descriptor with O_NOFOLLOW, so that no symlink leads out, looks at a file before and after reading it,
and opens nothing but regular files, without blocking. A fault of one file is a status, never the end of the program.
Runs on Python 3.6 and newer, standard library only.
"""

import errno
import os
import signal
import stat
import struct
import sys
import time

TYPE_CHECKING = False  # the real one would load all of typing at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    Found = tuple[bytes, int, int, float]  # path, state, size, modified

HEAD = struct.Struct(">BIBQdI")  # tag, item or file, state, number, time, length of what follows
OUTPUT, FRAGMENT, STDOUT, STDERR, MANIFEST = range(5)
REGULAR, NOT_REGULAR, NOT_OWNED, UNREADABLE, TOO_DEEP, MISSING, CHANGED, TOO_LARGE = range(8)
NOBODY = 0xFFFFFFFF  # nothing tells whose the files must be
SUMMARY = b"task-summary.md"
PIECE_BYTES = 256 * 1024
DEEPEST = 64
QUIET_S = 5.0
OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Request:
    """Numbers and byte strings, one after another; strings have their length in front."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0

    def number(self) -> int:
        """Take the next number."""
        self.at += 8
        if self.at > len(self.body):
            sys.exit("the request is cut")
        return int.from_bytes(self.body[self.at - 8 : self.at], "big")

    def text(self) -> bytes:
        """Take the next byte string."""
        length = self.number()
        self.at += length
        if self.at > len(self.body):
            sys.exit("the request is cut")
        return self.body[self.at - length : self.at]


class LastDirectory:
    """Keeps the directory open that was asked for last: files come sorted by directory."""

    def __init__(self) -> None:
        self.key: tuple[bytes, Sequence[bytes]] = (b"", ())
        self.fd = -1

    def open(self, base: bytes, parts: "Sequence[bytes]") -> int:
        """Give the descriptor of a directory below `base`."""
        if self.fd < 0 or self.key != (base, parts):
            if self.fd >= 0:
                os.close(self.fd)
                self.fd = -1
            self.fd = open_below(base, parts)
            self.key = (base, parts)
        return self.fd


def open_below(base: bytes, parts: "Sequence[bytes]") -> int:
    """Open a directory; `base` itself may lie behind symlinks, nothing below it."""
    if any(part in (b"", b".", b"..") or b"/" in part for part in parts):
        raise OSError(errno.EINVAL, "not a path below its base")
    fd = os.open(base, OPEN_DIR)
    for part in parts:
        try:
            deeper = os.open(part, OPEN_DIR | os.O_NOFOLLOW, dir_fd=fd)
        finally:
            os.close(fd)
        fd = deeper
    return fd


def split(path: bytes) -> "tuple[Sequence[bytes], bytes]":
    """Tell a path's directories from its name."""
    parts = tuple(path.split(b"/"))
    return parts[:-1], parts[-1]


def state_of(fault: OSError) -> int:
    """Say by a state why something cannot be opened."""
    if fault.errno == errno.ENOENT:
        return MISSING
    if fault.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
        return NOT_REGULAR
    return UNREADABLE


def judge(found: os.stat_result, owner: int) -> int:
    """Say whether this may be read."""
    if not stat.S_ISREG(found.st_mode):
        return NOT_REGULAR
    return REGULAR if owner in (NOBODY, found.st_uid) else NOT_OWNED


class Lister:
    """Lists what items hold: the files below the output directory, single files, the exit record."""

    def __init__(self, out: "BinaryIO", request: Request) -> None:
        self.out = out
        self.request = request
        self.max_depth = request.number()
        self.max_walked = request.number()
        self.max_named = request.number()
        self.max_manifest = request.number()
        self.told_at = time.monotonic()

    def run(self) -> None:
        """Answer the whole request; each item leaves as soon as it is complete."""
        for item in range(self.request.number()):
            self.item(item, [(self.request.text(), self.request.text()) for _ in range(5)])
            self.out.flush()

    def item(self, item: int, paths: "list[tuple[bytes, bytes]]") -> None:
        """List one item; `paths` are (base, path below it), empty where there is none."""
        owner, found, is_whole = self.outputs(item, *paths[OUTPUT])
        self.tell(b"O", item, 0, owner)
        found.sort(key=lambda entry: (entry[0] != SUMMARY, entry[1] != REGULAR, entry[0]))
        for name, state, size, modified in found[: self.max_named]:
            self.tell(b"F", item, OUTPUT << 4 | state, size, modified, name)
        self.count(item, found[self.max_named :])
        if not is_whole:
            self.tell(b"T", item)
        for place in (FRAGMENT, STDOUT, STDERR):
            self.single(item, place, paths[place], owner)
        self.manifest(item, paths[MANIFEST], owner)
        self.tell(b"E", item)

    def tell(
        self, tag: bytes, item: int, state: int = 0, number: int = 0, modified: float = 0.0, text: bytes = b""
    ) -> None:
        """Write one record."""
        self.told_at = time.monotonic()
        self.out.write(HEAD.pack(tag[0], item, state, number, modified, len(text)) + text)

    def count(self, item: int, unnamed: "list[Found]") -> None:
        """Write how many more there are, by state."""
        counts: dict[int, int] = {}
        for _, state, _, _ in unnamed:
            counts[state] = counts.get(state, 0) + 1
        for state in sorted(counts):
            self.tell(b"C", item, state, counts[state])

    def alive(self, item: int) -> None:
        """Say that a long walk goes on, lest somebody thinks that it hangs."""
        if time.monotonic() - self.told_at > QUIET_S:
            self.tell(b"A", item)
            self.out.flush()

    def outputs(self, item: int, base: bytes, path: bytes) -> "tuple[int, list[Found], bool]":
        """Give the directory's owner, what lies below it, and whether that is all."""
        if not path:
            return NOBODY, [], True
        try:
            fd = open_below(base, tuple(path.split(b"/")))
        except OSError as fault:
            state = state_of(fault)
            return NOBODY, [] if state == MISSING else [(b".", state, 0, 0.0)], True
        walk = Walk(os.fstat(fd).st_uid, self.max_depth, self.max_walked, lambda: self.alive(item))
        walk.directory(fd, b"", 1)
        return walk.owner, walk.found, len(walk.found) < self.max_walked

    def single(self, item: int, place: int, paths: "tuple[bytes, bytes]", owner: int) -> None:
        """List one file outside the output directory."""
        base, path = paths
        if not path:
            return
        parents, name = split(path)
        try:
            fd = open_below(base, parents)
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            finally:
                os.close(fd)
        except OSError as fault:
            if state_of(fault) != MISSING:
                self.tell(b"F", item, place << 4 | state_of(fault), 0, 0.0, name)
            return
        self.tell(b"F", item, place << 4 | judge(found, owner), found.st_size, found.st_mtime, name)

    def manifest(self, item: int, paths: "tuple[bytes, bytes]", owner: int) -> None:
        """Write the exit record's content, if there is one, or the state that says why it cannot be read."""
        base, path = paths
        if not path:
            return
        parents, name = split(path)
        try:
            parent = open_below(base, parents)
            try:
                fd = os.open(name, OPEN_FILE, dir_fd=parent)
            finally:
                os.close(parent)
        except OSError as fault:
            if state_of(fault) != MISSING:
                self.tell(b"M", item, state_of(fault))
            return
        with os.fdopen(fd, "rb", buffering=0) as file:
            found = os.fstat(fd)
            state, body = judge(found, owner), b""
            if state == REGULAR:
                state, body = read_whole(file, found.st_size, self.max_manifest)
            self.tell(b"M", item, state, found.st_size, found.st_mtime, body)


class Walk:
    """Every file below a directory, however many; `owner` is whose they have to be."""

    def __init__(self, owner: int, max_depth: int, max_walked: int, alive: "Callable[[], None]") -> None:
        self.owner = owner
        self.max_depth = max_depth
        self.max_walked = max_walked
        self.alive = alive
        self.found: list[Found] = []

    def directory(self, fd: int, prefix: bytes, depth: int) -> None:
        """Walk one directory and close it."""
        try:
            # The summary comes first, so that no crowd of other files pushes it out.
            for name in sorted(map(os.fsencode, os.listdir(fd)), key=lambda name: (name != SUMMARY, name)):
                if len(self.found) >= self.max_walked:
                    return
                self.entry(fd, prefix, name, depth)
        except OSError as fault:
            self.found.append((prefix or b".", state_of(fault), 0, 0.0))
        finally:
            os.close(fd)

    def entry(self, fd: int, prefix: bytes, name: bytes, depth: int) -> None:
        """Note one name, or walk into it."""
        self.alive()
        path = prefix + name
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode) and depth < DEEPEST:
                self.directory(os.open(name, OPEN_DIR | os.O_NOFOLLOW, dir_fd=fd), path + b"/", depth + 1)
                return
        except OSError as fault:
            if state_of(fault) != MISSING:
                self.found.append((path, state_of(fault), 0, 0.0))
            return
        state = TOO_DEEP if depth > self.max_depth else judge(found, self.owner)
        self.found.append((path, state, found.st_size, found.st_mtime))


class Sender:
    """Sends chosen files one after another."""

    def __init__(self, out: "BinaryIO", request: Request) -> None:
        self.out = out
        self.request = request
        self.last = LastDirectory()

    def run(self) -> None:
        """Answer the whole request; each item leaves as soon as it is complete."""
        for _ in range(self.request.number()):
            base, owner = self.request.text(), self.request.number()
            for _ in range(self.request.number()):
                number, is_tail, limit = (self.request.number() for _ in range(3))
                self.tell(b"E", number, self.file(number, base, owner, self.request.text(), is_tail, limit))
            self.out.flush()

    def tell(
        self, tag: bytes, number: int, state: int = 0, size: int = 0, modified: float = 0.0, length: int = 0
    ) -> None:
        """Write one record's head."""
        self.out.write(HEAD.pack(tag[0], number, state, size, modified, length))

    def file(self, number: int, base: bytes, owner: int, path: bytes, is_tail: int, limit: int) -> int:
        """Send one file; give its last state."""
        parents, name = split(path)
        try:
            fd = os.open(name, OPEN_FILE, dir_fd=self.last.open(base, parents))
        except OSError as fault:
            return state_of(fault)
        with os.fdopen(fd, "rb", buffering=0) as file:
            before = os.fstat(fd)
            state = judge(before, owner)
            if state != REGULAR:
                return state
            if before.st_size > limit and not is_tail:
                return TOO_LARGE
            self.tell(b"S", number, 0, before.st_size, before.st_mtime)
            try:
                if before.st_size > limit:
                    file.seek(before.st_size - limit)
                is_whole = self.content(number, file, min(limit, before.st_size))
                after = os.fstat(fd)
            except OSError:
                return UNREADABLE
            # A log may grow on while its end is read: what was read is still its end as it was.
            is_same = is_tail or marks(before) == marks(after)
            return REGULAR if is_whole and is_same else CHANGED

    def content(self, number: int, file: "BinaryIO", left: int) -> bool:
        """Send so many bytes; say whether they were there."""
        while left:
            piece = file.read(min(left, PIECE_BYTES))
            if not piece:
                return False
            left -= len(piece)
            self.tell(b"D", number, 0, 0, 0.0, len(piece))
            self.out.write(piece)
        return True


def marks(found: os.stat_result) -> "tuple[int, int, int]":
    """Give what changes when a file is written to."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_whole(file: "BinaryIO", size: int, limit: int) -> "tuple[int, bytes]":
    """Read exactly so many bytes; give the state that says whether they are all, and them if they are."""
    if size > limit:
        return TOO_LARGE, b""
    pieces = []
    while size:
        try:
            piece = file.read(size)
        except OSError:
            return UNREADABLE, b""
        if not piece:
            return CHANGED, b""
        pieces.append(piece)
        size -= len(piece)
    return REGULAR, b"".join(pieces)


def main() -> None:
    """Answer one request."""
    mode, seconds = sys.argv[1], int(sys.argv[2])
    signal.alarm(seconds)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    request = Request(sys.stdin.buffer.read())
    with os.fdopen(1, "wb", 1024 * 1024) as out:
        (Lister if mode == "list" else Sender)(out, request).run()


if __name__ == "__main__":
    main()
