"""Files of every format there is a page for, as somebody who evaluates flows would leave them.

Its Markdown document uses all that documents can have.
"""

import json
import math
from base64 import b64encode
from datetime import datetime, timedelta
from typing import Any

from scripthut_outputs.ledger import FileState
from tests.integration.outputs import flows, plotting
from tests.integration.outputs.house import House, ended

RUN, TASK = "evaluation", "spectra"
SHOWCASE = """\
# Spectra behind the cylinder

The street sheds at $St = f D / U$; the peak of the lift lies at **0.208**, that of the drag at twice as much[^twice].
See [the settings](case.json), [the fit](fit.py) and [the table](profiles.csv).

> [!NOTE]
> Spectra are averages over eight windows with half of each in common.

> [!TIP]
> `fit.py` reads any probe: give it the name of a column.

> [!IMPORTANT]
> The reference has been measured at another blockage.

> [!WARNING]
> Below $f = 0.02$ the windows are too short to say anything.

> [!CAUTION]
> Probe 4 fell dry at t = 31 and is left out.

## What was asked

- [x] Frequency of shedding
- [x] Drag and its fluctuation
- [ ] Pressure at the rear
    1. at the wall
    2. one diameter behind

## What came out

| quantity | symbol | value | reference | apart |
|:--|:-:|--:|--:|--:|
| Strouhal number | $St$ | 0.208 | 0.205 | 1.5 % |
| mean drag | $\\overline{c_d}$ | 1.360 | 1.350 | 0.7 % |
| amplitude of lift | $\\hat c_l$ | 0.330 | 0.339 | 2.7 % |

$$
\\frac{\\partial \\omega}{\\partial t} + (u \\cdot \\nabla)\\,\\omega = \\frac{1}{Re} \\nabla^2 \\omega, \\qquad
c_d = \\frac{2}{\\rho U^2 D} \\oint (-p\\, n_x + \\tau_x)\\, \\mathrm{d}s
$$

![Residuals of momentum](residuals.png)

### How

```python
def strouhal(lift: np.ndarray, dt: float) -> float:
    \"\"\"Where the spectrum of the lift is highest.\"\"\"
    spectrum = np.abs(np.fft.rfft(lift * np.hanning(lift.size)))
    return float(np.fft.rfftfreq(lift.size, dt)[spectrum.argmax()])  # in units of U / D
```

```diff
-limiter = "minmod"
+limiter = "van-leer"
```

```mermaid
graph LR; mesh --> Re100 & Re400 --> spectra
```

Line by line, a ~~rough~~ first look at <kbd>q</kbd> and H<sub>2</sub>O, x<sup>2</sup>, <mark>marked</mark>.

<details><summary>Windows</summary>

1,024 samples each, Hann.

</details>

#### Remarks

***

Sent by *the group*, https://example.org/wake.

[^twice]: Both sides of the street push once in a period.
"""
_FIT = '''\
"""Fit a decaying wave to the lift of one probe."""

import sys
from pathlib import Path

import numpy as np
from scipy.optimize import curve_fit


def wave(t: np.ndarray, amplitude: float, frequency: float, growth: float) -> np.ndarray:
    """What is fitted: grows from nothing, then stays."""
    return amplitude * (1 - np.exp(-growth * t)) * np.sin(2 * np.pi * frequency * t)


def main(path: Path, column: str = "c_l") -> None:
    table = np.genfromtxt(path, delimiter=",", names=True)
    found, spread = curve_fit(wave, table["t"], table[column], p0=(0.3, 0.2, 0.1))
    for name, value, error in zip(("amplitude", "frequency", "growth"), found, np.sqrt(np.diag(spread))):
        print(f"{name:10} {value: .4f} +- {error:.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
'''
_LOG = """\
\x1b[1mspectra\x1b[0m 3.2.1 on nid001043, 64 ranks
reading probes.csv … \x1b[32mok\x1b[0m, 1,600 rows, 5 columns
\x1b[33mwarning\x1b[0m: probe 4 has 212 values that are not numbers from t = 31.0 on: left out
window  from     to       St      c_d
"""


async def fill(house: House, began: datetime) -> None:
    """One task that has evaluated a run."""
    await house.apply(ended(TASK, RUN, run_name="Spectra of the wake at Re 400", task_name="Spectra", job_id="81152",
                            node="nid001043", started_at=began, ended_at=began + timedelta(minutes=3)))  # fmt: skip
    for path, content in _files().items():
        await house.store(RUN, TASK, path.encode(), content)
    left: dict[str, Any] = {"state": FileState.TOO_LARGE, "sha256": None, "size_bytes": 9_663_676_416}
    await house.store(RUN, TASK, b"field/all-times.h5", b"", **left)
    await flows.settle(house, RUN, TASK)


def _files() -> dict[str, bytes]:
    case = {"reynolds": 400, "cells": 65_536, "dt": 0.002, "end": 40.0, "windows": {"count": 8, "shape": "hann"},
            "probes": [{"x": x, "y": 0.5, "is_dry": x == 4} for x in range(1, 6)], "limiter": None}  # fmt: skip
    steps = "".join(f"{n:6d}  {5 * n:5.1f}  {5 * n + 10:5.1f}   {0.2 + n / 900:.4f}  1.3{n}2\n" for n in range(8))
    events = "".join(json.dumps({"t": t, "probe": t % 5, "lift": round(math.sin(t), 3)}) + "\n" for t in range(40))
    return {
        "task-summary.md": SHOWCASE.encode(),
        "residuals.png": plotting.residuals((("Re 400", 0.96, 200),)),
        "wake.png": plotting.wake(0.25),
        "drag.svg": plotting.drag(400, 65_536).encode(),
        "profiles.csv": plotting.probes(600).encode(),
        "case.json": json.dumps(case, indent=2).encode(),
        "events.jsonl": events.encode(),
        "spectra.ipynb": json.dumps(_notebook()).encode(),
        "fit.py": _FIT.encode(),
        "spectra.log": (_LOG + steps + "\x1b[1;32mdone\x1b[0m in 2 min 51 s\n").encode(),
        "report.pdf": pdf("Spectra of the wake at Re 400", "The lift peaks at St = 0.208, the drag at 0.416."),
        "field.h5": b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 16,
        "not-a-picture.png": b"<!doctype html><h1>503 Service Unavailable</h1>\n",
        "empty.dat": b"",
    }


def _notebook() -> dict[str, Any]:
    def code(count: int, source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
        told = [{"metadata": {}, **output} for output in outputs]
        return {"cell_type": "code", "execution_count": count, "metadata": {}, "source": source, "outputs": told}

    plot = b64encode(plotting.residuals((("Re 400", 0.96, 200),))).decode()
    table = "<table><tr><th>probe</th><th>St</th></tr><tr><td>1</td><td>0.208</td></tr></table>"
    failed = {"output_type": "error", "ename": "KeyError", "evalue": "'p_rear'",
              "traceback": ["\x1b[31mKeyError\x1b[0m: 'p_rear'"]}  # fmt: skip
    said = "# Spectra at Re 400\n\nWe look for the frequency $f$ at which the street sheds."
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": said},
        code(1, "import pandas as pd\n\ntable = pd.read_csv('profiles.csv')\nlen(table)",
             {"output_type": "execute_result", "execution_count": 1, "data": {"text/plain": "600"}}),
        code(2, "axes = table.plot(x='t', y=['c_d', 'c_l'], logy=True)",
             {"output_type": "display_data", "data": {"image/png": plot, "text/plain": "<Figure>"}}),
        code(3, "table.groupby('probe').St.mean()", {"output_type": "display_data", "data": {"text/html": table}},
             {"output_type": "stream", "name": "stdout", "text": "\x1b[32m5 probes\x1b[0m\n"}),
        code(4, "table['p_rear'].plot()", failed),
    ]  # fmt: skip
    language = {"language_info": {"name": "python"}}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": language, "cells": cells}


def pdf(title: str, text: str) -> bytes:
    """One page with a title and a line."""
    page = f"BT /F1 20 Tf 60 760 Td ({title}) Tj /F1 12 Tf 0 -40 Td ({text}) Tj ET".encode()
    parts = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(page), page),
        b"<</Type/Font/Subtype/Type1/BaseFont/Times-Roman>>",
    )
    written, starts = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, start=1):
        starts.append(len(written))
        written += b"%d 0 obj%s endobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    ending = b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n"
    return written + ending % (len(parts) + 1, table, len(parts) + 1, len(written))
