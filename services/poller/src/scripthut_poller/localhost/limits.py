"""How much runs at the same time and how long: the supervisor's terms, and a job's time limit. Pure."""

import os

import msgspec

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def _default_max_running() -> int:
    return min(4, os.cpu_count() or 1)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor is started with.

    Args:
        max_running: jobs that run at the same time.
        idle_s: how long it stays when there is nothing to do.
        grace_s: between asking a job to end and ending it.
    """

    max_running: int = msgspec.field(default_factory=_default_max_running)
    idle_s: float = 10.0
    grace_s: float = 10.0


def seconds(limit: str | None) -> int | None:
    """Count the seconds of `minutes`, `M:S`, `H:M:S`, `D-H`, `D-H:M` or `D-H:M:S`; `None` means no limit, as zero does.

    Source: sbatch(1), --time.
    """
    days, dash, rest = (limit or "0").rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    units: tuple[int, ...] = (_HOUR_S, _MINUTE_S, 1)
    if not dash and len(parts) < 3:
        units = units[1:]
    total_s = int(days or 0) * _DAY_S + sum(part * unit for part, unit in zip(parts, units, strict=False))
    return total_s or None
