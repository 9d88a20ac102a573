"""Compare two solutions: a plot, a chart in SVG, a table, a notebook, and the run's most important line."""

import csv
import os
import sys
from pathlib import Path

import notebook
from plot import Line, line_plot

_CODE = """for target in targets:
    print(target, steps_to(explicit, target), steps_to(relaxation, target))
plot(explicit, relaxation)"""
_COLOURS = ("#0f6b74", "#d67026")


def read(folder: Path) -> Line:
    """Read what `solve.py` wrote."""
    with (folder / "residuals.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return folder.name, [float(row["step"]) for row in rows], [float(row["residual"]) for row in rows]


def steps_to(line: Line, residual: float) -> int:
    """The first step whose change is no larger than `residual`."""
    return next((round(x) for x, y in zip(line[1], line[2], strict=True) if y <= residual), len(line[1]))


def chart(lines: list[Line]) -> str:
    """Draw the number of steps of each as bars."""
    longest = max(len(xs) for _, xs, _ in lines)
    bars = []
    for number, (name, xs, _) in enumerate(lines):
        y, width = 66 + 74 * number, 470 * len(xs) / longest
        bars.append(
            f'<text x="24" y="{y + 25}" fill="#3a3e46">{name}</text>'
            f'<rect x="150" y="{y}" width="{width:.1f}" height="38" rx="4" fill="{_COLOURS[number]}"/>'
            f'<text x="{162 + width:.1f}" y="{y + 25}" fill="#3a3e46">{len(xs):,}</text>'
        )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 230" width="720" height="230"'
        ' font-family="sans-serif" font-size="17"><rect width="720" height="230" fill="#fff"/>'
        '<text x="24" y="38" font-size="20" font-weight="600" fill="#3a3e46">Steps until the plate is at rest</text>'
        f"{''.join(bars)}</svg>\n"
    )


def write_notebook(out: Path, table: list[tuple[str, int, int]]) -> None:
    """Keep the comparison as the notebook in which somebody might have made it."""
    said = "".join(f"{target} {slow} {fast}\n" for target, slow, fast in table)
    text = "# Two ways to rest\n\nHow many steps $n$ until $\\max_i |T_i^{n+1} - T_i^n| \\le \\varepsilon$?"
    cells = [notebook.prose(text), notebook.code(_CODE, 1, said, out / "comparison.png")]
    notebook.write(out / "comparison.ipynb", cells)


def main() -> None:
    """Write the comparison of the two folders that are named, the slower first."""
    out = Path(os.environ["SCRIPTHUT_OUTPUT_DIR"])
    lines = [read(Path(folder)) for folder in sys.argv[1:]]
    line_plot(out / "comparison.png", lines, title="Two ways to rest", x_label="step", y_label="largest change")
    (out / "steps.svg").write_text(chart(lines), "utf-8")
    targets = [10.0**-power for power in range(2, 6)]
    slow, fast = lines
    table = [(f"{target:.0e}", steps_to(slow, target), steps_to(fast, target)) for target in targets]
    with (out / "steps.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("change", *(line[0] for line in lines)), *table])
    write_notebook(out, table)
    rows = "\n".join(
        f"| {target} | {first:,} | {second:,} | {first / second:.0f} × |" for target, first, second in table
    )
    names = " | ".join(line[0] for line in lines)
    Path(os.environ["SCRIPTHUT_TASK_SUMMARY"]).write_text(
        f"Steps until no point changes by more than this:\n\n| change | {names} | ratio |\n|:--|--:|--:|--:|\n"
        f"{rows}\n\n"
        "![Both schemes, change by step](comparison.png)\n\nAs a notebook: [comparison.ipynb](comparison.ipynb)\n",
        "utf-8",
    )
    with Path(os.environ["SCRIPTHUT_RUN_SUMMARY"]).open("a", encoding="utf-8") as summary:
        _, first, second = table[-1]
        summary.write(f"| | {names} |\n|:--|--:|--:|\n| steps | {first:,} | {second:,} |\n\n")
        summary.write(f"Over-relaxation needs **{first / second:.0f} times** fewer steps.\n\n")
        summary.write("![Change by step of both schemes](comparison.png)\n")


if __name__ == "__main__":
    main()
