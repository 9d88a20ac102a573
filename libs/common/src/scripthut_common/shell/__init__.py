"""The shell: run one fixed program on a cluster, bounded in time and bytes, and know that the answer is whole.

`ssh.SshShell` works through one multiplexed connection, `local.LocalShell` on this machine; `sudo.SudoShell` and
`certificates.OwnerShell` are somebody else there, and `accounts.AccountShells` gives the right one. `tests/contract`
holds all to the same rules. Programs are fixed POSIX sh text; every variable part travels on standard input
or as `argv`, which the program reads as "$1", "$2"…
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

MIB = 1024 * 1024


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """Fixed sh text with the bounds it runs under. `name` is for logs and metrics.

    `idle_timeout_s` bounds the silence between two pieces of output, `timeout_s` the whole run. More standard output
    than `max_stdout_bytes` is an error; of standard error the beginning is kept.
    """

    name: str
    text: str
    timeout_s: float = 60.0
    idle_timeout_s: float = 60.0
    max_stdout_bytes: int = 64 * MIB
    max_stderr_bytes: int = 64 * 1024


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer: the end marker arrived and the exit status is the program's own.

    `noise_bytes` is how much the login shell printed before the program began; it is in neither output.
    """

    stdout: bytes
    stderr: bytes
    exit_status: int
    noise_bytes: int = 0


class RemoteShell(Protocol):
    """Run programs on one cluster, under one identity."""

    async def run(self, program: Program, *argv: str, stdin: bytes = b"") -> Answer:
        """Run to the end and return the whole answer, whatever its exit status.

        Raises:
            NoConnection: nothing has run.
            Unreachable: the answer ended without its end marker.
            AccessRefused: the host key or our key was refused.
            TimedOut: past the program's time limit; the remote program is ended.
            LimitExceeded: more output than the program's limit.
        """

    def stream(
        self, program: Program, *argv: str, stdin: bytes = b""
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Run and yield standard output while it arrives, without the end marker.

        The iterator raises as `run` does; its normal end means: marker seen, exit status 0. A non-zero exit
        status raises `BadOutput` with the head of standard error.
        """

    async def close(self) -> None:
        """End the connection."""

    @property
    def commands_run(self) -> int:
        """How many programs were started so far, for the budget, metrics and tests."""
