"""The byte stream of one batch: which files are asked for, and their contents as they arrive. Pure.

Request: the number of parts; for each its base directory, the owner whose files may be read, the number of its
files; for each of those its number, whether only its end is wanted, a limit in bytes, its path below the base.
Answer, for each file: `S` (size, modified), `D` with a piece of content, again and again, `E` with a state; `A` only
says that the reader lives.
"""

from collections.abc import Iterator, Sequence

import msgspec

from scripthut_common.errors import BadOutput

from . import reader
from .ledger import FileState


class FileWanted(msgspec.Struct, frozen=True, kw_only=True):
    """One file to send. `is_tail`: its last `limit_bytes`; else a file larger than that is refused."""

    number: int
    path: bytes
    limit_bytes: int
    is_tail: bool = False


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Files below one base directory; `owner` is the uid they must have."""

    base: bytes
    owner: int
    files: tuple[FileWanted, ...]


class Started(msgspec.Struct, frozen=True):
    """A file was opened: its whole size and time of change on the cluster."""

    number: int
    size_bytes: int
    modified_at: float


class Content(msgspec.Struct, frozen=True):
    """The next bytes of a file."""

    number: int
    body: bytes


class Ended(msgspec.Struct, frozen=True):
    """A file is complete, or `state` says why it is not."""

    number: int
    state: FileState | None
    reason: str | None = None


Step = Started | Content | Ended


def request(parts: Sequence[Part]) -> bytes:
    """Write what the reader reads on its standard input."""
    pieces = [reader.number(len(parts))]
    for part in parts:
        pieces += [reader.text(part.base), reader.number(part.owner), reader.number(len(part.files))]
        for file in part.files:
            pieces += [reader.number(value) for value in (file.number, file.is_tail, file.limit_bytes)]
            pieces.append(reader.text(file.path))
    return b"".join(pieces)


class Stream:
    """Reads the answer while it arrives."""

    def __init__(self) -> None:
        self._records = reader.Records()
        self._open: int | None = None

    def feed(self, piece: bytes) -> Iterator[Step]:
        """Take the next piece; yield what it tells.

        Raises:
            BadOutput: it is not an answer of the reader.
        """
        for record in self._records.feed(piece):
            step = self.take(record)
            if step is not None:
                yield step

    def take(self, record: reader.Record) -> Step | None:
        """Take the next record; give what it tells, if anything.

        Raises:
            BadOutput: it is none of a file.
        """
        match record.tag:
            case b"S" if self._open is None:
                self._open = record.subject
                return Started(record.subject, record.number, record.time)
            case b"D" if self._open == record.subject:
                return Content(record.subject, record.body)
            case b"E" if self._open in {None, record.subject}:
                state = reader.state_of(record.state)
                if state is None and self._open is None:
                    raise BadOutput("the reader's answer is garbled: a file ends that never began")
                self._open = None
                return Ended(record.subject, state, reader.silence(record))
            case b"A":
                return None
            case _:
                raise BadOutput(f"the reader's answer is garbled at a record {record.tag!r}")
