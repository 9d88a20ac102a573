"""States, outcomes and reasons in words for people, each with an icon, never by colour alone. Pure."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from scripthut_common import text
from scripthut_common.events import ItemState, Outcome, RunState
from scripthut_outputs.ledger import FileState, OutputsState


class Tone(StrEnum):
    """What a chip says without words; a CSS class each."""

    WAITING = "waiting"
    ACTIVE = "active"
    GOOD = "good"
    BAD = "bad"
    WARNING = "warning"
    ODD = "odd"


class Chip(msgspec.Struct, frozen=True, kw_only=True):
    """A state as a word with an icon."""

    word: str
    icon: str
    tone: Tone


def _chip(word: str, icon: str, tone: Tone) -> Chip:
    return Chip(word=word, icon=icon, tone=tone)


STATES: dict[ItemState, Chip] = {
    ItemState.PENDING: _chip("Waiting", "clock", Tone.WAITING),
    ItemState.SUBMITTED: _chip("Submitted", "clock", Tone.WAITING),
    ItemState.QUEUED: _chip("Queued", "clock", Tone.WAITING),
    ItemState.RUNNING: _chip("Running", "ring", Tone.ACTIVE),
    ItemState.SETTLING: _chip("Finishing", "ring", Tone.ACTIVE),
}
OUTCOMES: dict[Outcome, Chip] = {
    Outcome.SUCCEEDED: _chip("Succeeded", "check", Tone.GOOD),
    Outcome.FAILED: _chip("Failed", "cross", Tone.BAD),
    Outcome.CANCELLED: _chip("Cancelled", "stop", Tone.WARNING),
    Outcome.TIMED_OUT: _chip("Timed out", "clock", Tone.BAD),
    Outcome.OUT_OF_MEMORY: _chip("Out of memory", "memory", Tone.BAD),
    Outcome.NODE_FAILED: _chip("Node failed", "node", Tone.BAD),
    Outcome.PREEMPTED: _chip("Preempted", "swap", Tone.WARNING),
    Outcome.DEPENDENCY_FAILED: _chip("Dependency failed", "link", Tone.WARNING),
    Outcome.SUBMISSION_FAILED: _chip("Not submitted", "cross", Tone.BAD),
    Outcome.UNKNOWN: _chip("Unknown", "question", Tone.ODD),
}
_CHIPS: dict[str, Chip] = dict((*STATES.items(), *OUTCOMES.items()))
_MAX_WORD_CHARACTERS = 40
RUNS: dict[RunState, Chip] = {
    RunState.PENDING: _chip("Waiting", "clock", Tone.WAITING),
    RunState.RUNNING: _chip("Running", "ring", Tone.ACTIVE),
    RunState.SUCCEEDED: _chip("Succeeded", "check", Tone.GOOD),
    RunState.FAILED: _chip("Failed", "cross", Tone.BAD),
    RunState.UNKNOWN: _chip("Unknown", "question", Tone.ODD),
}
LEFT_OUT: dict[FileState, str] = {
    FileState.TOO_LARGE: "larger than one file may be",
    FileState.OVER_COUNT: "beyond the number of files that are kept",
    FileState.OVER_TOTAL: "beyond the total size that is kept",
    FileState.OVER_QUOTA: "beyond what is kept of one person",
    FileState.TOO_DEEP: "too deep in folders",
    FileState.NOT_REGULAR: "not a regular file",
    FileState.NOT_OWNED: "belongs to another account",
    FileState.UNREADABLE: "could not be read",
    FileState.CHANGED_WHILE_READING: "changed while it was read",
    FileState.NOT_YET_VISIBLE: "not visible on the cluster yet",
    FileState.PURGED: "removed on the cluster before it was collected",
}
TALLIED: dict[FileState, str] = {
    FileState.TOO_LARGE: "too large",
    FileState.OVER_COUNT: "beyond the number kept",
    FileState.OVER_TOTAL: "beyond the total size kept",
    FileState.OVER_QUOTA: "over quota",
    FileState.TOO_DEEP: "too deep",
    FileState.NOT_REGULAR: "not regular",
    FileState.NOT_OWNED: "of another account",
    FileState.UNREADABLE: "unreadable",
    FileState.CHANGED_WHILE_READING: "changed while read",
    FileState.NOT_YET_VISIBLE: "not yet visible",
    FileState.PURGED: "removed too early",
}
COLLECTION: dict[OutputsState, str] = {
    OutputsState.PENDING: "Outputs wait to be collected.",
    OutputsState.COLLECTING: "Outputs are being collected.",
    OutputsState.PARTIAL: "More may come.",
    OutputsState.INCOMPLETE: "Some files could not be collected; they are listed with the reason.",
    OutputsState.FAILED: "Outputs could not be collected.",
}


UNFINISHED = frozenset({OutputsState.PARTIAL, OutputsState.INCOMPLETE, OutputsState.FAILED})


def tally(counts: Mapping[FileState, int]) -> str:
    """`38 of 41 files stored · 2 too large · 1 not yet visible`; empty when all are stored."""
    left_out = {state: count for state, count in counts.items() if state is not FileState.STORED and count}
    if not left_out:
        return ""
    order = {state: place for place, state in enumerate(FileState)}
    states = sorted(left_out, key=lambda state: (order.get(state, len(order)), state))
    parts = [f"{left_out[state]:,} {TALLIED.get(state) or _cut(state)}" for state in states]
    all_files = sum(counts.values())
    stored = f"{counts.get(FileState.STORED, 0):,} of {all_files:,} file{'s' if all_files != 1 else ''} stored"
    return " · ".join((stored, *parts))


def of_count(word: str) -> Chip:
    """The chip for a word that items are counted under: an outcome, else a state, else the word as it is."""
    return _CHIPS.get(word) or _chip(_cut(word), "question", Tone.WAITING)


def of_item(state: ItemState, outcome: Outcome | None) -> Chip:
    """The chip of one item."""
    return of_count((outcome or Outcome.UNKNOWN) if state is ItemState.FINAL else state)


def _cut(word: str) -> str:
    shown = text.name(word)
    return f"{shown[:_MAX_WORD_CHARACTERS]}…" if len(shown) > _MAX_WORD_CHARACTERS else shown
