"""The program that reads files on the cluster. Its text is sent there; no service imports it.

    python3 -I -S -c TEXT list SECONDS PATIENCE_MS  < request      everything that items hold, in one answer
    python3 -I -S -c TEXT send SECONDS PATIENCE_MS  < request      chosen files, in one stream

A third mode, `follow`, is in `follower`, whose text is sent after this one.

What it reads and writes is described in `listing` and `transfer`. It opens every component below a base directory
by directory descriptor with O_NOFOLLOW, so that no symlink leads out, looks at a file before and after reading it,
and opens nothing but regular files, without blocking. A fault of one file is a status, never the end of the program.
Files are read in a thread that is left behind when the file system does not answer for so many milliseconds; what it
was about ends with a status, and another thread goes on. Runs on Python 3.6 and newer, standard library only.
"""

import _thread
import errno
import os
import pwd
import signal
import stat
import struct
import sys
import time

TYPE_CHECKING = False  # the real one would load all of typing at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, BinaryIO

    Found = tuple[bytes, int, int, float]  # path, state, size, modified

HEAD = struct.Struct(">BIBQdI")  # tag, item or file, state, number, time, length of what follows
OUTPUT, FRAGMENT, STDOUT, STDERR, MANIFEST, END = range(6)
REGULAR, NOT_REGULAR, NOT_OWNED, UNREADABLE, TOO_DEEP, MISSING, CHANGED, TOO_LARGE, HUNG = range(9)
NOBODY = 0xFFFFFFFF  # no directory told whose it is
NO_ACCOUNT, STRANGER = 1, 2
SUMMARY = b"task-summary.md"
PIECE_BYTES = 256 * 1024
DEEPEST, DEEPEST_OF_ALL = 64, 256  # a directory takes two of Python's 1,000 frames, and a descriptor
NAMES_AT_A_TIME = 1024
MOST_HUNG = 16
QUIET_S = 5.0
NEVER = float("inf")
OPEN_PART = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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


class Left(BaseException):
    """The worker was left behind; whatever it finds out now, nobody waits for."""


class Worker:
    """Does tasks in a thread of its own, and says what it asks the file system for.

    `since` is when it asked for `path`, or never while it has its answer and writes.
    """

    def __init__(self, out: "BinaryIO", lock: "_thread.LockType") -> None:
        self.out = out
        self.lock = lock
        self.ended = _thread.allocate_lock()
        self.is_left = False
        self.has_failed = False
        self.task: Any = None
        self.path = b""
        self.since = NEVER
        self.told_at = time.monotonic()
        self.last = LastDirectory()

    def start(self, tasks: "Iterator[Any]", mode: "Lister | Sender") -> None:
        """Do these tasks; `ended` can be had when there are no more."""
        self.ended.acquire()
        _thread.start_new_thread(self.work, (tasks, mode))

    def work(self, tasks: "Iterator[Any]", mode: "Lister | Sender") -> None:
        """Do one task after another, in the thread."""
        try:
            for self.task in tasks:
                mode.do(self, self.task)
                self.since = NEVER
        except Left:
            pass
        except BaseException:  # noqa: BLE001  whatever it is, the program says it and ends
            self.has_failed = True
            sys.excepthook(*sys.exc_info())
        finally:
            self.ended.release()

    def ask(self, path: bytes) -> None:
        """Say what the file system is asked for next; and that the program lives, if nothing was said for long."""
        if self.is_left:
            raise Left
        self.path = path
        self.since = now = time.monotonic()
        if now - self.told_at > QUIET_S:
            self.tell(b"A", self.task[0])
            self.flush()

    def tell(
        self, tag: bytes, subject: int, state: int = 0, number: int = 0, modified: float = 0.0, text: bytes = b""
    ) -> None:
        """Write one record; however long that takes, the file system is not to blame."""
        with self.lock:
            if self.is_left:
                raise Left
            self.since = NEVER
            self.out.write(HEAD.pack(tag[0], subject, state, number, modified, len(text)))
            if text:
                self.out.write(text)
            self.told_at = self.since = time.monotonic()

    def flush(self) -> None:
        """Let what was written leave."""
        with self.lock:
            if self.is_left:
                raise Left
            self.since = NEVER
            self.out.flush()
            self.since = time.monotonic()


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
    """Open a directory to look for names in it; `base` itself may lie behind symlinks, nothing below it."""
    require_plain(parts)
    fd = os.open(base, OPEN_PART)
    for part in parts:
        try:
            deeper = os.open(part, OPEN_PART | os.O_NOFOLLOW, dir_fd=fd)
        finally:
            os.close(fd)
        fd = deeper
    return fd


def require_plain(parts: "Sequence[bytes]") -> None:
    """Refuse parts that are no names."""
    if any(part in (b"", b".", b"..") or b"/" in part for part in parts):
        raise OSError(errno.EINVAL, "not a path below its base")


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


def judge(found: os.stat_result, owner: "int | None") -> int:
    """Say whether this may be read."""
    if not stat.S_ISREG(found.st_mode):
        return NOT_REGULAR
    return REGULAR if owner == found.st_uid else NOT_OWNED


def summary_first(name: bytes) -> "tuple[bool, bytes]":
    """Sort by this; the summary comes first, so that no crowd of other files pushes it out."""
    return name != SUMMARY, name


class Item:
    """What is known of an item while it is listed; `owner` None: whose files may be read is not known, or nobody's."""

    def __init__(self, paths: "list[tuple[bytes, bytes]]", account: bytes = b"", is_ours: int = 0) -> None:
        self.paths = paths
        self.account = account
        self.is_ours = is_ours
        self.owner: int | None = None
        self.walk: Walk | None = None


def item_of(request: Request) -> Item:
    """Read where an item's files lie, of which account they may be, and whether they may be of the one we run as."""
    return Item([(request.text(), request.text()) for _ in range(5)], request.text(), request.number())


class Lister:
    """Lists what items hold: the files below the output directory, single files, the exit record."""

    def __init__(self, request: Request) -> None:
        self.max_depth = request.number()
        self.max_walked = request.number()
        self.max_named = request.number()
        self.max_manifest = request.number()
        self.items = [item_of(request) for _ in range(request.number())]
        self.uids: dict[bytes, int | None] = {}

    def tasks(self) -> "Iterator[tuple[int, int, Item]]":
        """Yield number, place and item; a place that hangs costs the item no other place."""
        for number, item in enumerate(self.items):
            for place in range(6):
                yield number, place, item

    def do(self, worker: Worker, task: "tuple[int, int, Item]") -> None:
        """List one place of one item; the item leaves as soon as it is complete."""
        number, place, item = task
        if place == OUTPUT:
            self.outputs(worker, number, item)
        elif place == END:
            worker.tell(b"E", number)
            worker.flush()
        elif item.owner is not None and item.paths[place][1]:
            (self.manifest if place == MANIFEST else self.single)(worker, number, place, item)

    def hung(self, worker: Worker, task: "tuple[int, int, Item]", path: bytes, seconds: int) -> None:
        """Say what is known of a place that does not answer."""
        number, place, item = task
        if place == OUTPUT:
            found = list(item.walk.found) if item.walk else []
            owner = NOBODY if item.owner is None else item.owner
            self.report(worker, number, owner, [*found, (path, HUNG, seconds, 0.0)], 0)
        elif place == MANIFEST:
            self.name(worker, number, OUTPUT, (b".", HUNG, seconds, 0.0))
        elif place != END:
            self.name(worker, number, place, (path, HUNG, seconds, 0.0))

    def outputs(self, worker: Worker, number: int, item: Item) -> None:
        """List the output directory, if it is one of those whose files may be read; else say whose it is."""
        base, path = item.paths[OUTPUT]
        worker.ask(b".")
        allowed = self.allowed(item)
        if not allowed:
            worker.tell(b"X", number, NO_ACCOUNT)
            return
        if not path:
            item.owner = allowed[0]
            self.report(worker, number, item.owner, [], 0)
            return
        owner, state, fd, is_there = descend(base, path.split(b"/"))
        if is_there and owner not in allowed:
            if fd >= 0:
                os.close(fd)
            worker.tell(b"X", number, STRANGER, owner, 0.0, name_of(owner))
            return
        # Where there is no such directory, the nearest above it may say whose logs are read.
        item.owner = owner = owner if owner in allowed else allowed[0]
        if fd < 0:
            self.report(worker, number, owner, [] if state == MISSING else [(b".", state, 0, 0.0)], 0)
            return
        item.walk = walk = Walk(worker, owner, self.max_depth, self.max_walked)
        walk.directory(fd, b"", 1)
        self.report(worker, number, owner, walk.found, walk.unseen)
        if walk.is_cut:
            worker.tell(b"T", number)

    def allowed(self, item: Item) -> "list[int]":
        """Whose files may be read; empty where the only account that they may be of does not exist."""
        if item.account and item.account not in self.uids:
            self.uids[item.account] = uid_of(item.account)
        theirs = self.uids[item.account] if item.account else None
        ours = [os.geteuid()] if item.is_ours else []
        return ours if theirs is None else [theirs, *ours]

    def report(self, worker: Worker, number: int, owner: int, found: "list[Found]", unseen: int) -> None:
        """Write what was found: by name as far as allowed, and how many more there are, by state."""
        worker.tell(b"O", number, 0, owner)
        found.sort(key=lambda entry: (entry[0] != SUMMARY, entry[1] not in (REGULAR, HUNG), entry[0]))
        for entry in found[: self.max_named]:
            self.name(worker, number, OUTPUT, entry)
        counts = {REGULAR: unseen} if unseen else {}
        for _, state, _, _ in found[self.max_named :]:
            counts[state] = counts.get(state, 0) + 1
        for state in sorted(counts):
            worker.tell(b"C", number, state, counts[state])

    def name(self, worker: Worker, number: int, place: int, found: "Found") -> None:
        """Write one file that was found."""
        path, state, size, modified = found
        worker.tell(b"F", number, place << 4 | state, size, modified, path)

    def single(self, worker: Worker, number: int, place: int, item: Item) -> None:
        """List one file outside the output directory."""
        base, path = item.paths[place]
        parents, name = split(path)
        worker.ask(name)
        try:
            fd = open_below(base, parents)
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            finally:
                os.close(fd)
        except OSError as fault:
            if state_of(fault) != MISSING:
                self.name(worker, number, place, (name, state_of(fault), 0, 0.0))
            return
        state = judge(found, item.owner)
        self.name(worker, number, place, (name, state, found.st_size, found.st_mtime))

    def manifest(self, worker: Worker, number: int, place: int, item: Item) -> None:
        """Write the exit record's content, if there is one, or the state that says why it cannot be read."""
        base, path = item.paths[place]
        parents, name = split(path)
        worker.ask(name)
        try:
            parent = open_below(base, parents)
            try:
                fd = os.open(name, OPEN_FILE, dir_fd=parent)
            finally:
                os.close(parent)
        except OSError as fault:
            if state_of(fault) != MISSING:
                worker.tell(b"M", number, state_of(fault))
            return
        with os.fdopen(fd, "rb", buffering=0) as file:
            found = os.fstat(fd)
            state, body = judge(found, item.owner), b""
            if state == REGULAR:
                state, body = read_whole(file, found.st_size, self.max_manifest)
            worker.tell(b"M", number, state, found.st_size, found.st_mtime, body)


def uid_of(account: bytes) -> "int | None":
    """Give the number of an account by its name; None where there is none."""
    try:
        return pwd.getpwnam(os.fsdecode(account)).pw_uid
    except KeyError:
        return None


def name_of(uid: int) -> bytes:
    """Give an account's name; empty where it has none."""
    try:
        return os.fsencode(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return b""


def descend(base: bytes, parts: "Sequence[bytes]") -> "tuple[int, int, int, bool]":
    """Open an output directory to list it.

    Gives its owner, or that of the last directory above it, a state, a descriptor, and whether it is there.
    """
    owner, fd, is_there = NOBODY, -1, False
    try:
        require_plain(parts)
        for at in range(len(parts) + 1):
            above, fd = fd, open_below(base, ()) if at == 0 else open_part(fd, parts[at - 1])
            if above >= 0:
                os.close(above)
            owner = os.fstat(fd).st_uid
        is_there = True
        above, fd = fd, os.open(b".", OPEN_DIR, dir_fd=fd)
        os.close(above)
    except OSError as fault:
        if is_there:
            os.close(fd)
        return owner, state_of(fault), -1, is_there
    return owner, REGULAR, fd, is_there


def open_part(fd: int, part: bytes) -> int:
    """Open a directory in this one; close this one where that fails."""
    try:
        return os.open(part, OPEN_PART | os.O_NOFOLLOW, dir_fd=fd)
    except OSError:
        os.close(fd)
        raise


class Walk:
    """Every file below a directory, up to so many; `owner` is whose they have to be.

    `unseen` counts the names that nobody looked at, in directories that somebody looked into.
    """

    def __init__(self, worker: Worker, owner: int, max_depth: int, max_walked: int) -> None:
        self.worker = worker
        self.owner = owner
        self.max_depth = max_depth
        self.max_walked = max_walked
        self.deepest = min(max(DEEPEST, max_depth + 1), DEEPEST_OF_ALL)
        self.directories = 0
        self.unseen = 0
        self.found: list[Found] = []

    @property
    def is_cut(self) -> bool:
        """Whether there was more than may be looked at."""
        return len(self.found) >= self.max_walked or self.directories > self.max_walked

    def directory(self, fd: int, prefix: bytes, depth: int) -> None:
        """Walk one directory and close it."""
        self.directories += 1
        try:
            names = self.names(fd, prefix)
            for at, name in enumerate(names):
                if self.is_cut:
                    self.unseen += len(names) - at
                    return
                self.entry(fd, prefix, name, depth)
        except OSError as fault:
            self.found.append((prefix[:-1] or b".", state_of(fault), 0, 0.0))
        finally:
            os.close(fd)

    def names(self, fd: int, prefix: bytes) -> "list[bytes]":
        """Give a directory's first names; more than may be walked are never held."""
        kept: list[bytes] = []
        for at, name in enumerate(names_in(fd)):
            if at % NAMES_AT_A_TIME == 0:
                self.worker.ask(prefix[:-1] or b".")
            kept.append(name)
            if len(kept) >= 2 * self.max_walked + NAMES_AT_A_TIME:
                self.shorten(kept)
        kept.sort(key=summary_first)
        return kept

    def shorten(self, names: "list[bytes]") -> None:
        """Keep the first names, count the others."""
        names.sort(key=summary_first)
        self.unseen += len(names) - self.max_walked
        del names[self.max_walked :]

    def entry(self, fd: int, prefix: bytes, name: bytes, depth: int) -> None:
        """Note one name, or walk into it."""
        path = prefix + name
        self.worker.ask(path)
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            is_directory = stat.S_ISDIR(found.st_mode)
            deeper = os.open(name, OPEN_DIR, dir_fd=fd) if is_directory and depth < self.deepest else -1
        except OSError as fault:
            self.fault(fd, path, fault)
            return
        if deeper >= 0:
            self.directory(deeper, path + b"/", depth + 1)
            return
        state = TOO_DEEP if is_directory or depth > self.max_depth else judge(found, self.owner)
        self.found.append((path, state, found.st_size, found.st_mtime))

    def fault(self, fd: int, path: bytes, fault: OSError) -> None:
        """Note a name that cannot be looked at.

        Raises:
            PermissionError: nor can any other in this directory, which is what is noted then.
        """
        if state_of(fault) == MISSING:
            return
        if not os.access(b".", os.X_OK, dir_fd=fd, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError(errno.EACCES, "a directory that lists its names and no more")
        self.found.append((path, state_of(fault), 0, 0.0))


def names_in(fd: int) -> "Iterable[bytes]":
    """Give the names in a directory, one by one where Python can."""
    if os.scandir not in os.supports_fd:  # before Python 3.7
        return map(os.fsencode, os.listdir(fd))
    return scanned(fd)


def scanned(fd: int) -> "Iterator[bytes]":
    """Yield the names in a directory."""
    with os.scandir(fd) as entries:
        for entry in entries:
            yield os.fsencode(entry.name)


class Sender:
    """Sends chosen files one after another."""

    def __init__(self, request: Request) -> None:
        self.files: list[tuple[int, bytes, int, bytes, int, int, bool]] = []
        for _ in range(request.number()):
            base, owner = request.text(), request.number()
            count = request.number()
            for at in range(count):
                number, is_tail, limit = (request.number() for _ in range(3))
                self.files.append((number, base, owner, request.text(), is_tail, limit, at == count - 1))

    def tasks(self) -> "Iterator[tuple[int, bytes, int, bytes, int, int, bool]]":
        """Yield number, base, owner, path, whether its end is wanted, limit, and whether others wait for it."""
        return iter(self.files)

    def do(self, worker: Worker, task: "tuple[int, bytes, int, bytes, int, int, bool]") -> None:
        """Send one file and its last state; items leave as soon as they are complete."""
        number, base, owner, path, is_tail, limit, is_last = task
        worker.tell(b"E", number, send(worker, number, base, owner, path, is_tail, limit))
        if is_last:
            worker.flush()

    def hung(self, worker: Worker, task: "tuple[int, bytes, int, bytes, int, int, bool]", _: bytes, s: int) -> None:
        """End a file that does not answer."""
        worker.tell(b"E", task[0], HUNG, s)


def send(worker: Worker, number: int, base: bytes, owner: int, path: bytes, is_tail: int, limit: int) -> int:
    """Send one file's content; give its last state."""
    parents, name = split(path)
    worker.ask(path)
    try:
        fd = os.open(name, OPEN_FILE, dir_fd=worker.last.open(base, parents))
    except OSError as fault:
        return state_of(fault)
    with os.fdopen(fd, "rb", buffering=0) as file:
        before = os.fstat(fd)
        state = judge(before, owner)
        if state != REGULAR:
            return state
        if before.st_size > limit and not is_tail:
            return TOO_LARGE
        worker.tell(b"S", number, 0, before.st_size, before.st_mtime)
        try:
            if before.st_size > limit:
                file.seek(before.st_size - limit)
            is_whole = send_content(worker, number, file, min(limit, before.st_size))
            after = os.fstat(fd)
        except OSError:
            return UNREADABLE
        # A log may grow on while its end is read: what was read is still its end as it was.
        is_same = is_tail or marks(before) == marks(after)
        return REGULAR if is_whole and is_same else CHANGED


def send_content(worker: Worker, number: int, file: "BinaryIO", left: int) -> bool:
    """Send so many bytes; say whether they were there."""
    while left:
        piece = file.read(min(left, PIECE_BYTES))
        if not piece:
            return False
        left -= len(piece)
        worker.tell(b"D", number, 0, 0, 0.0, piece)
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


MODES: "dict[str, Callable[[Request], Lister | Sender]]" = {"list": Lister, "send": Sender}


class Crew:
    """Lets one worker after another do the tasks; the next begins where one was left behind."""

    def __init__(self, out: "BinaryIO", mode: "Lister | Sender", patience_s: float) -> None:
        self.out = out
        self.mode = mode
        self.patience_s = patience_s
        self.lock = _thread.allocate_lock()
        self.hung = 0

    def run(self) -> int:
        """Answer the whole request; give the exit status."""
        tasks = iter(self.mode.tasks())
        worker = Worker(self.out, self.lock)
        worker.start(tasks, self.mode)
        while not worker.ended.acquire(timeout=self.wait_s / 4):
            if not self.has_hung(worker):
                continue
            seconds = int(self.wait_s + 0.5)
            self.hung += 1
            left, worker = worker, Worker(self.out, self.lock)
            self.mode.hung(worker, left.task, left.path, seconds)
            worker.flush()
            worker.since = NEVER
            if self.hung == MOST_HUNG:
                sys.stderr.write(f"the file system did not answer {self.hung} times\n")
                return 1
            worker.start(tasks, self.mode)
        return 1 if worker.has_failed else 0

    @property
    def wait_s(self) -> float:
        """How long the file system may take: the more often it hung, the less."""
        return self.patience_s / min(1 << self.hung, 4)

    def has_hung(self, worker: Worker) -> bool:
        """Leave a worker that has waited too long."""
        with self.lock:
            worker.is_left = time.monotonic() - worker.since > self.wait_s
            return worker.is_left


def answer(done: int) -> None:
    """Answer one request and end, though a thread may hang for ever: nobody waits for this process.

    Its standard streams are closed first: they would keep the connection's session open.
    """
    signal.alarm(int(sys.argv[2]))
    request = Request(sys.stdin.buffer.read())
    mode = MODES[sys.argv[1]](request)
    out = os.fdopen(os.dup(1), "wb", 1024 * 1024)
    status = Crew(out, mode, int(sys.argv[3]) / 1000).run()
    out.close()
    sys.stderr.flush()
    for fd in range(3):
        os.close(fd)
    os.write(done, bytes((status,)))
    os._exit(status)


def main() -> None:
    """Let a child answer, and end as soon as it says that it is done, or has ended without."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    ending, done = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ending)
        answer(done)
    os.close(done)
    said = os.read(ending, 1)
    if said:
        os._exit(said[0])
    _, status = os.waitpid(child, 0)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
