"""The example run does what it promises, with bash and python3 and nothing else."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scripthut_common import tasks

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
DOCUMENT: dict[str, Any] = json.loads((EXAMPLES / "run.json").read_text("utf-8"))


def run_task(task: dict[str, Any], outputs: Path) -> "subprocess.CompletedProcess[str]":
    """Run one task as the wrapper would: its own directory, three paths, and the folder of examples to work in."""
    out, records = outputs / task["id"], outputs / "_run"
    out.mkdir(parents=True)
    records.mkdir(exist_ok=True)
    paths = {
        "SCRIPTHUT_OUTPUT_DIR": str(out),
        "SCRIPTHUT_TASK_SUMMARY": str(out / "task-summary.md"),
        "SCRIPTHUT_RUN_SUMMARY": str(records / f"{task['id']}.md"),
    }
    return subprocess.run(
        ["bash", "-c", task["command"].replace("walk.py 36", "walk.py 1")],
        cwd=EXAMPLES,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **paths},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a folder with spaces") / "outputs"


@pytest.fixture(scope="module")
def ended(outputs: Path) -> dict[str, "subprocess.CompletedProcess[str]"]:
    return {task["id"]: run_task(task, outputs) for task in DOCUMENT["tasks"]}


def test_the_document_passes_the_door() -> None:
    specs = msgspec.convert(DOCUMENT["tasks"], type=list[tasks.TaskSpec])

    assert tasks.check(specs) == []


def test_every_task_succeeds_but_the_one_that_fails_on_purpose(
    ended: dict[str, "subprocess.CompletedProcess[str]"],
) -> None:
    codes = {name: done.returncode for name, done in ended.items()}

    assert codes.pop("unstable") == 3
    assert set(codes.values()) == {0}


def test_the_failure_says_why(ended: dict[str, "subprocess.CompletedProcess[str]"]) -> None:
    assert "diverged at step" in ended["unstable"].stderr


@pytest.mark.usefixtures("ended")
def test_there_is_something_of_every_kind_to_see(outputs: Path) -> None:
    pictures = list(outputs.glob("*/*.png"))

    assert len(pictures) >= 10
    assert all(picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") for picture in pictures)
    assert (outputs / "compare" / "steps.svg").read_text("utf-8").startswith("<svg ")
    assert (outputs / "explicit" / "residuals.csv").read_text("utf-8").startswith("step,residual")
    assert json.loads((outputs / "compare" / "comparison.ipynb").read_text("utf-8"))["nbformat"] == 4
    assert json.loads((outputs / "walk" / "result.json").read_text("utf-8"))["result"]["walks"] >= 500
    assert len(list((outputs / "walk").glob("visits-000*.png"))) >= 2
    assert "[!TIP]" in (outputs / "walk" / "task-summary.md").read_text("utf-8")
    assert "![" in (outputs / "unstable" / "task-summary.md").read_text("utf-8")
    assert len(list((outputs / "_run").glob("*.md"))) == 7
