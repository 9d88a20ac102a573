"""The shell of an owner of jobs, by sudo over the service's own connection; `deploy/as-owner` answers there."""

import re
import time
from collections.abc import Callable

from scripthut_common.clusters import Cluster
from scripthut_common.errors import AccountRefused, LimitExceeded, Unreachable

from . import Program
from .bounded import BoundedShell, Running
from .wire import MAX_COMMAND_BYTES

VERSION = 1
_MAX_REQUEST_BYTES = 1024 * 1024
# Each refusal stands in the cluster's logs, and may be mailed to somebody.
_REFUSED_S = 30.0
_OWN_WORDS = re.compile(r"as-owner: (?P<said>.+)")
# What sudo says, and what helps. `{account}`, `{program}` and `{user}` are filled in.
_COMPLAINTS = (
    (r"unknown user", "the cluster has no account {account}: map its owner to another one (`accounts`), or make it"),
    (
        r"a password is required|not in the sudoers file|is not allowed to (execute|run)|may not run sudo",
        "sudo does not let {user} run {program} as {account}: see deploy/sudoers.example, and who is in its group",
    ),
    (r"no valid sudoers sources|syntax error|parse error", "its sudoers files are faulty: run `visudo -c` there"),
    (
        r"as-owner: (command )?not found|unable to execute|no such file",
        "{program} is missing or cannot be run: install deploy/as-owner there, owned by root, mode 0755",
    ),
    (r"account validation|account expired|is your account locked|PAM account", "the account {account} is locked"),
    (r"must be owned by uid 0|effective uid is not 0|no new privileges", "sudo itself cannot become root there"),
    (r"a terminal is required|must have a tty", "sudo wants a terminal: see `!requiretty` in deploy/sudoers.example"),
    (r"sudo: (command )?not found|not found: sudo|unknown command.*sudo", "sudo is not in PATH there: install it"),
)


class SudoShell(BoundedShell):
    """Runs programs as one account.

    Args:
        service: the shell of the service's own account, over whose connection everything goes.
        cluster: its `sudo_program` is what sudo may run.
        account: a legal name; see `accounts.is_account`.
        clock: monotonic seconds.
    """

    def __init__(
        self, service: BoundedShell, cluster: Cluster, account: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(f"cluster '{cluster.name}' as {account}", service.slots)
        self._service = service
        self._cluster = cluster
        self._account = account
        self._clock = clock
        self._last_fault: AccountRefused | None = None
        self._not_before = 0.0

    async def close(self) -> None:
        """Do nothing: the connection is the service's."""

    async def start(self, line: str, stdin: bytes, program: Program) -> Running:
        """See `BoundedShell.start`; who was refused is not asked for again at once."""
        if self._last_fault is not None and self._clock() < self._not_before:
            raise AccountRefused(str(self._last_fault))
        self._last_fault = None
        return await self._service.start(line, stdin, program)

    def _written(self, program: Program, argv: tuple[str, ...], marker: str, stdin: bytes) -> tuple[str, bytes]:
        line = f"exec env LC_ALL=C sudo -n -H -u '{self._account}' -- '{self._cluster.sudo_program}'"
        return line, request(marker, program.text, *argv) + stdin

    def _explain_not_run(self, where: str, exit_status: int | None, said: str) -> Unreachable:
        told = self._advice(said)
        if told is None:
            return super()._explain_not_run(where, exit_status, said)
        self._last_fault = AccountRefused(f"{self._where}: {told}")
        self._not_before = self._clock() + _REFUSED_S
        return self._last_fault

    def _advice(self, said: str) -> str | None:
        """Say what to do about a refusal; `None`: it is none that we know, and something may have run."""
        for words, advice in _COMPLAINTS:
            if re.search(words, said, re.IGNORECASE):
                user = self._cluster.user or "our account"
                told = advice.format(account=self._account, program=self._cluster.sudo_program, user=user)
                return f"{told} (it says: {said[:200]})"
        own = _OWN_WORDS.search(said)
        return own["said"] if own else None


def request(*words: str) -> bytes:
    """Write what `deploy/as-owner` reads before the program's own input: mark, text, arguments.

    Raises:
        LimitExceeded: more than it takes; variable parts belong on standard input.
    """
    written = [word.encode("utf-8", "surrogateescape") for word in words]
    body = b"".join(word + b"\0" for word in written)
    if len(body) > _MAX_REQUEST_BYTES or any(len(word) > MAX_COMMAND_BYTES for word in written):
        raise LimitExceeded(
            f"a request of {len(body)} bytes; at most {_MAX_REQUEST_BYTES}, and {MAX_COMMAND_BYTES} for one word: "
            "send variable parts on standard input"
        )
    return b"scripthut %d %d\n" % (VERSION, len(body)) + body
