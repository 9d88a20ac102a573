"""Three runs of a group that computes flows: one is over, one has failed, one is under way."""

import json
import struct
import zlib
from datetime import datetime, timedelta

from sqlalchemy import update

from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.catalog.changes import touch
from scripthut_outputs.ledger import FileState, Kind, OutputsState, Place
from scripthut_outputs.tables import ITEMS
from tests.integration.outputs import plotting
from tests.integration.outputs.house import House, ended, item

PHASES = 6
_LOG = """\
\x1b[1mwake\x1b[0m 3.2.1, 2 nodes, 256 ranks, mesh of {cells:,} cells
reading case.json … \x1b[32mok\x1b[0m
step     t      residual    c_d      c_l
"""
_TRACEBACK = """\
Traceback (most recent call last):
  File "/users/ada/wake/run.py", line 88, in <module>
    main(case)
  File "/users/ada/wake/run.py", line 61, in main
    field = advance(field, dt=case["dt"])
  File "/users/ada/wake/solver.py", line 204, in advance
    raise Diverged(f"residual is {residual} at step {step}; dt={dt} is above the limit {limit:.4f}")
wake.solver.Diverged: residual is nan at step 1843; dt=0.004 is above the limit 0.0031
srun: error: nid001043: task 17: Exited with exit code 3
"""


def png(width: int, height: int) -> bytes:
    """A grey picture."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = b"".join(b"\0" + b"\x80" * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


async def under_way(house: House, began: datetime) -> None:
    """Two cases are over, one runs, one waits for a node, the comparison waits for all."""
    shown = {"run_name": "Wake of a cylinder, Re 100 to 3200", "node": "nid001043"}
    await house.apply(
        ended(
            "mesh",
            "wake",
            job_id="81141",
            task_name="Mesh",
            started_at=began,
            ended_at=began + timedelta(seconds=52),
            **shown,
        ),
        ended(
            "re-100",
            "wake",
            job_id="81142",
            task_name="Re 100",
            position=1,
            started_at=began + timedelta(seconds=58),
            ended_at=began + timedelta(minutes=9),
            **shown,
        ),
        ended(
            "re-400",
            "wake",
            job_id="81143",
            task_name="Re 400",
            position=2,
            started_at=began + timedelta(seconds=58),
            ended_at=began + timedelta(minutes=21),
            **shown,
        ),
        item(
            "re-1000",
            "wake",
            job_id="81144",
            task_name="Re 1000",
            position=3,
            state=ItemState.RUNNING,
            started_at=began + timedelta(minutes=10),
            **shown,
        ),
        item(
            "re-3200",
            "wake",
            job_id="81145",
            task_name="Re 3200",
            position=4,
            state=ItemState.QUEUED,
            reason="waits for a node with 512 GB of memory",
            **(shown | {"node": None}),
        ),
        item(
            "compare",
            "wake",
            job_id="81146",
            task_name="Compare",
            position=5,
            state=ItemState.SUBMITTED,
            **(shown | {"node": None}),
        ),
    )
    await _case(house, "re-100", 100, 16_384, steps=120)
    await _case(house, "re-400", 400, 65_536, steps=320)
    await _so_far(house, began + timedelta(minutes=33, seconds=20))
    mesh = "**65,536** cells, growth 1.08, first cell at the wall 0.002 D."
    await house.store("wake", "mesh", b"", mesh.encode(), Place.RUN_SUMMARY, kind=Kind.MARKDOWN)
    await settle(house, "wake", "mesh", "re-100", "re-400")


async def _so_far(house: House, at: datetime) -> None:
    """What the case that runs has written by now."""
    for number in range(2):
        picture = plotting.wake(number / PHASES, 0.4)
        await house.store("wake", "re-1000", f"vorticity_{number + 1:04}.png".encode(), picture, followed_at=at)
    await house.store("wake", "re-1000", b"probes.csv", plotting.probes(140).encode(), followed_at=at)
    async with house.database.transaction() as connection:
        of_task = (ITEMS.c.run_id == "wake", ITEMS.c.task_id == "re-1000")
        await connection.execute(update(ITEMS).where(*of_task).values(followed_at=at))
    await _log(house, "wake", "re-1000", 262_144, 60)


async def _case(house: House, task_id: str, reynolds: int, cells: int, *, steps: int) -> None:
    """What one case writes: a series of pictures, a drawing, tables, its settings, and what it says of them."""
    strouhal, drag = 0.164 + reynolds / 9e3, 1.38 - reynolds / 2e4
    table = f"| quantity | value | reference |\n|---|--:|--:|\n| Strouhal number | {strouhal:.3f} | 0.165 |\n"
    table += f"| mean drag | {drag:.3f} | 1.350 |\n| amplitude of lift | 0.330 | 0.339 |\n"
    section = f"Strouhal number **{strouhal:.3f}**, mean drag **{drag:.3f}**, {steps * 100:,} steps.\n"
    if reynolds > 100:
        section += "\n![Residuals of momentum](residuals.png)\n"
    summary = f"# Flow at Re {reynolds}\n\nShedding is periodic after t = 12. Averages are over the last ten periods.\n"
    summary += f"\n{table}\n![Drag and lift over time](drag.svg)\n\nThe settings are in [case.json](case.json).\n"
    await house.store("wake", task_id, b"task-summary.md", summary.encode())
    await house.store("wake", task_id, b"", section.encode(), Place.RUN_SUMMARY, kind=Kind.MARKDOWN)
    await house.store("wake", task_id, b"drag.svg", plotting.drag(reynolds, cells).encode())
    curves = (("Re 100", 0.93, 120), (f"Re {reynolds}", 0.968, steps))
    await house.store("wake", task_id, b"residuals.png", plotting.residuals(curves[: 1 + (reynolds > 100)]))
    for number in range(PHASES):
        picture = plotting.wake(number / PHASES, 0.7 if reynolds == 100 else 1.0)
        await house.store("wake", task_id, f"vorticity_{number + 1:04}.png".encode(), picture)
    await house.store("wake", task_id, b"probes.csv", plotting.probes(steps * 5).encode())
    case = {"reynolds": reynolds, "cells": cells, "dt": 0.002, "scheme": {"order": 2, "limiter": None}, "end": 40.0}
    await house.store("wake", task_id, b"case.json", json.dumps(case, indent=2).encode())
    await house.store("wake", task_id, b"field.h5", b"\x89HDF\r\n\x1a\n" + bytes(4000))
    await _log(house, "wake", task_id, cells, steps)


async def failed(house: House, began: datetime) -> None:
    """One case has diverged, and what depends on it never ran."""
    shown = {"run_name": "Wake of a cylinder, larger steps in time", "node": "nid001043"}
    await house.apply(
        ended(
            "mesh",
            "unstable",
            job_id="81147",
            task_name="Mesh",
            started_at=began,
            ended_at=began + timedelta(seconds=51),
            **shown,
        ),
        ended(
            "re-3200",
            "unstable",
            job_id="81148",
            task_name="Re 3200",
            position=1,
            outcome=Outcome.FAILED,
            exit_code=3,
            reason="ended with exit code 3",
            started_at=began + timedelta(seconds=55),
            ended_at=began + timedelta(minutes=7),
            **shown,
        ),
        ended(
            "compare",
            "unstable",
            job_id="81149",
            task_name="Compare",
            position=2,
            outcome=Outcome.DEPENDENCY_FAILED,
            exit_code=None,
            reason="a task that it depends on did not succeed",
            **(shown | {"node": None}),
        ),
    )
    diverged = "# It diverged\n\n> The residual is not a number at step **1843**.\n\n"
    diverged += "| step | residual |\n|--:|--:|\n| 1840 | 3.1e+02 |\n| 1841 | 8.8e+07 |\n| 1842 | inf |\n"
    await house.store("unstable", "re-3200", b"task-summary.md", diverged.encode())
    await house.store("unstable", "re-3200", b"vorticity_0001.png", plotting.wake(0.4))
    await house.store("unstable", "re-3200", b"", diverged.encode(), Place.RUN_SUMMARY, kind=Kind.MARKDOWN)
    await house.store(
        "unstable", "re-3200", b"core.17", b"", state=FileState.TOO_LARGE, sha256=None, size_bytes=4_812_111_872
    )
    await house.store("unstable", "re-3200", b"scratch", b"", state=FileState.OVER_COUNT, sha256=None, count=1_204)
    stderr = _TRACEBACK.encode()
    await house.store("unstable", "re-3200", b"", stderr, Place.STDERR, kind=Kind.OTHER, size_bytes=len(stderr) * 90)
    await _log(house, "unstable", "re-3200", 262_144, 40)
    await settle(house, "unstable", "mesh")
    await settle(house, "unstable", "re-3200", state=OutputsState.INCOMPLETE)


async def over(house: House, began: datetime) -> None:
    """Everything went well."""
    for place, cells in enumerate((4_096, 16_384, 65_536)):
        task_id = f"cells-{cells}"
        at = began + timedelta(minutes=4 * place)
        await house.apply(
            ended(
                task_id,
                "mesh-study",
                run_name="Mesh study at Re 400",
                task_name=f"{cells:,} cells",
                position=place,
                job_id=f"8109{place}",
                started_at=at,
                ended_at=at + timedelta(minutes=2 + 3 * place),
                node=f"nid00{1043 + place}",
            )
        )
        said = f"Mean drag **{1.412 - 0.018 * place:.3f}** on {cells:,} cells.\n"
        await house.store("mesh-study", task_id, b"", said.encode(), Place.RUN_SUMMARY, kind=Kind.MARKDOWN)
        await house.store("mesh-study", task_id, b"residuals.png", plotting.residuals((("Re 400", 0.96, 200),)))
        await _log(house, "mesh-study", task_id, cells, 20)
        await settle(house, "mesh-study", task_id)


async def _log(house: House, run_id: str, task_id: str, cells: int, steps: int) -> None:
    lines = (
        f"{100 * step:5d}  {0.2 * step:5.1f}   {0.8 * 0.93**step:.3e}   1.3{step % 7}4   {0.03 * (step % 11):+.3f}\n"
        for step in range(steps)
    )
    log = _LOG.format(cells=cells) + "".join(lines)
    await house.store(run_id, task_id, b"", log.encode(), Place.STDOUT, kind=Kind.OTHER)


async def settle(house: House, run_id: str, *task_ids: str, state: OutputsState = OutputsState.COLLECTED) -> None:
    """Let the outputs of these tasks have been collected."""
    async with house.database.transaction() as connection:
        of_tasks = (ITEMS.c.run_id == run_id, ITEMS.c.task_id.in_(task_ids))
        await connection.execute(update(ITEMS).where(*of_tasks).values(outputs_state=state))
        await touch(connection, run_id, items=task_ids)
