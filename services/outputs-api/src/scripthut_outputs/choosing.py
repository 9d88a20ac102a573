"""Choose what to keep of a listing, and say why not for the rest: the same files for the same listing. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from posixpath import join

import msgspec

from scripthut_common import layout, manifest
from scripthut_common.clusters import CollectionLimits

from .ledger import MAX_PATH_BYTES, FileState, Held, HeldFiles, LedgerRow, OutputsState, Place, above, kind_of
from .listing import MAX_WALKED, Entry, Item, Listing

SUMMARY = layout.TASK_SUMMARY_NAME.encode()
_AWAITED = "the task saw it when it ended; the cluster does not show it yet"
_MISSED = "the task saw it when it ended; the cluster did not show it in time"
_BEHIND = "the task saw it when it ended; a directory above it cannot be read"
_TO_CURE = frozenset(
    {
        *(FileState.UNREADABLE, FileState.CHANGED_WHILE_READING, FileState.NOT_YET_VISIBLE, FileState.PURGED),
        FileState.OVER_QUOTA,
    }
)
_LOGS = frozenset({Place.STDOUT, Place.STDERR})
# What is taken whatever the quota says: a summary of this size, so much of the end of each log.
_SMALL_BYTES = 256 * 1024
BRIEF_TAIL_BYTES = 64 * 1024


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """How much more may be stored of the person whose task it is.

    Args:
        left_bytes: so much; below zero where there is too much already.
        reason: what is said of files for which there is none.
        held: what is stored of the item; only what goes beyond it counts.
    """

    left_bytes: int
    reason: str
    held: HeldFiles = {}

    def added_bytes(self, entry: Entry, size_bytes: int) -> int:
        """By how much the store grows by a file of this size."""
        return max(0, size_bytes - self.held_bytes(entry))

    def held_bytes(self, entry: Entry) -> int:
        """How much is stored of a file."""
        ours = self.held.get((entry.place, entry.path))
        return 0 if ours is None or ours.is_removed else ours.stored_bytes


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch, in this order, what we hold as it is, and a ledger row for all the rest.

    `notes` are for rows of what is fetched though it is not whole, by path. `brief` names logs of which little is
    taken; `added_bytes` says by how much the store may grow.
    """

    take: tuple[Entry, ...]
    kept: tuple[Entry, ...] = ()
    left_out: tuple[LedgerRow, ...]
    notes: Mapping[bytes, str] = {}
    brief: frozenset[Place] = frozenset()
    added_bytes: int = 0

    def noted(self, row: LedgerRow) -> LedgerRow:
        """A row of a fetched file with what is to be said of it."""
        note = self.notes.get(row.path) if row.place is Place.OUTPUT and row.state is FileState.STORED else None
        return row if note is None else msgspec.structs.replace(row, reason=note)


def choose(
    item: Item,
    listing: Listing,
    limits: CollectionLimits,
    *,
    lacking: Mapping[bytes, manifest.Entry] = {},
    is_waiting: bool = False,
    held: Mapping[tuple[Place, bytes], Held] = {},
    quota: Room | None = None,
) -> Choice:
    """Keep what the limits allow: the task summary and the fragment first, then by path, then the logs.

    Args:
        item: whose files.
        listing: what it has.
        limits: how much is taken.
        lacking: what was promised and is not there, or not whole.
        is_waiting: whether that may still come; it then keeps its room, and what is not whole is left where it is.
        held: stored files that need not be fetched again if they have not changed.
        quota: how much more may be stored of its owner; `None`: anything.
    """
    take: list[Entry] = []
    kept: list[Entry] = []
    left_out: list[LedgerRow] = []
    room = _Room(limits, quota)
    closed = _closed(listing) if lacking else frozenset()
    unnamed = Counter(listing.unnamed)
    for entry in sorted(_candidates(listing, lacking, is_waiting=is_waiting), key=_order):
        if len(entry.path) > MAX_PATH_BYTES:
            unnamed[entry.state or FileState.TOO_DEEP] += 1
            continue
        promised = lacking.get(entry.path) if entry.state is FileState.NOT_YET_VISIBLE else None
        if promised is not None and is_waiting:
            room.take(entry, promised.size_bytes)
        state = entry.state or room.take(entry, entry.size_bytes)
        if state is not None:
            reason = _reason(entry, state, limits, quota)
            if promised is not None:
                reason = _lack(entry, promised, closed, is_waiting=is_waiting)
            left_out.append(row_of(item, entry, state, reason=reason))
        elif _is_same(item, entry, held) and not _is_short(entry, lacking):
            kept.append(entry)
        else:
            take.append(entry)
    stored = sum(entry.place is Place.OUTPUT for entry in (*take, *kept))
    named = _named(left_out, limits.max_named_rows - stored, unnamed)
    return Choice(
        take=tuple(take),
        kept=tuple(kept),
        left_out=(*named, *_unnamed(item, unnamed, is_whole=listing.is_whole)),
        brief=room.brief(entry for entry in take if entry.place in _LOGS),
        added_bytes=room.added_bytes,
        notes={entry.path: _only(entry, lacking[entry.path]) for entry in take if _is_short(entry, lacking)},
    )


class _Room:
    """How much of the limits is left; logs and summaries have room of their own."""

    def __init__(self, limits: CollectionLimits, quota: Room | None) -> None:
        self._limits = limits
        self._quota = quota
        self._files = 0
        self._bytes = 0
        self.added_bytes = 0

    def brief(self, logs: Iterable[Entry]) -> frozenset[Place]:
        """Name the logs of which little is taken for want of room; what is held of one never gets shorter."""
        quota = self._quota
        if quota is None:
            return frozenset()
        brief = set()
        for entry in logs:
            added_bytes = quota.added_bytes(entry, min(entry.size_bytes, self._limits.log_tail_bytes))
            if quota.held_bytes(entry) <= BRIEF_TAIL_BYTES and self.added_bytes + added_bytes > quota.left_bytes:
                brief.add(entry.place)
                added_bytes = min(added_bytes, BRIEF_TAIL_BYTES)
            self.added_bytes += added_bytes
        return frozenset(brief)

    def take(self, entry: Entry, size_bytes: int) -> FileState | None:
        """Take room for a file, or say by a state why there is none."""
        if entry.place in _LOGS:
            return None
        is_summary = entry.place is Place.RUN_SUMMARY or entry.path == SUMMARY
        if size_bytes > self._limits.max_file_bytes:
            return FileState.TOO_LARGE
        if not is_summary and self._files >= self._limits.max_files:
            return FileState.OVER_COUNT
        if self._bytes + size_bytes > self._limits.max_total_bytes:
            return FileState.OVER_TOTAL
        if self._quota is not None:
            added_bytes = self._quota.added_bytes(entry, size_bytes)
            is_small = is_summary and size_bytes <= _SMALL_BYTES
            if added_bytes and not is_small and self.added_bytes + added_bytes > self._quota.left_bytes:
                return FileState.OVER_QUOTA
            self.added_bytes += added_bytes
        self._files, self._bytes = self._files + (not is_summary), self._bytes + size_bytes
        return None


def _candidates(listing: Listing, lacking: Mapping[bytes, manifest.Entry], *, is_waiting: bool) -> Iterator[Entry]:
    """Yield what was listed, and what was promised and was not."""
    absent = dict(lacking)
    for entry in listing.entries:
        if entry.place is Place.OUTPUT:
            absent.pop(entry.path, None)
        is_awaited = is_waiting and entry.state is None and _is_short(entry, lacking)
        yield msgspec.structs.replace(entry, state=FileState.NOT_YET_VISIBLE) if is_awaited else entry
    for path, seen in absent.items():
        yield Entry(
            place=Place.OUTPUT,
            path=path,
            state=FileState.NOT_YET_VISIBLE,
            size_bytes=seen.size_bytes,
            modified_at=seen.modified_at,
        )


def _is_short(entry: Entry, lacking: Mapping[bytes, manifest.Entry]) -> bool:
    return entry.place is Place.OUTPUT and entry.path in lacking


def _is_same(item: Item, entry: Entry, held: HeldFiles) -> bool:
    """Whether what we hold is what was listed."""
    ours = held.get((entry.place, entry.path))
    return (
        ours is not None
        and not (ours.is_noted or ours.is_removed)
        and (ours.size_bytes, ours.modified_at, ours.attempt) == (entry.size_bytes, entry.modified_at, item.attempt)
    )


def _closed(listing: Listing) -> frozenset[bytes]:
    """What is in the way of what may lie below it."""
    barring = {FileState.UNREADABLE, FileState.NOT_REGULAR}
    return frozenset(
        entry.path.rstrip(b"/") for entry in listing.entries if entry.place is Place.OUTPUT and entry.state in barring
    )


def _lack(entry: Entry, promised: manifest.Entry, closed: frozenset[bytes], *, is_waiting: bool) -> str:
    if closed and not closed.isdisjoint(above(entry.path)):
        return _BEHIND
    if not is_waiting:
        return _MISSED
    return _AWAITED if entry.size_bytes >= promised.size_bytes else _only(entry, promised)


def _only(entry: Entry, promised: manifest.Entry) -> str:
    return f"the task wrote {promised.size_bytes} bytes; the cluster showed {entry.size_bytes} of them"


def _named(rows: Sequence[LedgerRow], most: int, unnamed: Counter[FileState]) -> list[LedgerRow]:
    """Name as many output files as the ledger may, and count the rest; what is no output file is always named."""
    named: list[LedgerRow] = []
    for row in rows:
        if row.place is Place.OUTPUT and len(named) >= most:
            unnamed[row.state] += 1
        else:
            named.append(row)
    return named


def row_of(item: Item, entry: Entry, state: FileState, *, reason: str | None = None) -> LedgerRow:
    """The ledger row of a listed file."""
    folder = item.folder_of(entry.place)
    return LedgerRow(
        place=entry.place,
        path=entry.path,
        kind=kind_of(entry.path),
        state=state,
        attempt=item.attempt,
        size_bytes=entry.size_bytes,
        modified_at=entry.modified_at,
        remote_path=join(folder.base, folder.path, entry.path).decode("utf-8", "replace"),
        reason=reason,
    )


def state_of(rows: Sequence[LedgerRow], *, has_kept: bool = False) -> OutputsState:
    """What became of a collection, by its ledger: `incomplete` when there is something that another try may cure."""
    if not rows and not has_kept:
        return OutputsState.NONE
    return OutputsState.INCOMPLETE if any(row.state in _TO_CURE for row in rows) else OutputsState.COLLECTED


def _order(entry: Entry) -> tuple[int, bool, bytes]:
    rank = {Place.RUN_SUMMARY: 0, Place.OUTPUT: 1, Place.STDOUT: 2, Place.STDERR: 3}[entry.place]
    return rank, entry.path != SUMMARY, entry.path


def _reason(entry: Entry, state: FileState, limits: CollectionLimits, quota: Room | None) -> str | None:
    if quota is not None and state is FileState.OVER_QUOTA:
        return quota.reason
    below = f"at most {limits.max_depth} levels below the output directory, the file's own among them"
    closed = "this directory" if entry.path == b"." else "it"
    return entry.reason or {
        FileState.TOO_LARGE: f"{entry.size_bytes} bytes; at most {limits.max_file_bytes} a file",
        FileState.OVER_COUNT: f"at most {limits.max_files} files a task",
        FileState.OVER_TOTAL: f"at most {limits.max_total_bytes} bytes a task",
        FileState.TOO_DEEP: below,
        FileState.NOT_REGULAR: "links are never followed, devices and pipes never opened",
        FileState.UNREADABLE: f"the account that collects could not open {closed}: have its owner let it read there, "
        "and enter the directories above (`chmod o+x`)",
    }.get(state)


def _unnamed(item: Item, unnamed: Counter[FileState], *, is_whole: bool) -> list[LedgerRow]:
    if not is_whole and not unnamed[FileState.OVER_COUNT]:
        unnamed[FileState.OVER_COUNT] = 1
    at_least = "" if is_whole else f"; nobody looked beyond {MAX_WALKED} files"
    return [
        LedgerRow(
            place=Place.OUTPUT,
            path=b"/" + state.encode(),
            kind=kind_of(b""),
            state=state,
            attempt=item.attempt,
            count=count,
            remote_path=join(item.output.base, item.output.path).decode("utf-8", "replace"),
            reason=f"too many to name{at_least}",
        )
        for state, count in sorted(unnamed.items())
    ]
