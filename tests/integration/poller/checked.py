"""Run `scripthut-poller check` as its user does, and read what it prints."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from tests.testbed.accounts import ALICE
from tests.testbed.sshd import Sshd

COMMAND = Path(sys.executable).with_name("scripthut-poller")


class Checked:
    """One run of the command: its exit status, what it printed, and the lines by step."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.exit_status = done.returncode
        self.text = done.stdout
        self.stderr = done.stderr

    @property
    def lines(self) -> dict[str, str]:
        """The lines as `ok | what was said`, by step."""
        return {
            line[8:21].strip(): f"{line[2:6].strip()} | {line[21:]}"
            for line in self.text.splitlines()
            if line[:2] == "  "
        }

    @property
    def troubles(self) -> dict[str, str]:
        """The lines that are not fine."""
        return {step: line for step, line in self.lines.items() if not line.startswith("ok |")}

    @property
    def report(self) -> Any:
        """What `--json` printed."""
        return json.loads(self.text)


class Checks:
    """A clusters file that is built up, and the command that checks it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clusters.toml"
        self._file.write_text("")

    def add(self, name: str, **settings: object) -> Self:
        """Describe one more cluster."""
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
        self._file.write_text(f"{self._file.read_text()}[clusters.{name}]\n{''.join(lines)}")
        return self

    def add_slurm(self, sshd: Sshd, **settings: object) -> Self:
        """Describe the Slurm cluster behind a login node, as `bed`."""
        usual = {
            "scheduler": "slurm",
            "host": sshd.host,
            "port": sshd.port,
            "user": ALICE,
            "key_file": str(sshd.key(ALICE)),
            "known_hosts_file": str(sshd.known_hosts),
        }
        return self.add("bed", **usual | settings)

    def run(self, *arguments: str, **variables: str) -> Checked:
        """Check; `variables` are more of the environment."""
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
        environment |= {"SCRIPTHUT_POLLER_CLUSTERS_FILE": str(self._file), **variables}
        argv = [str(COMMAND), "check", *arguments]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=150)
        print(done.stdout, done.stderr)
        return Checked(done)
