"""Run wrapped tasks in real bash, as a scheduler would."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from scripthut_common import layout
from scripthut_common.manifest import ExitRecord, parse
from scripthut_common.tasks import TaskSpec
from scripthut_poller.wrapper import batch_script

RUN, TASK, NONCE = "r1", "t1", "6f1d2c"


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """How a script ended, for whoever started it."""

    status: int
    out: bytes
    err: bytes


class Started:
    """A script on its way; what it prints goes to files, as a scheduler does it."""

    def __init__(self, process: subprocess.Popen[bytes], file: Path) -> None:
        self.process = process
        self._file = file

    def finish(self) -> Ran:
        """Wait for it; whatever is left of its session is killed."""
        try:
            status = self.process.wait(60)
        finally:
            _kill_session(self.process.pid)
        out, err = (self._file.with_suffix(suffix).read_bytes() for suffix in (".out", ".err"))
        return Ran(status=status, out=out, err=err)

    def send(self, number: signal.Signals) -> None:
        """Signal the script alone, as `scancel --batch` does."""
        self.process.send_signal(number)

    def signal_all(self, number: signal.Signals) -> None:
        """Signal it and everything that it started, as `scancel` does."""
        os.killpg(self.process.pid, number)


class Place:
    """A log directory and the tasks that run in it."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.outputs = Path(layout.output_dir(str(log_dir), RUN, TASK))
        self.records = Path(layout.records_dir(str(log_dir), RUN))

    def script(self, command: str, *, nonce: str = NONCE, working_dir: str | None = None, **spec: Any) -> bytes:
        """Write the script of one task."""
        task = TaskSpec(id=TASK, command=command, **spec)
        where = working_dir or str(self.log_dir.parent)
        return b"#!/bin/bash\n" + batch_script(
            task, run_id=RUN, log_dir=str(self.log_dir), working_dir=where, nonce=nonce
        )

    def start(
        self, script: bytes, *, job: str = "42", restarts: str = "0", env: dict[str, str] | None = None
    ) -> "Started":
        """Start a script the way a scheduler does: from a file, without a terminal, in a session of its own."""
        file = self.log_dir.parent / f"script-{job}"
        file.write_bytes(script)
        with file.with_suffix(".out").open("wb") as out, file.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen(
                ["bash", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                env={**os.environ, "SCRIPTHUT_JOB_ID": job, "SCRIPTHUT_RESTARTS": restarts, **(env or {})},
            )
        return Started(process=process, file=file)

    def run(self, command: str, *, job: str = "42", restarts: str = "0", **how: Any) -> Ran:
        """Run one task to its end."""
        return self.start(self.script(command, **how), job=job, restarts=restarts).finish()

    @property
    def record(self) -> ExitRecord:
        """The exit record that the last execution left."""
        return parse(Path(layout.manifest_path(str(self.log_dir), RUN, TASK)).read_bytes())

    @property
    def has_record(self) -> bool:
        """Whether an execution left a record."""
        return Path(layout.manifest_path(str(self.log_dir), RUN, TASK)).exists()


def _kill_session(leader: int) -> None:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            session = int(stat.read_bytes().rpartition(b") ")[2].split()[3])
        except (OSError, ValueError):
            continue
        if session == leader:
            os.kill(int(stat.parent.name), signal.SIGKILL)
