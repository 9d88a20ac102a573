"""Describe the plate: which points are held at which temperature, and a picture of it."""

import json
import os
import sys
from pathlib import Path

from plot import heat_map

POINTS = 40
_EQUATION = r"""$$
\frac{\partial T}{\partial t} = \frac{\partial^2 T}{\partial x^2} + \frac{\partial^2 T}{\partial y^2} \to 0
$$"""


def held(x: int, y: int) -> float | None:
    """The temperature at which a point is held; `None` for one that is free."""
    if y == 0:
        return 1.0 if 12 <= x < 28 else 0.0
    if x in {0, POINTS - 1} or y == POINTS - 1:
        return 0.0
    if 24 <= x < 32 and 22 <= y < 28:
        return 0.8
    return None


def main() -> None:
    """Write `plate.json`, `plate.png` and both summaries."""
    out = Path(os.environ["SCRIPTHUT_OUTPUT_DIR"])
    plate = [[held(x, y) for x in range(POINTS)] for y in range(POINTS)]
    free = sum(value is None for row in plate for value in row)
    (out / "plate.json").write_text(json.dumps(plate), "utf-8")
    heat_map(out / "plate.png", [[value or 0.0 for value in row] for row in plate], title="What is held hot")
    Path(os.environ["SCRIPTHUT_TASK_SUMMARY"]).write_text(
        f"""A square plate of **{POINTS} × {POINTS}** points.

| where | held at |
|:------|--------:|
| upper edge, the middle | 1.0 |
| a heater inside | 0.8 |
| all other edges | 0.0 |

{free:,} points are free; [plate.json](plate.json) has them all. Their temperature changes until it is at rest:

{_EQUATION}
""",
        "utf-8",
    )
    with Path(os.environ["SCRIPTHUT_RUN_SUMMARY"]).open("a", encoding="utf-8") as summary:
        summary.write(f"A plate of **{POINTS} × {POINTS}** points, {free:,} of them free.\n")
    sys.stdout.write(f"{POINTS} x {POINTS} points, {free} free\n")


if __name__ == "__main__":
    main()
