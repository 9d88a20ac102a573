"""Start and stop the stand-in's two daemons, and do to it what an administrator or bad luck would."""

import json
import os
import pwd
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.testbed.accounts import ACCOUNTS, ensure_accounts
from tests.testbed.pbs import client
from tests.testbed.processes import Daemon, ServerError
from tests.testbed.workspaces import Server

PROGRAMS = (Path("/usr/bin/python3"),)
COMMANDS = ("qsub", "qstat", "qselect", "qdel", "qrls", "qhold")
_ROOT = Path(__file__).parents[3]


class PbsCluster(Server):
    """A running stand-in.

    Attributes:
        server: keeps the jobs; it may be stopped, paused and started while jobs run.
        mom: runs the jobs.
    """

    def __init__(self) -> None:
        super().__init__("pbs")

    @property
    def environment(self) -> dict[str, str]:
        """What a session needs in its environment to find the commands."""
        return {"PATH": f"{self.directory}/bin:/usr/local/bin:/usr/bin:/bin"}

    @property
    def daemons(self) -> list[Daemon]:
        """Both daemons."""
        return [self.server, self.mom]

    def directory_of(self, user: str) -> Path:
        """Give the folder in which this user may write."""
        return self.directory / "users" / user

    def set(self, **settings: bool) -> None:
        """Change `history` (kept or not) or `query_other_jobs` (whether users see each other's jobs)."""
        self._order("set", settings)

    def requeue(self, job_id: str) -> None:
        """Have a running job run again, as `qrerun` does."""
        self._order("requeue", {"id": job_id, "status": -11})

    def lose_node(self, job_id: str) -> None:
        """Lose the node of a running job, which is then run again."""
        self._order("requeue", {"id": job_id, "status": -20})

    def forget(self, job_id: str) -> None:
        """Remove a job's record, as `qdel -x` does."""
        self._order("forget", {"id": job_id})

    def _order(self, word: str, more: dict[str, Any]) -> None:
        answer = client.ask(str(self.directory / "socket"), {"command": "order", "word": word, **more})
        if answer["status"]:
            raise ServerError(answer["stderr"])

    def _start(self) -> None:
        ensure_accounts()
        for user in ACCOUNTS:
            own = self._workspace.directory(f"users/{user}", 0o700)
            os.chown(own, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        for name in ("spool", "scripts"):
            self._workspace.directory(name)
        self._write_commands()
        self.server = self._daemon("server", self._answers)
        self.mom = self._daemon("mom", (self.directory / "mom.up").exists)
        self.server.start()
        self.mom.start()

    def _write_commands(self) -> None:
        program = self._workspace.write("client.py", Path(client.__file__).read_bytes())
        self._workspace.directory("bin")
        for name in COMMANDS:
            text = f'#!/bin/sh\nexec /usr/bin/python3 -I -S {program} {self.directory}/socket {name} "$@"\n'
            self._workspace.write(f"bin/{name}", text, 0o755)

    def _daemon(self, name: str, is_ready: Callable[[], bool]) -> Daemon:
        return Daemon(
            [sys.executable, "-m", f"tests.testbed.pbs.{name}", self.directory],
            self._workspace,
            name=f"pbs_{name}",
            is_ready=is_ready,
            environment={"PYTHONPATH": str(_ROOT)},
        )

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self.directory / "socket"))
                connection.sendall(json.dumps({"command": "order", "word": "set"}).encode() + b"\n")
                return bool(connection.recv(1))
            except OSError:
                return False
