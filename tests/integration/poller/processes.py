"""The poller as a process of its own, to be killed, stopped and asked how it is."""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tests.testbed.processes import wait_until


class Process:
    """`python -m scripthut_poller run` with its settings."""

    def __init__(self, environment: dict[str, str], log: Path, port: int) -> None:
        self._environment = os.environ | environment
        self._log = log
        self._url = f"http://127.0.0.1:{port}/health/"
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            argv = [sys.executable, "-m", "scripthut_poller", "run"]
            self._running = subprocess.Popen(argv, env=self._environment, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        """Its process id while it runs."""
        assert self._running is not None
        return self._running.pid

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text()

    def send(self, number: signal.Signals) -> None:
        """Signal it and do not wait."""
        assert self._running is not None
        self._running.send_signal(number)

    def end(self, number: signal.Signals) -> int:
        """Signal it and return its exit status."""
        if self._running is None:
            return 0
        self._running.send_signal(number)
        return self._running.wait(timeout=30)

    def migrate(self) -> str:
        argv = [sys.executable, "-m", "scripthut_poller", "migrate"]
        return subprocess.run(argv, env=self._environment, check=True, capture_output=True, text=True).stdout

    async def report(self, kind: str) -> tuple[int, str]:
        return await asyncio.to_thread(self._get, self._url + kind)

    async def wait_answer(self, status: int) -> str:
        """Wait until it is ready (200), or says that it is not (503); return what it says."""
        what = f"the poller to answer {status}"
        await asyncio.to_thread(wait_until, lambda: self._get(self._url + "ready")[0] == status, what, 60, 0.1)
        return (await self.report("ready"))[1]

    @staticmethod
    def _get(url: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)
