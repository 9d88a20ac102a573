"""One look at running items: what they hold, and at once what of it is not as we know it. Pure.

Request: that of `listing`, then the bounds (`_bounds`), then for each item the number of its files that something is
known of; for each of those place, path, size, the bits of its time of change, and how it is weighed.
Answer: listings of the first items, as in `listing`; then for each file that is sent `W` (file, place, item, path), and
what `transfer` has of it. Lighter files come first: a file weighs what it has bytes, halved as often as it was passed
over.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from scripthut_common.clusters import CollectionLimits
from scripthut_common.errors import BadOutput

from . import listing, reader, transfer
from .ledger import MAX_PATH_BYTES, Place

# How much longer than listed a file may be when it is sent.
SLACK_BYTES = 64 * 1024
# Of logs only so much of the end is followed.
TAIL_BYTES = 64 * 1024
_NOTHING = 2**64 - 1
_RESTING = 255
_MOST_HALVINGS = 63


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one file: as what we hold it, if we do, how often it was passed over, whether to leave it."""

    size_bytes: int | None = None
    modified_at: float = 0.0
    passed: int = 0
    is_resting: bool = False


Files = Mapping[tuple[Place, bytes], Known]


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What one look may take: bytes that are sent, and names after which no further item is listed."""

    max_bytes: int
    max_names: int


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A file is sent: the number it has in what follows, and whose and which it is."""

    number: int
    item: int
    place: Place
    path: bytes


Told = listing.Listing | Named | transfer.Step


def request(items: Sequence[listing.Item], known: Sequence[Files], limits: CollectionLimits, budget: Budget) -> bytes:
    """Write what the reader reads on its standard input; `known` is of each item."""
    pieces = [listing.request(items, limits), *map(reader.number, _bounds(limits, budget))]
    for files in known:
        pieces.append(reader.number(len(files)))
        for (place, path), file in files.items():
            size_bytes = _NOTHING if file.size_bytes is None else file.size_bytes
            weighed = _RESTING if file.is_resting else min(file.passed, _MOST_HALVINGS)
            pieces += [reader.number(reader.PLACES.index(place)), reader.text(path), reader.number(size_bytes)]
            pieces += [struct.pack(">d", file.modified_at), reader.number(weighed)]
    return b"".join(pieces)


def _bounds(limits: CollectionLimits, budget: Budget) -> tuple[int, ...]:
    return (
        MAX_PATH_BYTES,
        *(limits.max_files, limits.max_file_bytes, limits.max_total_bytes),
        *(min(limits.log_tail_bytes, TAIL_BYTES), SLACK_BYTES),
        *(budget.max_bytes, budget.max_names),
    )


class Answer:
    """Reads the answer while it arrives."""

    def __init__(self) -> None:
        self._records = reader.Records()
        self._listings = listing.Answer()
        self._stream: transfer.Stream | None = None

    def feed(self, piece: bytes) -> Iterator[Told]:
        """Take the next piece; yield what it tells: listings, then files.

        Raises:
            BadOutput: it is not an answer of the reader.
        """
        for record in self._records.feed(piece):
            told = self._take(record)
            if told is not None:
                yield told

    def _take(self, record: reader.Record) -> Told | None:
        if record.tag == b"W":
            self._stream = self._stream or transfer.Stream()
            return _named(record)
        return (self._stream or self._listings).take(record)


def _named(record: reader.Record) -> Named:
    if record.state >= len(reader.PLACES):
        raise BadOutput(f"the reader's answer has an unknown place {record.state}")
    return Named(number=record.subject, item=record.number, place=reader.PLACES[record.state], path=record.body)
