"""The records of an answer: how they are written, how they are cut out of what arrives. Pure."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from scripthut_common.errors import BadOutput

HEAD = struct.Struct(">BIBQdI")
NOBODY = 0xFFFFFFFF
_LONGEST_BYTES = 64 * 1024 * 1024


class Record(NamedTuple):
    """One record of an answer, about an item or a file; what its numbers mean depends on the tag."""

    tag: bytes
    subject: int
    state: int
    number: int
    time: float
    body: bytes


class Records:
    """Cuts an answer that arrives in pieces into its records."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[Record]:
        """Take the next piece; yield every record that is complete.

        Raises:
            BadOutput: it is not an answer of the reader.
        """
        arrived = self._rest + piece if self._rest else piece
        at = 0
        while len(arrived) - at >= HEAD.size:
            tag, subject, state, number_, time, length = HEAD.unpack_from(arrived, at)
            if length > _LONGEST_BYTES:
                raise BadOutput("the reader's answer is garbled: a record without end")
            end = at + HEAD.size + length
            if end > len(arrived):
                break
            yield Record(bytes((tag,)), subject, state, number_, time, arrived[at + HEAD.size : end])
            at = end
        self._rest = arrived[at:]

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits for more bytes."""
        return not self._rest
