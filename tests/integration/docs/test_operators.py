"""The examples of docs/operators.md are what the services take."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripthut_common import clusters
from tests.integration.docs.pages import DOCS, blocks

CLUSTER = '[clusters.daint]\nscheduler = "slurm"\nhost = "daint.example.org"\nuser = "me"\n'


@pytest.mark.parametrize("block", [block for block in blocks("operators.md", "toml") if "[clusters.daint" in block])
def test_what_it_says_of_a_cluster_can_be_loaded(block: str, tmp_path: Path) -> None:
    file = tmp_path / "clusters.toml"
    file.write_text(block if "[clusters.daint]" in block else CLUSTER + block)

    assert "daint" in clusters.load(file)


def test_every_command_that_it_names_exists() -> None:
    page = (DOCS / "operators.md").read_text("utf-8")
    named = set(re.findall(r"scripthut-(outputs|poller) ([a-z][a-z-]+)", page))

    for program, command in sorted(named):
        module = f"scripthut_{program}"
        helped = subprocess.run([sys.executable, "-m", module, command, "--help"], capture_output=True, check=False)
        assert helped.returncode == 0, (program, command)


def test_a_store_that_holds_everything_is_told_so_by_the_command_on_the_page(database_uri: str, tmp_path: Path) -> None:
    (block,) = (block for block in blocks("operators.md", "bash") if block.startswith("scripthut-outputs verify"))
    settings = {"SCRIPTHUT_OUTPUTS_DATABASE_URL": database_uri, "SCRIPTHUT_OUTPUTS_BLOBS_URL": str(tmp_path / "blobs")}
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"

    migrate = f"scripthut-outputs migrate > /dev/null\n{block}"
    done = subprocess.run(
        ["bash", "-euc", migrate], env=settings | {"PATH": path}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done
