"""What a look has found new, against the ledger as it stands. Pure."""

from collections.abc import Iterator

from scripthut_outputs.catalog.following import FileKey, Ledger, Seen
from scripthut_outputs.ledger import FileState, LedgerRow, Place, above

from .trips import Glanced

# What a file says that changes just now; the next look takes it.
_IN_MOTION = frozenset({FileState.CHANGED_WHILE_READING, FileState.PURGED})


def compare(glanced: Glanced, ledger: Ledger) -> Seen:
    """Tell what is new of one item."""
    rows = (row for row in _rows(glanced) if _is_new(row, ledger))
    return Seen(item=glanced.running, rows=tuple(rows), gone=_gone(glanced, ledger))


def passed_over(glanced: Glanced, ledger: Ledger) -> set[FileKey]:
    """Name the files that have changed and were not sent."""
    return {
        (entry.place, entry.path)
        for entry in glanced.choice.take
        if (entry.place, entry.path) not in glanced.sent
        and not _is_held(ledger, (entry.place, entry.path), entry.size_bytes, entry.modified_at)
    }


def _rows(glanced: Glanced) -> Iterator[LedgerRow]:
    wanted = {(entry.place, entry.path) for entry in glanced.choice.take}
    for key, row in glanced.sent.items():
        if key in wanted and row.state not in _IN_MOTION:
            yield row
    yield from glanced.choice.left_out


def _is_new(row: LedgerRow, ledger: Ledger) -> bool:
    noted = ledger.get((row.place, row.path))
    if noted is None:
        return True
    if row.state is FileState.STORED:
        return not (noted.is_held and noted.sha256 == row.sha256 and noted.modified_at == row.modified_at)
    if not noted.is_followed:
        return False
    before = (noted.state, noted.count, noted.size_bytes, noted.reason)
    return before != (row.state, row.count, row.size_bytes, row.reason)


def _is_held(ledger: Ledger, key: FileKey, size_bytes: int, modified_at: float) -> bool:
    noted = ledger.get(key)
    return noted is not None and noted.is_held and (noted.size_bytes, noted.modified_at) == (size_bytes, modified_at)


def _gone(glanced: Glanced, ledger: Ledger) -> frozenset[FileKey]:
    """Name what was seen before and is no longer there; of what could not be looked at, nobody knows."""
    found = glanced.found
    if not found.is_whole or found.has_stalled or found.unnamed:
        return frozenset()
    rows = glanced.choice.left_out
    there = {(entry.place, entry.path) for entry in glanced.choice.take} | {(row.place, row.path) for row in rows}
    closed = {row.path.rstrip(b"/") for row in rows if row.place is Place.OUTPUT and row.state is FileState.UNREADABLE}
    missing = {key for key, noted in ledger.items() if noted.is_followed} - there
    return frozenset(
        (place, path) for place, path in missing if place is not Place.OUTPUT or closed.isdisjoint(above(path))
    )
