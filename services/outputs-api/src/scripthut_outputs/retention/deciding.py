"""Decide what retention removes, and say why in words for people. Pure."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from scripthut_common.clusters import Retention
from scripthut_outputs.catalog.views import RunBytes
from scripthut_outputs.ledger import Removal

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def before(retention: Retention, now: datetime) -> datetime | None:
    """Tell when a task must have ended for its files to be old; `None` when none ever are."""
    if retention.max_age_days is None:
        return None
    try:
        return now - timedelta(days=retention.max_age_days)
    except OverflowError:
        return None


def choose(runs: Sequence[RunBytes], *, total_bytes: int, max_total_bytes: int) -> list[str]:
    """Choose the oldest runs whose removal brings a cluster below its limit, and none that would free nothing.

    A blob that several runs have counts once, and goes with the last of them; one that a run has which stays, never.

    Args:
        runs: those that may be removed, oldest first.
        total_bytes: what the cluster's stored files take.
        max_total_bytes: what they may take.
    """
    left_bytes, reached = total_bytes, 0
    for run in runs:
        if left_bytes <= max_total_bytes:
            break
        left_bytes -= run.freed_bytes
        reached = run.place
    return [run.run_id for run in runs if run.frees_from is not None and run.frees_from <= reached]


def reason(removal: Removal, retention: Retention, on: date) -> str:
    """Say what the ledger tells of a file that was removed."""
    if removal is Removal.AGE:
        days = retention.max_age_days or 0.0
        return f"removed on {on:%Y-%m-%d}: older than {days:g} {'day' if days == 1 else 'days'}"
    limit = size(retention.max_total_bytes or 0)
    return f"removed on {on:%Y-%m-%d}: the files of this cluster took more than {limit}, and the oldest runs went"


def size(size_bytes: int) -> str:
    """`1.5 GiB`."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    amount, left = size_bytes / 1024, list(_UNITS)
    while amount >= 1024 and len(left) > 1:
        amount, left = amount / 1024, left[1:]
    return f"{amount:.4g} {left[0]}"
