"""Server programs as the tests want them: each in its own session, known by pid, silent unless it fails."""

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypedDict

from tests.testbed import warden
from tests.testbed.workspaces import MARK, Workspace


class ServerError(Exception):
    """A server of the testbed did not start, stop or answer; the message ends with the last lines of its log."""


def wait_until(is_true: Callable[[], bool], what: str, timeout_s: float = 30, every_s: float = 0.01) -> None:
    """Return as soon as the condition holds.

    Raises:
        ServerError: it did not hold in time; `what` is the sentence's object.
    """
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            raise ServerError(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(every_s)


def run(
    argv: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    user: str | None = None,
) -> str:
    """Run a program of the testbed to its end and return its standard output.

    Raises:
        ServerError: it ended with another status than 0; the message has its standard error.
    """
    done = subprocess.run(
        [str(word) for word in argv],
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=None if environment is None else {"PATH": os.environ["PATH"], **environment},
        cwd="/",
        umask=0o022,
        **_become(user),
        timeout=120,
    )
    if done.returncode != 0:
        words = " ".join(str(word) for word in argv)
        raise ServerError(f"`{words}` ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Daemon:
    """One server program that can be started, stopped, killed and paused as often as a test likes."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        workspace: Workspace,
        *,
        is_ready: Callable[[], bool],
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        timeout_s: float = 60,
    ) -> None:
        """Describe the server; `start` starts it.

        Args:
            argv: the program by its whole path, kept in the foreground by its arguments.
            workspace: where its log goes, and what ends it at last.
            is_ready: whether it answers; asked until it says yes.
            name: what to call it; its program's name by default.
            environment: all that the program sees besides PATH.
            user: the account that runs it; None means ours.
            stop_signal: what asks it to end in good order.
            timeout_s: how long starting and stopping may take.
        """
        self.name = name or Path(argv[0]).name
        self.log = workspace.path / f"{self.name}.log"
        self._argv = [str(word) for word in argv]
        self._workspace = workspace
        self._is_ready = is_ready
        self._environment = {"PATH": os.environ["PATH"], MARK: str(workspace.path), **(environment or {})}
        self._user = user
        self._stop_signal = stop_signal
        self._timeout_s = timeout_s
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The pid of the running server."""
        if self._running is None:
            raise ServerError(f"{self.name} is not running")
        return self._running.pid

    @property
    def is_alive(self) -> bool:
        """Whether the server's process is there."""
        return self._running is not None and self._running.poll() is None

    def start(self) -> Self:
        """Start the server and wait until it answers."""
        return self.spawn().wait_ready()

    def spawn(self) -> Self:
        """Start the server without waiting."""
        if self.is_alive:
            raise ServerError(f"{self.name} is running already, pid {self.pid}")
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._workspace.path,
                start_new_session=True,
                umask=0o022,
                **_become(self._user),
            )
        self._workspace.note(self._running)
        return self

    def wait_ready(self) -> Self:
        """Wait until the server answers.

        Raises:
            ServerError: it ended, or does not answer in time; with the last lines of its log.
        """
        try:
            wait_until(lambda: self._is_ready() or not self.is_alive, f"{self.name} to answer", self._timeout_s)
        except ServerError as error:
            raise ServerError(f"{error}\n{self.tail()}") from None
        if not self.is_alive:
            raise ServerError(f"{self.name} ended with {self._running and self._running.returncode}\n{self.tail()}")
        return self

    def stop(self) -> None:
        """Ask the server to end in good order, and see that nothing of it is left."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """End the server and its children as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start the server."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Make the server and its children hang: connections are taken by the kernel, and nobody answers."""
        self._signal_family(signal.SIGSTOP)

    def resume(self) -> None:
        """Wake the paused server."""
        self._signal_family(signal.SIGCONT)

    def mend(self) -> None:
        """Bring the server back, whatever a test did to it."""
        if self.is_alive:
            self.resume()
        else:
            self.start()

    def tail(self, lines: int = 30) -> str:
        """Show the end of the log."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return f"({self.log} does not exist)"
        return "\n".join([f"the end of {self.log}:", *text.splitlines()[-lines:]])

    def _signal_family(self, number: signal.Signals) -> None:
        for pid in {self.pid} | warden.descendants({self.pid}):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _end(self, number: signal.Signals) -> None:
        if self._running is None:
            return
        if number is signal.SIGKILL:
            # All hold still first: none tells anybody of another's end.
            self._signal_family(signal.SIGSTOP)
            family = warden.descendants({self._running.pid})
            self._running.kill()
            warden.kill_all(family)
        else:
            family = warden.descendants({self._running.pid})
            self._running.send_signal(number)
            self._signal_family(signal.SIGCONT)
        try:
            self._running.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{self.name} does not end on signal {number}\n{self.tail()}") from None
        warden.kill_all({pid for pid in family if warden.start_time(pid) is not None})
        wait_until(lambda: not any(map(warden.start_time, family)), f"the children of {self.name} to end")
        self._running = None


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _become(user: str | None) -> _Identity:
    """Say by subprocess's arguments who runs a program; None means us."""
    if user is None:
        return {}
    account = pwd.getpwnam(user)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
