"""Tasks, runs and times in words for a terminal. Pure."""

from collections.abc import Mapping
from datetime import datetime

from scripthut_common import text

from .answers import ALIVE, Item, Output
from .screen import in_order


def counted(counts: Mapping[str, int]) -> str:
    """`12 of 40 ended: 10 succeeded, 2 failed, 28 running`."""
    total = sum(counts.values())
    ended = sum(count for word, count in counts.items() if word not in ALIVE)
    told = ", ".join(f"{count:,} {word_of(word)}" for word, count in in_order(counts))
    return f"{ended:,} of {total:,} ended" + (f": {told}" if told else "")


def tasks_of(count: int) -> str:
    """`1 task`, `1,200 tasks`."""
    return f"{count:,} task{'s' * (count != 1)}"


def word_of(word: str) -> str:
    """`timed_out` as `timed out`; a word that nobody knows as it is."""
    return text.name(word).replace("_", " ")


def ending(item: Item) -> str:
    """`exit code 3`, `signal 9`, and the scheduler's or our reason; empty where there is nothing to say."""
    parts = []
    if item.exit_code:
        parts.append(f"exit code {item.exit_code}")
    if item.signal:
        parts.append(f"signal {item.signal}")
    if item.reason:
        parts.append(text.line(item.reason))
    return ", ".join(parts)


def lasted(item: Item, now: datetime) -> str:
    """How long it ran, so far if it runs; empty before that."""
    if item.started_at is None:
        return ""
    return text.duration((item.ended_at or now) - item.started_at)


def named(item: Item) -> str:
    """What its author called it; empty where that is its id."""
    return "" if item.task_name == item.task_id else text.name(item.task_name)


def why_left_out(file: Output) -> str:
    """`too large: 12 MiB, at most 10 MiB`."""
    return word_of(file.state) + (f": {text.line(file.reason)}" if file.reason else "")
