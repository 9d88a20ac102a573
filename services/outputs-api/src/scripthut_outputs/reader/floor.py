"""The floor reads files on a cluster without python3, by sh, GNU find and tar, and is told in the same records. Pure.

It guarantees less: see `docs/operators.md`. It reads nothing but what the account that it runs as owns.
"""

from collections.abc import Generator, Iterator, Sequence
from importlib.resources import files
from typing import NamedTuple

from scripthut_common.errors import BadOutput

from .records import HEAD

LACKING = b"no floor\n"
_BEGIN = b"floor "
_TOOLS = """
export LC_ALL=C
unset CDPATH TAR_OPTIONS POSIXLY_CORRECT
[ "$(find / -maxdepth 0 -readable -printf works 2>/dev/null)" = works ] &&
    tar --version 2>/dev/null | head -n 1 | grep -q 'GNU tar' &&
    dd if=/dev/null count=0 iflag=nofollow,nonblock,skip_bytes,count_bytes,fullblock 2>/dev/null ||
    { echo no floor; exit 0; }
printf 'floor %s %s\\0' "$(id -u)" "$(id -un)"
"""
_LIST = 'exec xargs -0 -r -n 10 sh -c "$1" floor "$2" "$3"\n'
_SEND = 'while read -r size; do head -c "$size" | xargs -0 -r sh -c "$1" floor || exit; done\n'
_DEEPEST, _DEEPEST_OF_ALL = 64, 256
_SUMMARY = b"task-summary.md"
_REGULAR, _NOT_REGULAR, _NOT_OWNED, _UNREADABLE, _TOO_DEEP, _MISSING, _CHANGED, _TOO_LARGE = range(8)
_OUTPUT = 0
_LONGEST_WORD_BYTES = 64 * 1024
_LIST_BYTES = 64 * 1024 * 1024
_GROUP_BYTES = 4 * 1024 * 1024
_GROUP_WORDS_BYTES = 48 * 1024
_BLOCK = 512
_RECORD = 20 * _BLOCK


class Found(NamedTuple):
    """One file of a walk."""

    path: bytes
    state: int
    size: int
    time: float


class Bounds(NamedTuple):
    """How far a walk goes, and how much of it is named."""

    max_depth: int
    max_walked: int
    max_named: int
    max_manifest: int


class Wanted(NamedTuple):
    """One file to send, with its number in the answer."""

    number: int
    path: bytes
    limit: int
    is_tail: bool


class Group(NamedTuple):
    """Files of one directory that one tar sends, or one log of which only the end is sent."""

    base: bytes
    owner: int
    folder: bytes
    files: tuple[Wanted, ...]

    @property
    def is_tail(self) -> bool:
        """Whether only the end is wanted."""
        return self.files[0].is_tail

    @property
    def words(self) -> bytes:
        """What the program reads."""
        kind, limit = b"tail" if self.is_tail else b"files", max(file.limit for file in self.files)
        names = [b"./" + _name(file.path) for file in self.files]
        return b"\0".join([kind, b"%d" % limit, self.base, self.folder, *names, b""])


def list_text() -> str:
    """The program that lists; its arguments are those of `list_argv`."""
    return _TOOLS + _LIST


def send_text() -> str:
    """The program that sends; its argument is that of `send_argv`."""
    return _TOOLS + _SEND


def list_argv(bounds: Bounds) -> tuple[str, str, str]:
    """What is done for one item, and its bounds."""
    return _script("floor_list.sh"), str(bounds.max_manifest), str(_deepest(bounds))


def send_argv() -> tuple[str]:
    """What is done for one group."""
    return (_script("floor_send.sh"),)


def list_request(items: Sequence[Sequence[tuple[bytes, bytes]]]) -> bytes:
    """Write what is read on standard input; for each item five pairs of base and path."""
    return b"".join(word + b"\0" for item in items for pair in item for word in pair)


def send_request(groups: Sequence[Group]) -> bytes:
    """Write what is read on standard input: each group's length, and the group."""
    return b"".join(b"%d\n%s" % (len(group.words), group.words) for group in groups)


def groups_of(base: bytes, owner: int, wanted: Sequence[Wanted]) -> Iterator[Group]:
    """Cut the files below one base into groups, in their order; what is held of one group is bounded."""
    current: list[Wanted] = []
    for file in wanted:
        if current and not _fits(current, file):
            yield Group(base, owner, _folder(current[0].path), tuple(current))
            current = []
        current.append(file)
    if current:
        yield Group(base, owner, _folder(current[0].path), tuple(current))


def _fits(current: Sequence[Wanted], file: Wanted) -> bool:
    together = [*current, file]
    return (
        _folder(file.path) == _folder(current[0].path)
        and not any(one.is_tail for one in together)
        and sum(one.limit for one in together) <= _GROUP_BYTES
        and sum(len(one.path) for one in together) <= _GROUP_WORDS_BYTES
    )


def _folder(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _script(name: str) -> str:
    folder = files(__package__)
    return "".join(folder.joinpath(part).read_text("utf-8") for part in ("floor_enter.sh", name))


def _deepest(bounds: Bounds) -> int:
    return min(max(_DEEPEST, bounds.max_depth + 1), _DEEPEST_OF_ALL)


class _Exactly(NamedTuple):
    size: int


class _AtMost(NamedTuple):
    size: int


class _Word(NamedTuple):
    pass


_Needed = _Exactly | _AtMost | _Word
_Parsing = Generator[_Needed, bytes, None]


class _Answer:
    """Reads an answer that arrives in pieces, and tells it in the strict reader's records."""

    has_begun = True

    def __init__(self) -> None:
        self.is_lacking = False
        self.uid, self.account = -1, ""
        self._held = bytearray()
        self._told: list[bytes] = []
        self._parser = self._begin()
        self._wanted: _Needed | None = next(self._parser)

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece; give what it tells.

        Raises:
            BadOutput: it is not an answer of the floor.
        """
        self._held += piece
        if self._held.startswith(LACKING):
            self.is_lacking = True
            return b""
        try:
            while self._wanted is not None and (taken := self._take(self._wanted)) is not None:
                self._wanted = self._parser.send(taken)
        except StopIteration:
            self._wanted = None
        except (ValueError, IndexError) as error:
            raise BadOutput(f"the reader's answer is garbled: {error}") from error
        told = b"".join(self._told)
        self._told.clear()
        return told

    def _take(self, wanted: _Needed) -> bytes | None:
        match wanted:
            case _Word():
                end = self._held.find(b"\0")
                if end < 0 and len(self._held) > _LONGEST_WORD_BYTES:
                    raise BadOutput("the reader's answer is garbled: a word without end")
                return None if end < 0 else self._cut(end, end + 1)
            case _Exactly(size):
                return None if len(self._held) < size else self._cut(size, size)
            case _AtMost(size):
                size = min(size, len(self._held))
                return self._cut(size, size) if size else None

    def _cut(self, size: int, end: int) -> bytes:
        taken = bytes(self._held[:size])
        del self._held[:end]
        return taken

    def _begin(self) -> _Parsing:
        begin = yield _Word()
        if not begin.startswith(_BEGIN):
            raise BadOutput(f"the reader's answer is garbled: it begins with {begin[:40]!r}")
        uid, _, account = begin[len(_BEGIN) :].partition(b" ")
        self.uid, self.account = int(uid), account.decode("utf-8", "surrogateescape")
        yield from self._parse()

    def _parse(self) -> _Parsing:
        raise NotImplementedError

    def _tell(
        self, tag: bytes, subject: int, state: int = 0, number: int = 0, time: float = 0.0, text: bytes = b""
    ) -> None:
        self._told.append(HEAD.pack(tag[0], subject, state, number, time, len(text)) + text)


class Listed(_Answer):
    """Reads a listing of items.

    Attributes:
        strangers: the numbers of those whose output directory belongs to somebody else, or may not belong to the
            account that reads; nothing is told of them.

    Args:
        items: where their files lie.
        owners: of each, of which account they may be, and whether they may be of the one that reads in any case.
        bounds: how far to look.
    """

    def __init__(
        self,
        items: Sequence[Sequence[tuple[bytes, bytes]]],
        owners: Sequence[tuple[str | None, bool]],
        bounds: Bounds,
    ) -> None:
        super().__init__()
        self._items = items
        self._owners = owners
        self._bounds = bounds
        self.strangers: set[int] = set()

    def _parse(self) -> _Parsing:
        for number, places in enumerate(self._items):
            yield from self._outputs(number)
            for place, (_, path) in enumerate(places[1:4], 1):
                yield from self._single(number, place, _name(path))
            yield from self._manifest(number)
            self._tell(b"E", number)

    def _outputs(self, number: int) -> _Parsing:
        crowd, size, owner = _Crowd(self._bounds.max_walked), 0, self.uid
        while (word := (yield _Word())) != b".":
            size += len(word) + 1
            if size >= _LIST_BYTES:
                crowd.is_cut = True  # the last word may be cut too
            elif word.startswith(b"!"):
                self._refused(crowd, int(word[1:]))
            elif word:
                _, uid, *_, path = _fields(word, 6)
                owner = owner if path else int(uid)
                self._note(crowd, word)
        self._tell(b"O", number, 0, owner)
        account, is_readers = self._owners[number]
        if owner != self.uid or not (is_readers or account == self.account):
            self.strangers.add(number)
            return
        self._report(number, crowd)

    def _refused(self, crowd: "_Crowd", state: int) -> None:
        if state != _MISSING:
            crowd.add(Found(b".", state, 0, 0.0))

    def _note(self, crowd: "_Crowd", word: bytes) -> None:
        kind, uid, size, time, depth_, path = _fields(word, 6)
        depth, deepest = int(depth_), _deepest(self._bounds)
        if kind in {b"d", b"x"} and depth == deepest:
            crowd.add(Found(path, _TOO_DEEP, int(size), float(time)))
        elif kind == b"x":
            crowd.add(Found(path or b".", _UNREADABLE, 0, 0.0))
        elif kind != b"d":
            state = _TOO_DEEP if depth > self._bounds.max_depth else _judge(kind, int(uid), self.uid)
            crowd.add(Found(path, state, int(size), float(time)))

    def _report(self, number: int, crowd: "_Crowd") -> None:
        found = crowd.first()
        found.sort(key=lambda one: (one.path != _SUMMARY, one.state != _REGULAR, one.path))
        for one in found[: self._bounds.max_named]:
            self._tell(b"F", number, _OUTPUT << 4 | one.state, one.size, one.time, one.path)
        counts = {_REGULAR: crowd.unseen} if crowd.unseen else {}
        for one in found[self._bounds.max_named :]:
            counts[one.state] = counts.get(one.state, 0) + 1
        for state in sorted(counts):
            self._tell(b"C", number, state, counts[state])
        if crowd.is_cut:
            self._tell(b"T", number)

    def _single(self, number: int, place: int, name: bytes) -> _Parsing:
        while word := (yield _Word()):
            if number in self.strangers:
                continue
            if word.startswith(b"!"):
                if int(word[1:]) != _MISSING:
                    self._tell(b"F", number, place << 4 | int(word[1:]), 0, 0.0, name)
                continue
            kind, uid, size, time, *_ = _fields(word, 6)
            state = _judge(kind, int(uid), self.uid)
            self._tell(b"F", number, place << 4 | state, int(size), float(time), name)

    def _manifest(self, number: int) -> _Parsing:
        word = yield _Word()
        if not word:
            return
        size, time = _fields(word[1:], 2)
        if int(size) > self._bounds.max_manifest:
            raise BadOutput("the reader's answer is garbled: an exit record larger than allowed")
        body = yield _Exactly(int(size))
        if number not in self.strangers:
            self._tell(b"M", number, 0, 0, float(time), body)
        yield _Word()


class _Crowd:
    """The first files of a walk in the strict reader's order; more are only counted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: list[Found] = []
        self.unseen = 0
        self.is_cut = False

    def add(self, one: Found) -> None:
        self._found.append(one)
        if len(self._found) >= 2 * self._most + 1024:
            self._shorten()

    def first(self) -> list[Found]:
        self.is_cut = self.is_cut or self.unseen > 0 or len(self._found) >= self._most
        if len(self._found) > self._most:
            self._shorten()
        return self._found

    def _shorten(self) -> None:
        self._found.sort(key=lambda one: [(part != _SUMMARY, part) for part in one.path.split(b"/")])
        self.unseen += len(self._found) - self._most
        del self._found[self._most :]


class _Marks(NamedTuple):
    """What changes when a file is written to; times in nanoseconds."""

    size: int
    modified: int
    changed: int


class Sent(_Answer):
    """Reads chosen files, group by group. Of a group with more than one file the contents are held until its end."""

    def __init__(self, groups: Sequence[Group]) -> None:
        super().__init__()
        self._groups = groups

    def _parse(self) -> _Parsing:
        for group in self._groups:
            status = yield _Word()
            if status.startswith(b"!"):
                for file in group.files:
                    self._tell(b"E", file.number, int(status[1:]))
            elif status != b"+":
                raise BadOutput(f"the reader's answer is garbled: a group begins with {status[:40]!r}")
            else:
                yield from self._tail(group) if group.is_tail else self._archive(group)

    def _tail(self, group: Group) -> _Parsing:
        (file,) = group.files
        before = None
        word = yield _Word()
        if word:
            size, time = _fields(word[1:], 2)
            before = int(size)
            self._tell(b"S", file.number, 0, before, float(time))
            yield from self._pour(file.number, min(before, file.limit))
        after = (yield from self._after()).get(b"./" + _name(file.path))
        if before is None:
            self._tell(b"E", file.number, _state_of(file, after, group.owner))
        else:
            is_whole = after is not None and after.marks.size >= before
            self._tell(b"E", file.number, _REGULAR if is_whole else _CHANGED)

    def _pour(self, number: int, left: int) -> _Parsing:
        while left:
            piece = yield _AtMost(left)
            left -= len(piece)
            self._tell(b"D", number, text=piece)

    def _archive(self, group: Group) -> _Parsing:
        wanted = {b"./" + _name(file.path): file for file in group.files}
        arrived: dict[bytes, _Arrived] = {}
        pax: dict[bytes, bytes] = {}
        at = 2 * _BLOCK  # two blocks of nothing end an archive
        while any(head := (yield _Exactly(_BLOCK))):
            size = _size(head, pax)
            at += _BLOCK + size + -size % _BLOCK
            if head[156:157] in {b"x", b"g"}:
                pax = yield from self._extended(size)
                continue
            name = pax.get(b"path") or _tar_name(head)
            file = wanted.get(name)
            if file is not None and name not in arrived and head[156:157] in {b"0", b"\0"} and size <= file.limit:
                arrived[name] = _Arrived(_marks(head, pax, size), [])
                yield from self._content(file, arrived[name], is_alone=len(wanted) == 1)
            else:
                yield from self._skip(size)
            yield from self._skip(-size % _BLOCK)
            pax = {}
        yield from self._skip(_BLOCK + -at % _RECORD)
        after = yield from self._after()
        for name, file in wanted.items():
            self._end(group, file, arrived.get(name), after.get(name))

    def _extended(self, size: int) -> Generator[_Needed, bytes, dict[bytes, bytes]]:
        if size > _LONGEST_WORD_BYTES:
            raise BadOutput("the reader's answer is garbled: an extended header without end")
        return _pax((yield _Exactly(size + -size % _BLOCK))[:size])

    def _content(self, file: Wanted, arrived: "_Arrived", *, is_alone: bool) -> _Parsing:
        """Take a file's bytes: tell them at once if it is alone, else hold them until it is known how it ended."""
        left = arrived.marks.size
        if is_alone:
            self._tell(b"S", file.number, 0, left, arrived.marks.modified / 1e9)
            yield from self._pour(file.number, left)
            return
        while left:
            piece = yield _AtMost(left)
            left -= len(piece)
            arrived.pieces.append(piece)

    def _skip(self, left: int) -> _Parsing:
        while left:
            left -= len((yield _AtMost(left)))

    def _end(self, group: Group, file: Wanted, arrived: "_Arrived | None", after: "_After | None") -> None:
        if arrived is None:
            self._tell(b"E", file.number, _state_of(file, after, group.owner))
            return
        if len(group.files) > 1:
            self._tell(b"S", file.number, 0, arrived.marks.size, arrived.marks.modified / 1e9)
            for piece in arrived.pieces:
                self._tell(b"D", file.number, text=piece)
        is_same = after is not None and after.kind == b"f" and after.marks == arrived.marks
        is_ours = after is not None and after.uid == self.uid
        self._tell(b"E", file.number, _CHANGED if not is_same else _REGULAR if is_ours else _NOT_OWNED)

    def _after(self) -> Generator[_Needed, bytes, "dict[bytes, _After]"]:
        found = {}
        while word := (yield _Word()):
            kind, uid, size, modified, changed, readable, name = _fields(word, 7)
            marks = _Marks(int(size), _nanoseconds(modified), _nanoseconds(changed))
            found[name] = _After(kind, int(uid), marks, readable == b"r")
        return found


class _Arrived(NamedTuple):
    """A file in the archive: what it was when it was opened, and its bytes where they are held."""

    marks: _Marks
    pieces: list[bytes]


class _After(NamedTuple):
    """What a name stands for once everything was sent."""

    kind: bytes
    uid: int
    marks: _Marks
    is_readable: bool


def _state_of(file: Wanted, after: _After | None, owner: int) -> int:
    """Say why a file was not sent."""
    if after is None:
        return _MISSING
    state = _judge(after.kind, after.uid, owner)
    if state != _REGULAR:
        return state
    if not after.is_readable:
        return _UNREADABLE
    return _TOO_LARGE if after.marks.size > file.limit and not file.is_tail else _CHANGED


def _judge(kind: bytes, uid: int, owner: int) -> int:
    if kind != b"f":
        return _NOT_REGULAR
    return _REGULAR if uid == owner else _NOT_OWNED


def _fields(word: bytes, count: int) -> list[bytes]:
    fields = word.split(b" ", count - 1)
    if len(fields) != count:
        raise BadOutput(f"the reader's answer is garbled at {word[:80]!r}")
    return fields


def _nanoseconds(text: bytes) -> int:
    seconds, _, fraction = text.partition(b".")
    return int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))


def _marks(head: bytes, pax: dict[bytes, bytes], size: int) -> _Marks:
    modified = pax.get(b"mtime") or b"%d" % int(head[136:148].strip(b" \0"), 8)
    return _Marks(size, _nanoseconds(modified), _nanoseconds(pax.get(b"ctime", b"0")))


def _size(head: bytes, pax: dict[bytes, bytes]) -> int:
    if b"size" in pax:
        return int(pax[b"size"])
    field = head[124:136]
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _tar_name(head: bytes) -> bytes:
    name, prefix = head[:100].partition(b"\0")[0], head[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _pax(body: bytes) -> dict[bytes, bytes]:
    r"""Read records as `30 mtime=1350244992.023960108\n`, each beginning with its own length."""
    found, at = {}, 0
    while at < len(body):
        length = int(body[at : body.index(b" ", at)])
        if length <= 0:
            raise BadOutput("the reader's answer is garbled: an extended header of no length")
        key, _, value = body[body.index(b" ", at) + 1 : at + length - 1].partition(b"=")
        found[key] = value
        at += length
    return found
