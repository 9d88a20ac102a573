"""Ask random walkers how warm a point of the plate is, and tell all the while what they have said so far."""

import argparse
import csv
import json
import math
import os
import random
import time
from pathlib import Path

from plot import heat_map, line_plot

Plate = list[list[float | None]]
START = (20, 14)
PORTION = 500
TOLD_EVERY_S = 2.0
GREEN, YELLOW, PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[0m"
_STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1))
_METHOD = r"""## How

A walker starts at point {start} and steps at random until it meets a point that is held at a temperature[^mean].
The mean of $n$ such temperatures $T_i$ is the one in question, with an error that falls as $1/\sqrt{{n}}$:

$$
\bar T = \frac{{1}}{{n}} \sum_{{i=1}}^{{n}} T_i \pm \frac{{s}}{{\sqrt{{n}}}}
$$

[^mean]: At rest every free point is as warm as its four neighbours are on average.
"""


class Walkers:
    """What they found: how often each point was visited, and the mean after every portion of walks."""

    def __init__(self, plate: Plate) -> None:
        self._plate = plate
        self.visits = [[0] * len(row) for row in plate]
        self.walks, self._sum, self._squares = 0, 0.0, 0.0
        self.table: list[tuple[int, float, float]] = []

    def walk(self) -> None:
        """Let one portion of walkers go."""
        for _ in range(PORTION):
            found = self._one()
            self._sum += found
            self._squares += found * found
        self.walks += PORTION
        mean = self._sum / self.walks
        spread = math.sqrt(max(0.0, self._squares / self.walks - mean * mean))
        self.table.append((self.walks, mean, spread / math.sqrt(self.walks)))

    def _one(self) -> float:
        x, y = START
        while (held := self._plate[y][x]) is None:
            self.visits[y][x] += 1
            dx, dy = random.choice(_STEPS)  # noqa: S311  a walk is no secret
            x, y = x + dx, y + dy
        return held


class Report:
    """Everything that there is to see, written anew with every word."""

    def __init__(self, out: Path, target: float) -> None:
        self._out, self._target = out, target
        self._told = 0

    def tell(self, walkers: Walkers, left_s: float) -> None:
        """Say how it stands; `left_s` is 0 at the end."""
        self._told += 1
        most = max(map(max, walkers.visits))
        field = [[math.sqrt(count / most) for count in row] for row in walkers.visits]
        heat_map(self._out / f"visits-{self._told:04d}.png", field, title=f"Where {walkers.walks} walkers went")
        with (self._out / "estimates.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("walks", "mean", "error"), *self._few(walkers)])
        Path(os.environ["SCRIPTHUT_TASK_SUMMARY"]).write_text(self._summary(walkers, left_s), "utf-8")
        walks, mean, error = walkers.table[-1]
        state = f"after {walks:,} walks" if left_s else f"by {walks:,} random walks"
        fragment = f"**{mean:.4f} ± {error:.4f}** at point {START}, {state}\n"
        Path(os.environ["SCRIPTHUT_RUN_SUMMARY"]).write_text(fragment, "utf-8")
        mark = f"{GREEN}fine{PLAIN}" if error <= self._target else f"{YELLOW}rough{PLAIN}"
        print(f"{walks:9,} walks  mean {mean:.4f}  error {error:.4f}  {mark}", flush=True)

    def end(self, walkers: Walkers) -> None:
        """Plot how the error fell, and keep the result for programs."""
        walks, mean, error = walkers.table[-1]
        line = ("error", [row[0] for row in walkers.table], [row[2] for row in walkers.table])
        line_plot(self._out / "error.png", [line], title="Error of the mean", x_label="walks", y_label="error")
        result = {"mean": mean, "error": error, "walks": walks}
        asked = {"start": START, "portion": PORTION, "target": self._target}
        (self._out / "result.json").write_text(json.dumps({"result": result, "asked": asked}, indent=1), "utf-8")

    def _few(self, walkers: Walkers) -> list[tuple[int, str, str]]:
        rows = walkers.table[:: max(1, len(walkers.table) // 40)]
        return [(walks, f"{mean:.5f}", f"{error:.5f}") for walks, mean, error in rows]

    def _summary(self, walkers: Walkers, left_s: float) -> str:
        walks, mean, error = walkers.table[-1]
        alert = (
            f"> [!NOTE]\n> Still walking, for {left_s:.0f} s more. This is rewritten every {TOLD_EVERY_S:g} s."
            if left_s
            else f"> [!TIP]\n> Done: **{mean:.4f} ± {error:.4f}** after {walks:,} walks."
        )
        table = "| walks | mean | error |\n|--:|--:|--:|\n" + "".join(
            f"| {walks:,} | {mean:.4f} | {error:.4f} |\n" for walks, mean, error in walkers.table[-1:-4:-1]
        )
        tasks = f"- [x] walk\n- [{'x' if error <= self._target else ' '}] error below {self._target:g}\n"
        return f"{alert}\n\n{table}\n{tasks}\n{_METHOD.format(start=START)}"


def main() -> None:
    """Walk for so many seconds over the plate that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("plate", type=Path)
    asked = parser.parse_args()
    walkers = Walkers(json.loads(asked.plate.read_text("utf-8")))
    report = Report(Path(os.environ["SCRIPTHUT_OUTPUT_DIR"]), target=0.004)
    until, told_at = time.monotonic() + asked.seconds, 0.0
    while (now := time.monotonic()) < until:
        walkers.walk()
        if now - told_at >= TOLD_EVERY_S:
            told_at = now
            report.tell(walkers, until - now)
    report.tell(walkers, 0.0)
    report.end(walkers)


if __name__ == "__main__":
    main()
