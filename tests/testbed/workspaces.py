"""A directory for each server of the testbed, which takes every process of it along when it goes."""

import subprocess
import sys
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import Self

from tests.testbed import warden

MARK = "SCRIPTHUT_TESTBED"


class Workspace:
    """A directory for one server; closing it, or the death of this process, ends all that runs there and removes it.

    It lies in /tmp whatever TMPDIR says, since sockets' paths must stay short and other accounts must reach it.
    """

    def __init__(self, name: str, *marks: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"testbed-{name}-", dir="/tmp"))
        self.path.chmod(0o755)
        self._children: list[subprocess.Popen[bytes]] = []
        own = [f"{MARK}={self.path}", *(mark.format(directory=self.path) for mark in marks)]
        self._warden = subprocess.Popen(
            [sys.executable, "-I", "-S", warden.__file__, self.path, *own],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )

    def directory(self, name: str, mode: int = 0o755) -> Path:
        """Make a folder in it."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o755)
        path.mkdir()
        path.chmod(mode)
        return path

    def write(self, name: str, content: str | bytes, mode: int = 0o644) -> Path:
        """Write a file in it, readable by every account unless `mode` says otherwise."""
        path = self.path / name
        path.touch(mode=0o600)
        path.chmod(mode)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def note(self, child: subprocess.Popen[bytes]) -> None:
        """Remember a process for the end."""
        self._children.append(child)
        with (self.path / warden.PIDS).open("a") as pids:
            pids.write(f"{child.pid} {warden.start_time(child.pid)}\n")

    def close(self) -> None:
        """End all that runs here at once, without a chance to save anything, and remove the directory."""
        assert self._warden.stdin is not None
        self._warden.stdin.close()
        self._warden.wait()
        for child in self._children:
            child.wait()


class Server:
    """A part of the testbed: it runs from its making until it is closed.

    Attributes:
        directory: where everything of it lies.
    """

    def __init__(self, name: str, *marks: str) -> None:
        self._workspace = Workspace(name, *marks)
        self.directory = self._workspace.path
        try:
            self._start()
        except BaseException:
            self._workspace.close()
            raise

    def __enter__(self) -> Self:
        """Give the running server."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the server."""
        self.close()

    def close(self) -> None:
        """End all that belongs to the server, jobs and sessions too, and remove its directory."""
        self._workspace.close()

    @abstractmethod
    def _start(self) -> None:
        """Write what the server needs and start it; return when it answers."""
