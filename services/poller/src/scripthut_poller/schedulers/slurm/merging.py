"""Put the parts of a heterogeneous job together: it is one job, and ends as its worst part does. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from scripthut_common.events import Outcome
from scripthut_poller.schedulers.job import Accounted

_WORST_FIRST = (
    Outcome.NODE_FAILED,
    Outcome.OUT_OF_MEMORY,
    Outcome.TIMED_OUT,
    Outcome.PREEMPTED,
    Outcome.CANCELLED,
    Outcome.FAILED,
    Outcome.SUCCEEDED,
)


def as_one(parts: Mapping[int, Sequence[Accounted]]) -> tuple[Accounted, ...]:
    """Put the executions of parts together, by their places; the newest of each belong together.

    Slurm writes the parts' records one after the other: while one is missing, nothing is final.
    """
    is_whole = len(parts) > 1 and set(parts) == set(range(len(parts)))
    ordered = [parts[place] for place in sorted(parts)]
    count = max(map(len, ordered))
    merged = [_merged([known[-back] for known in ordered if back <= len(known)]) for back in range(count, 0, -1)]
    if not is_whole:
        merged = [msgspec.structs.replace(one, outcome=None) for one in merged]
    return tuple(merged)


def _merged(executions: Sequence[Accounted]) -> Accounted:
    """Tell one execution: the batch script ran in the first part, and so did its exit code and its node."""
    first = executions[0]
    unfinished = next((one for one in executions if one.outcome is None), None)
    if unfinished is not None:
        return msgspec.structs.replace(first, outcome=None, word=unfinished.word, exit_code=None, signal=None)
    worst = min(executions, key=lambda one: _WORST_FIRST.index(one.outcome or Outcome.SUCCEEDED))
    return msgspec.structs.replace(
        first,
        outcome=worst.outcome,
        word=worst.word,
        exit_code=None if first.exit_code == 0 and worst.outcome is not Outcome.SUCCEEDED else first.exit_code,
        ended_at=max((one.ended_at for one in executions if one.ended_at is not None), default=None),
    )
