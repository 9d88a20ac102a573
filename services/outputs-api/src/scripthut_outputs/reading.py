"""The ways to read a cluster's files: python3, or else sh with GNU find and tar; which program, with what input. Pure.

Both answers come out in the same records, for `listing` and `transfer` to read.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from scripthut_common.clusters import CollectionLimits
from scripthut_common.manifest import MAX_BYTES

from . import listing, reader, transfer, updates
from .reader import floor, installed

NEITHER = (
    "this cluster has neither python3 nor GNU find and tar, with which outputs are read: install python3 "
    "(3.6 or newer) on the login node, or put it into the PATH of sessions without a terminal"
)
STRANGER = (
    "its output directory belongs to another account than the one that collects, or should, and a strict reader is "
    "needed to read other people's files: install python3 (3.6 or newer) on the login node, then collect again"
)


class Answer(Protocol):
    """Takes what the program prints.

    Attributes:
        is_lacking: this way is not to be had there.
        has_begun: whether the program itself has said anything, where something else has to let it begin first.
    """

    is_lacking: bool
    has_begun: bool

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece; give it as the strict reader's records."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One program with its arguments and its input, and what takes its answer.

    `refusal` is set where the program is begun by sudo as another account: what to say when it does not begin.
    """

    text: str
    argv: tuple[str, ...]
    stdin: bytes
    answer: Answer
    strangers: frozenset[int] | set[int] = frozenset()
    refusal: str | None = None


class Way(Protocol):
    """One way of reading."""

    name: str

    def to_list(self, items: Sequence[listing.Item], limits: CollectionLimits) -> Question:
        """Ask what items hold."""

    def to_send(self, parts: Sequence[transfer.Part]) -> Question:
        """Ask for chosen files."""


class Plain:
    """Takes an answer that is in records already, if there is python3 to give one."""

    has_begun = True

    def __init__(self) -> None:
        self.is_lacking = False
        self._begin: bytes | None = b""

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece."""
        if self._begin is None:
            return piece
        begin = self._begin + piece
        if reader.LACKING.startswith(begin[: len(reader.LACKING)]):
            self._begin = begin
            self.is_lacking = begin.startswith(reader.LACKING)
            return b""
        self._begin = None
        return begin


class Strict:
    """A fixed python3 program that no symlink leads astray."""

    name = "python3"

    def __init__(self, *, timeout_s: float, patience_s: float) -> None:
        self._text, self._following = reader.program_text(), reader.program_text(follows=True)
        # It ends itself too, should its connection be lost unnoticed.
        self._bounds = (str(int(timeout_s) + 60), str(int(patience_s * 1000)))

    def to_list(self, items: Sequence[listing.Item], limits: CollectionLimits) -> Question:
        """See `Way`."""
        return self._ask("list", listing.request(items, limits))

    def to_send(self, parts: Sequence[transfer.Part]) -> Question:
        """See `Way`."""
        return self._ask("send", transfer.request(parts))

    def to_follow(
        self,
        items: Sequence[listing.Item],
        known: Sequence[updates.Files],
        limits: CollectionLimits,
        budget: updates.Budget,
    ) -> Question:
        """Ask what running items hold, and at once for what of it is not as it is known."""
        argv = (self._following, "follow", *self._bounds)
        stdin = updates.request(items, known, limits, budget)
        return Question(text=reader.SH, argv=argv, stdin=stdin, answer=Plain())

    def _ask(self, mode: str, stdin: bytes) -> Question:
        return Question(text=reader.SH, argv=(self._text, mode, *self._bounds), stdin=stdin, answer=Plain())


class Installed:
    """The strict reader as it is installed on the cluster, begun by sudo as the owner of what is read.

    Args:
        strict: makes its input.
        program: where it is installed.
        account: the owner.
    """

    name = "python3, installed"

    def __init__(self, strict: Strict, *, program: str, account: str) -> None:
        self._strict = strict
        self._program = program
        self._account = account

    def to_list(self, items: Sequence[listing.Item], limits: CollectionLimits) -> Question:
        """See `Way`."""
        return self._begun(self._strict.to_list(items, limits))

    def to_send(self, parts: Sequence[transfer.Part]) -> Question:
        """See `Way`."""
        return self._begun(self._strict.to_send(parts))

    def to_follow(
        self,
        items: Sequence[listing.Item],
        known: Sequence[updates.Files],
        limits: CollectionLimits,
        budget: updates.Budget,
    ) -> Question:
        """See `Strict.to_follow`."""
        return self._begun(self._strict.to_follow(items, known, limits, budget))

    def _begun(self, question: Question) -> Question:
        """The same question to what is installed: without the program's text."""
        _, *words = question.argv
        argv = (self._account, self._program, *words)
        refusal = f"sudo does not let the service run {self._program} as {self._account}"
        answer = installed.Greeted(self._program)
        return Question(text=installed.SH, argv=argv, stdin=question.stdin, answer=answer, refusal=refusal)


class Floor:
    """Fixed sh programs for the account's own files."""

    name = "sh, GNU find and tar"

    def to_list(self, items: Sequence[listing.Item], limits: CollectionLimits) -> Question:
        """See `Way`."""
        bounds = floor.Bounds(limits.max_depth, listing.MAX_WALKED, limits.max_named_rows, MAX_BYTES)
        wanted = [[(place.base, place.path) for place in item.places] for item in items]
        owners = [(item.whose.account, item.whose.is_services) for item in items]
        answer = floor.Listed(wanted, owners, bounds)
        return Question(
            text=floor.list_text(),
            argv=floor.list_argv(bounds),
            stdin=floor.list_request(wanted),
            answer=answer,
            strangers=answer.strangers,
        )

    def to_send(self, parts: Sequence[transfer.Part]) -> Question:
        """See `Way`."""
        groups = [
            group
            for part in parts
            for group in floor.groups_of(
                part.base,
                part.owner,
                [floor.Wanted(file.number, file.path, file.limit_bytes, file.is_tail) for file in part.files],
            )
        ]
        return Question(
            text=floor.send_text(),
            argv=floor.send_argv(),
            stdin=floor.send_request(groups),
            answer=floor.Sent(groups),
        )
