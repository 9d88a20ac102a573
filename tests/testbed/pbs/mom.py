"""The node of the stand-in: run the scripts that the server leaves in `spool`, as their owners, and note their ends.

`ID.RUN.start` says what to run, `ID.RUN.kill` that it must end; `ID.RUN.end` is ours. It knows no server: jobs go on
while that is down.
"""

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.testbed import warden

# The script is a child of the login shell, which gives its status on; output is written where it belongs.
_TOP = 'cd; umask 022; exec >> "$2" 2>> "$3" < /dev/null; /bin/bash "$1"; exit "$?"'
_KILL_DELAY_S = 2.0


class Run:
    """One run of one job."""

    def __init__(self, base: Path, order: dict[str, Any]) -> None:
        self.base = base
        self._is_killed = False
        self._is_late = False
        self._kill_at: float | None = None
        account = pwd.getpwnam(order["user"])
        words = ["/bin/bash", "-c", _TOP, "bash", order["script"], order["stdout"], order["stderr"]]
        self._top = subprocess.Popen(
            words,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            cwd="/",
            env={**order["environment"], "HOME": account.pw_dir, **_mark()},
            start_new_session=True,
        )
        walltime_s = order["walltime_s"]
        self._end_at = time.time() + walltime_s if walltime_s else None

    def look(self) -> bool:
        """See to the run; false when it is over."""
        status = self._top.poll()
        if status is not None:
            self._note(status)
            return False
        now = time.time()
        if self._kill_at is None and (self.base.with_suffix(".kill").exists() or now > (self._end_at or now)):
            self._is_late = not self.base.with_suffix(".kill").exists()
            self._is_killed, self._kill_at = True, now + _KILL_DELAY_S
            self._signal(signal.SIGTERM)
        elif self._kill_at is not None and now > self._kill_at:
            self._signal(signal.SIGKILL)
        return True

    def _note(self, status: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._top.pid, signal.SIGKILL)
        exit_status = 256 - status if status < 0 else status
        if self._is_late:
            exit_status = -29
        elif self._is_killed and exit_status == 128 + signal.SIGTERM:
            exit_status = 256 + signal.SIGTERM
        text = json.dumps({"status": exit_status, "at": time.time()})
        draft = self.base.with_suffix(".draft")
        draft.write_text(text)
        draft.rename(self.base.with_suffix(".end"))

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to all but the shell on top, as the recordings of caught signals want it."""
        for pid in warden.descendants({self._top.pid}):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _mark() -> dict[str, str]:
    """Keep what the testbed finds its processes by."""
    return {name: value for name, value in os.environ.items() if name == "SCRIPTHUT_TESTBED"}


def main(directory: Path) -> None:
    """Run what comes until we are ended."""
    spool, runs = directory / "spool", dict[Path, Run]()
    (directory / "mom.up").touch()
    while True:
        for start in spool.glob("*.start"):
            base = start.with_suffix("")
            order = json.loads(start.read_text())
            start.unlink()
            runs[base] = Run(base, order)
        runs = {base: run for base, run in runs.items() if run.look()}
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
