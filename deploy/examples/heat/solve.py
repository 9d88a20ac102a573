"""Let the plate come to rest, by small explicit steps or by over-relaxation; exit 3 when it blows up."""

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from plot import heat_map, line_plot

Field = list[list[float]]
Plate = list[list[float | None]]
TARGET = 1e-5
LIMIT = 1e6


def explicit(field: Field, plate: Plate, alpha: float) -> float:
    """Take one step in time; say how much the hottest change was."""
    old, largest = [row[:] for row in field], 0.0
    for y in range(1, len(field) - 1):
        row, above, here, below = field[y], old[y - 1], old[y], old[y + 1]
        for x in range(1, len(row) - 1):
            if plate[y][x] is None:
                change = alpha * (above[x] + below[x] + here[x - 1] + here[x + 1] - 4 * here[x])
                row[x] = here[x] + change
                largest = max(largest, abs(change))
    return largest


def relaxation(field: Field, plate: Plate, omega: float) -> float:
    """Sweep once over the plate, overshooting each point's equation; say how much the hottest change was."""
    largest = 0.0
    for y in range(1, len(field) - 1):
        row, above, below = field[y], field[y - 1], field[y + 1]
        for x in range(1, len(row) - 1):
            if plate[y][x] is None:
                change = omega * ((above[x] + below[x] + row[x - 1] + row[x + 1]) / 4 - row[x])
                row[x] += change
                largest = max(largest, abs(change))
    return largest


SCHEMES: dict[str, Callable[[Field, Plate, float], float]] = {"explicit": explicit, "relaxation": relaxation}


class Solution:
    """How it went: the change of every step, and pictures on the way."""

    def __init__(self, out: Path, name: str) -> None:
        self.residuals: list[float] = []
        self.pictures: list[str] = []
        self._out, self._name = out, name

    def step(self, field: Field, residual: float) -> None:
        """Note one step, and draw the plate after 1, 10, 100 … of them."""
        self.residuals.append(residual)
        count = len(self.residuals)
        if count in {1, 10, 100, 1000}:
            self.draw(field)
        if count % 250 == 0:
            print(f"step {count:5d}  change {residual:.2e}", flush=True)

    def draw(self, field: Field) -> None:
        """Draw the plate as it is."""
        count = len(self.residuals)
        name = f"plate-{count:04d}.png"
        heat_map(self._out / name, field, title=f"Temperature, step {count}")
        self.pictures.append(name)

    def write(self) -> None:
        """Write the changes as a table and as a plot."""
        steps = range(1, len(self.residuals) + 1)
        with (self._out / "residuals.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("step", "residual"), *zip(steps, self.residuals, strict=True)])
        line = (self._name, steps, self.residuals)
        labels = {"title": "Largest change by step", "x_label": "step", "y_label": "largest change"}
        line_plot(self._out / "residuals.png", [line], **labels)


def solve(plate: Plate, scheme: str, factor: float, solution: Solution) -> Field:
    """Step until nothing changes any more.

    Raises:
        FloatingPointError: a temperature has left every bound.
    """
    field = [[value or 0.0 for value in row] for row in plate]
    while not solution.residuals or solution.residuals[-1] > TARGET:
        solution.step(field, SCHEMES[scheme](field, plate, factor))
        if solution.residuals[-1] > LIMIT:
            solution.draw(field)
            message = f"diverged at step {len(solution.residuals)}: change {solution.residuals[-1]:.1e} in one step"
            raise FloatingPointError(message)
    solution.draw(field)
    return field


def summarise(solution: Solution, name: str, seconds: float, fault: str | None) -> None:
    """Write the task's summary and its line of the run's."""
    steps, last = len(solution.residuals), solution.residuals[-1]
    rows = [1, *(count for count in (10, 100, 1000) if count < steps), steps]
    table = "\n".join(f"| {count:,} | {solution.residuals[count - 1]:.2e} |" for count in rows)
    verdict = (
        f"> [!CAUTION]\n> It blew up: {fault}. Explicit steps are stable up to a factor of $1/4$."
        if fault
        else f"**At rest** after {steps:,} steps, {seconds:.1f} s."
    )
    Path(os.environ["SCRIPTHUT_TASK_SUMMARY"]).write_text(
        f"{verdict}\n\n![Largest change of every step](residuals.png)\n\n| step | change |\n|--:|--:|\n{table}\n\n"
        "Every step is in [residuals.csv](residuals.csv).\n",
        "utf-8",
    )
    told = f"**diverged** at step {steps}" if fault else f"at rest after **{steps:,}** steps, last change `{last:.1e}`"
    with Path(os.environ["SCRIPTHUT_RUN_SUMMARY"]).open("a", encoding="utf-8") as summary:
        summary.write(f"{name}: {told}\n")


def main() -> int:
    """Solve, and leave everything that there is to see even when it fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scheme", choices=SCHEMES)
    parser.add_argument("factor", type=float)
    parser.add_argument("plate", type=Path)
    asked = parser.parse_args()
    name = f"{asked.scheme}, factor {asked.factor:.2f}"
    solution = Solution(Path(os.environ["SCRIPTHUT_OUTPUT_DIR"]), name)
    start, fault = time.monotonic(), None
    try:
        solve(json.loads(asked.plate.read_text("utf-8")), asked.scheme, asked.factor, solution)
    except FloatingPointError as error:
        fault = str(error)
    solution.write()
    summarise(solution, name, time.monotonic() - start, fault)
    if fault:
        print(f"solve.py: {fault}\nsolve.py: explicit steps are stable up to a factor of 0.25", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
