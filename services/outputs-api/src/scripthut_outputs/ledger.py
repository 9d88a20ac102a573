"""The structs of what was found, stored and left out: one row for every file of a task."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum

import msgspec


class Place(StrEnum):
    """Where on the cluster a file lies."""

    OUTPUT = "output"
    RUN_SUMMARY = "run_summary"
    STDOUT = "stdout"
    STDERR = "stderr"


class Kind(StrEnum):
    """How a file is shown; decided by its suffix alone."""

    MARKDOWN = "markdown"
    IMAGE = "image"
    OTHER = "other"


class FileState(StrEnum):
    """Stored, or why not."""

    STORED = "stored"
    TOO_LARGE = "too_large"
    OVER_COUNT = "over_count"
    OVER_TOTAL = "over_total"
    OVER_QUOTA = "over_quota"
    TOO_DEEP = "too_deep"
    NOT_REGULAR = "not_regular"
    NOT_OWNED = "not_owned"
    UNREADABLE = "unreadable"
    CHANGED_WHILE_READING = "changed_while_reading"
    NOT_YET_VISIBLE = "not_yet_visible"
    PURGED = "purged"


class Removal(StrEnum):
    """Why something that had been stored is no longer in our store."""

    AGE = "age"
    TOTAL_SIZE = "total_size"
    DAMAGE = "damage"


class OutputsState(StrEnum):
    """What became of the collection of one task."""

    NONE = "none"
    PENDING = "pending"
    COLLECTING = "collecting"
    PARTIAL = "partial"
    COLLECTED = "collected"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


# How the reason of a removed row ends while its task is wanted again.
COLLECTING_AGAIN = "; being collected again"
# A longer one could not be a key of the ledger: an entry of PostgreSQL's indexes takes 2,704 bytes.
MAX_PATH_BYTES = 1536
# Below so many levels a listing names nothing, unless more are wanted than anybody does.
_DEEPEST = 64
MOVING = frozenset({OutputsState.PENDING, OutputsState.COLLECTING, OutputsState.PARTIAL})
_SUFFIXES = {
    Kind.MARKDOWN: (b".md", b".markdown"),
    Kind.IMAGE: (b".png", b".jpg", b".jpeg", b".svg", b".gif", b".webp"),
}


def kind_of(path: bytes) -> Kind:
    """Tell the kind by the suffix, in any case."""
    lowered = path.lower()
    return next((kind for kind, suffixes in _SUFFIXES.items() if lowered.endswith(suffixes)), Kind.OTHER)


def above(path: bytes) -> Iterator[bytes]:
    """Yield the directories that a file lies in, the output directory as `.` first, those of hostile depth left out."""
    yield b"."
    at = path.find(b"/")
    for _ in range(_DEEPEST):
        if at < 0:
            return
        yield path[:at]
        at = path.find(b"/", at + 1)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was stored, as its ledger row has it.

    `is_noted`: the row says that its source is not as it was. `is_removed`: we had it, and removed it.
    """

    size_bytes: int
    modified_at: float
    stored_bytes: int
    attempt: int
    is_noted: bool
    is_removed: bool = False


HeldFiles = Mapping[tuple[Place, bytes], Held]


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One file, or `count` files left out for one reason. `path` is bytes, relative to its place.

    `size_bytes` is what the cluster said, `stored_bytes` what we hold (a log's tail is shorter);
    `sha256` is of the stored bytes; `modified_at` is epoch seconds by the cluster's clock. `removed_at`: we held it
    until then; hash and size stay. `followed_at`: it was read then, while its task ran.
    """

    place: Place
    path: bytes
    kind: Kind
    state: FileState
    attempt: int
    count: int = 1
    size_bytes: int | None = None
    modified_at: float | None = None
    sha256: str | None = None
    stored_bytes: int | None = None
    remote_path: str | None = None
    reason: str | None = None
    collected_at: datetime | None = None
    removed_at: datetime | None = None
    followed_at: datetime | None = None
