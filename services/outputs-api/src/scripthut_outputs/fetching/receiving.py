"""Take one transfer from its stream into blobs, and tell for every file what became of it. Blocks; for one thread."""

from collections.abc import Mapping

import msgspec

from scripthut_common.errors import BadOutput
from scripthut_outputs.blobs import ArrivingBlob, Batch
from scripthut_outputs.choosing import row_of
from scripthut_outputs.ledger import FileState, LedgerRow
from scripthut_outputs.listing import Entry, Item
from scripthut_outputs.transfer import Content, Ended, Started, Step, Stream

_WORDS = {
    FileState.PURGED: "it vanished between listing and reading",
    FileState.CHANGED_WHILE_READING: "somebody wrote to it while it was read",
    FileState.NOT_REGULAR: "something else took its place between listing and reading",
    FileState.NOT_OWNED: "somebody else's file took its place between listing and reading",
}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was asked for: whose and which."""

    item: Item
    entry: Entry


class Receiver:
    """Turns the bytes of one transfer into blobs of one batch.

    Attributes:
        rows: for every file that has ended, its ledger row.
    """

    def __init__(self, batch: Batch, asked: Mapping[int, Asked]) -> None:
        self._batch = batch
        self._asked = asked
        self._stream = Stream()
        self._blob: ArrivingBlob | None = None
        self._started: Started | None = None
        self.rows: dict[int, LedgerRow] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every file has ended."""
        return len(self.rows) == len(self._asked)

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the stream.

        Raises:
            BadOutput: it is not an answer of the reader.
            StoreUnavailable: the blob store is full or away.
        """
        for step in self._stream.feed(piece):
            self.take(step)

    def take(self, step: Step) -> None:
        """Take what a stream tells; raises as `feed` does."""
        match step:
            case Started(number=number) | Ended(number=number) if number not in self._asked or number in self.rows:
                raise BadOutput(f"the reader's answer is garbled: the file {number} out of turn")
            case Started():
                self._blob, self._started = self._batch.begin(), step
            case Content(body=body):
                if self._blob is not None:
                    self._blob.write(body)
            case Ended():
                self.rows[step.number] = self._end(step)

    def portion(self) -> Batch:
        """Give the blobs that are whole as a batch of their own, to settle once the catalog was told of them."""
        return self._batch.portion()

    def abandon(self) -> None:
        """Remove what arrived and was given to nobody."""
        self.abandon_open()
        self._batch.abandon()

    def abandon_open(self) -> None:
        """Drop the file that is only half here."""
        if self._blob is not None:
            self._blob.abandon()
        self._blob = self._started = None

    def _end(self, step: Ended) -> LedgerRow:
        asked, started, blob = self._asked[step.number], self._started, self._blob
        if step.state is not None or blob is None or started is None:
            self.abandon_open()
            state = step.state or FileState.UNREADABLE
            if state is FileState.TOO_LARGE:  # larger than listed
                state = FileState.CHANGED_WHILE_READING
            return row_of(asked.item, asked.entry, state, reason=step.reason or _WORDS.get(state))
        stored = blob.finish()
        self._blob = self._started = None
        return msgspec.structs.replace(
            row_of(asked.item, asked.entry, FileState.STORED),
            size_bytes=started.size_bytes,
            modified_at=started.modified_at,
            sha256=stored.sha256,
            stored_bytes=stored.size_bytes,
        )
