"""The examples of docs/authors.md run as they stand, in plain bash."""

import json
import subprocess
from pathlib import Path

import msgspec

from scripthut_common import tasks
from scripthut_outputs.catalog import run_document
from scripthut_outputs.rendering import render
from scripthut_poller.generated import lists
from tests.integration.docs.pages import blocks


def write(folder: Path, script: str) -> dict[str, str]:
    """Run an example as a task's command would be; give what it wrote, by path."""
    (folder / "bin").mkdir()
    gnuplot = folder / "bin" / "gnuplot"
    gnuplot.write_text("#!/bin/sh\nprintf 'a picture'\n")
    gnuplot.chmod(0o755)
    (folder / "results").mkdir()
    (folder / "results" / "a.csv").write_text("1,2\n")
    (folder / "solver.log").write_text("1 0.5\n2 0.25\n")
    (folder / "loss.txt").write_text("0.9\n0.1\n")
    out = folder / "out"
    out.mkdir()
    paths = {
        "SCRIPTHUT_OUTPUT_DIR": str(out),
        "SCRIPTHUT_TASK_SUMMARY": str(out / "task-summary.md"),
        "SCRIPTHUT_RUN_SUMMARY": str(out / "run.md"),
    }
    path = f"{folder / 'bin'}:/usr/bin:/bin"
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=paths | {"PATH": path}, check=True)
    return {file.name: file.read_text() for file in out.iterdir()}


def test_the_first_example_leaves_a_picture_a_table_and_a_line(tmp_path: Path) -> None:
    written = write(tmp_path, blocks("authors.md", "bash")[0])

    html = render(written["task-summary.md"].encode(), size_bytes=100, max_bytes=1000).html
    assert written["residuals.png"] == "a picture"
    assert written["run.md"] == "- converged after 2 steps\n"
    assert html.count("<tr>") == 3
    assert "0.25</td>" in html


def test_the_second_example_shows_a_picture_and_leads_to_the_numbers(tmp_path: Path) -> None:
    written = write(tmp_path, blocks("authors.md", "bash")[1])

    html = render(written["task-summary.md"].encode(), size_bytes=200, max_bytes=1000).html
    assert written["a.csv"] == "1,2\n"
    assert "<strong>0.1</strong>" in html
    assert 'src="scripthut-file:loss.png"' in html
    assert 'href="scripthut-file:metrics.csv"' in html


def test_the_documents_may_run() -> None:
    documents = [json.loads(block) for block in blocks("authors.md", "json")]
    runs = [document for document in documents if "tasks" in document]
    single = [document for document in documents if "tasks" not in document and "command" in document]

    assert runs
    for run in runs:
        assert run_document.read(json.dumps(run).encode(), {"daint"}).tasks
    assert tasks.check([msgspec.convert(task, type=tasks.TaskSpec) for task in single]) == []


def test_the_script_that_plans_writes_a_list_that_joins_the_run(tmp_path: Path) -> None:
    (plan,) = (block for block in blocks("authors.md", "bash") if "# plan.sh" in block)
    (tmp_path / "meshes").mkdir()
    for name in ("coarse", "fine"):
        (tmp_path / "meshes" / f"{name}.msh").touch()

    subprocess.run(["bash", "-c", plan], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, check=True)

    planned = lists.parse((tmp_path / "plan.json").read_bytes())
    assert [(task.id, task.command) for task in planned] == [
        ("sim.coarse", "./solve meshes/coarse.msh"),
        ("sim.fine", "./solve meshes/fine.msh"),
        ("gather", "./gather results/*"),
    ]
    assert planned[-1].deps == ("sim.*",)
    assert not (tmp_path / "plan.json.new").exists()
