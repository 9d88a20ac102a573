"""The example in the authors' page writes a list that is taken."""

import re
import subprocess
from pathlib import Path

from scripthut_poller.generated.lists import fit, parse

PAGE = Path(__file__).parents[3] / "docs" / "authors.md"


def test_the_example_of_the_authors_page_is_taken(tmp_path: Path) -> None:
    found = re.search(r"```bash\n(#!/bin/bash\n# plan\.sh.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    (tmp_path / "meshes").mkdir()
    for name in ("coarse", "fine"):
        (tmp_path / "meshes" / f"{name}.msh").touch()

    subprocess.run(["bash", "-c", found[1]], cwd=tmp_path, check=True)

    tasks = fit(parse((tmp_path / "plan.json").read_bytes()), ["plan"], working_dir="/home/ada/flow")
    assert [(task.id, task.deps) for task in tasks] == [
        ("sim.coarse", ()),
        ("sim.fine", ()),
        ("gather", ("sim.coarse", "sim.fine")),
    ]
