"""Choose what to keep of a listing, and say why not for the rest: the same files for the same listing. Pure."""

from collections import Counter
from collections.abc import Sequence
from posixpath import join

import msgspec

from scripthut_common import layout, manifest
from scripthut_common.clusters import CollectionLimits
from scripthut_common.errors import BadOutput

from .ledger import FileState, LedgerRow, OutputsState, Place, kind_of
from .listing import MAX_WALKED, Entry, Item, Listing

SUMMARY = layout.TASK_SUMMARY_NAME.encode()
# A longer one could not be a key of the ledger: an entry of PostgreSQL's indexes takes 2,704 bytes.
MAX_PATH_BYTES = 1536
_GONE = "the task saw it when it ended; it was gone or not yet visible when outputs were collected"
_TO_CURE = frozenset(
    {FileState.UNREADABLE, FileState.CHANGED_WHILE_READING, FileState.NOT_YET_VISIBLE, FileState.PURGED}
)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What to take, in this order, and a ledger row for all the rest."""

    take: tuple[Entry, ...]
    left_out: tuple[LedgerRow, ...]


def choose(item: Item, listing: Listing, limits: CollectionLimits) -> Choice:
    """Keep what the limits allow: the task summary and the fragment first, then by path, then the logs."""
    take: list[Entry] = []
    left_out: list[LedgerRow] = []
    count, total = 0, 0
    unnamed = Counter(listing.unnamed)
    for entry in sorted(listing.entries, key=_order):
        if len(entry.path) > MAX_PATH_BYTES:
            unnamed[entry.state or FileState.TOO_DEEP] += 1
            continue
        is_log = entry.place in {Place.STDOUT, Place.STDERR}
        is_summary = entry.place is Place.RUN_SUMMARY or entry.path == SUMMARY
        state = entry.state
        if state is None and not is_log:
            state = _beyond(entry.size_bytes, total, 0 if is_summary else count, limits)
        if state is not None:
            left_out.append(row_of(item, entry, state, reason=_reason(entry, state, limits)))
            continue
        take.append(entry)
        if not is_log:
            count, total = count + (not is_summary), total + entry.size_bytes
    left_out += _unnamed(item, unnamed, is_whole=listing.is_whole) + _not_yet_visible(item, listing, limits)
    return Choice(take=tuple(take), left_out=tuple(left_out))


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


def state_of(rows: Sequence[LedgerRow]) -> OutputsState:
    """What became of a collection, by its ledger: `incomplete` when there is something that another try may cure."""
    if not rows:
        return OutputsState.NONE
    return OutputsState.INCOMPLETE if any(row.state in _TO_CURE for row in rows) else OutputsState.COLLECTED


def _order(entry: Entry) -> tuple[int, bool, bytes]:
    rank = {Place.RUN_SUMMARY: 0, Place.OUTPUT: 1, Place.STDOUT: 2, Place.STDERR: 3}[entry.place]
    return rank, entry.path != SUMMARY, entry.path


def _beyond(size_bytes: int, total: int, count: int, limits: CollectionLimits) -> FileState | None:
    if size_bytes > limits.max_file_bytes:
        return FileState.TOO_LARGE
    if count >= limits.max_files:
        return FileState.OVER_COUNT
    return FileState.OVER_TOTAL if total + size_bytes > limits.max_total_bytes else None


def _reason(entry: Entry, state: FileState, limits: CollectionLimits) -> str | None:
    below = f"at most {limits.max_depth} levels below the output directory, the file's own among them"
    closed = "this directory" if entry.path == b"." else "it"
    return entry.reason or {
        FileState.TOO_LARGE: f"{entry.size_bytes} bytes; at most {limits.max_file_bytes} a file",
        FileState.OVER_COUNT: f"at most {limits.max_files} files a task",
        FileState.OVER_TOTAL: f"at most {limits.max_total_bytes} bytes a task",
        FileState.TOO_DEEP: below,
        FileState.NOT_REGULAR: "not a plain file: links are never followed, devices and pipes never opened",
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


def _not_yet_visible(item: Item, listing: Listing, limits: CollectionLimits) -> list[LedgerRow]:
    """Files that the task saw when it ended and that the listing lacks."""
    if listing.manifest is None or listing.unnamed:
        return []
    try:
        record = manifest.parse(listing.manifest)
    except BadOutput:
        return []
    if record.attempt != item.attempt:
        return []
    listed = {entry.path for entry in listing.entries if entry.place is Place.OUTPUT}
    missing = {seen.path: seen for seen in record.entries if seen.path not in listed and _is_plain(seen.path)}
    return [
        row_of(item, _entry(seen), FileState.NOT_YET_VISIBLE, reason=_GONE)
        for seen in list(missing.values())[: limits.max_named_rows]
    ]


def _is_plain(path: bytes) -> bool:
    """Whether a path that an author claims is one that a listing could have given."""
    return 0 < len(path) <= MAX_PATH_BYTES and not {b"", b".", b".."} & set(path.split(b"/"))


def _entry(seen: manifest.Entry) -> Entry:
    return Entry(
        place=Place.OUTPUT, path=seen.path, state=None, size_bytes=seen.size_bytes, modified_at=seen.modified_at
    )
