"""The truth table as Markdown."""

from collections.abc import Sequence

from tests.truth.telling import Row, Said

_HEAD = (
    "way to end", "squeue", "sacct", "outcome", "confirmed", "evidence", "exit", "signal", "attempt", "reason",
    "verdicts, seconds after the end",
)  # fmt: skip


def render(rows: Sequence[Row]) -> str:
    """Write the table, a line for each way to end."""
    lines = [_HEAD, tuple("--" for _ in _HEAD), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Row) -> tuple[str, ...]:
    last = row.last
    if last is None:
        return (row.ending.what, row.queue, row.accounting, *("" for _ in _HEAD[4:]), "none")
    return (
        row.ending.what,
        row.queue or "-",
        row.accounting or "-",
        str(last.outcome),
        "yes" if last.confirmed else "no",
        str(last.evidence),
        _number(last.exit_code),
        _number(last.signal),
        str(last.attempt),
        last.reason or "",
        ", ".join(map(_said, row.said)),
    )


def _said(said: Said) -> str:
    """Write `timed_out 0.9 (scheduler, revision 1)`."""
    after = "?" if said.after_s is None else f"{said.after_s:.1f}"
    revision = f", revision {said.item.revision}" if said.item.revision else ""
    return f"{said.item.outcome} {after} ({said.item.evidence}{revision})"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
