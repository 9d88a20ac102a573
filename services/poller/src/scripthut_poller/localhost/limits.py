"""Read a time limit as Slurm spells it. Pure."""

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def seconds(limit: str | None) -> int | None:
    """Count the seconds of `minutes`, `M:S`, `H:M:S`, `D-H`, `D-H:M` or `D-H:M:S`; `None` means no limit."""
    if limit is None:
        return None
    days, dash, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    units: tuple[int, ...] = (_HOUR_S, _MINUTE_S, 1)
    if not dash and len(parts) < 3:
        units = units[1:]
    return int(days or 0) * _DAY_S + sum(part * unit for part, unit in zip(parts, units, strict=False))
