"""The shell of an owner of jobs by SSH, with a certificate made for the moment; few such connections at a time."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
import structlog

from scripthut_common.clusters import Cluster
from scripthut_common.errors import AccountRefused, BadOutput, Error, Unreachable

from . import Answer, Program, RemoteShell, ssh, wire
from .local import LocalShell
from .ssh import SshShell

_ISSUING = Program(
    name="certificate", text='exec "$@"', timeout_s=30.0, idle_timeout_s=30.0, max_stdout_bytes=64 * 1024
)
# $1: an account. What only the cluster itself can say of it.
_LOOKING = Program(
    name="account",
    text="""
export LC_ALL=C
uid=$(id -u -- "$1" 2>/dev/null) || { echo none; exit 0; }
printf '%s %s\\n' "$uid" "$(getent passwd -- "$1" | cut -d: -f7)"
""",
    timeout_s=20.0,
    max_stdout_bytes=4096,
)
_LEAST_UID = 1000
_CLOSED = ("nologin", "false")
_TRUST = (
    "Its sshd must trust our CA (`TrustedUserCAKeys`), take the account's name as principal "
    "(`AuthorizedPrincipalsFile`) and let it in (`AllowUsers`); its clock must agree with ours."
)
# By what is said before our program begins.
_COMPLAINTS = {
    "scripthut: uid": "no job runs as this account",
    "account is currently not available": "the account is closed: its login shell lets nobody in",
}

log = structlog.get_logger()


class OwnerShell(SshShell):
    """Runs programs as one account, over a connection of its own.

    Args:
        cluster: its `certificates` say where they come from.
        account: a legal name; see `accounts.is_account`.
        service: the shell of the service's own account, which is asked why the cluster refuses another one.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        cluster: Cluster,
        account: str,
        service: RemoteShell,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(msgspec.structs.replace(cluster, user=account), clock=clock)
        self._where = f"cluster '{cluster.name}' as {account}"
        self._account = account
        self._service = service

    async def _client_keys(self) -> list[ssh.Pair]:
        """Make a new certificate for every new connection."""
        source = self._cluster.certificates
        try:
            if source.ca_key_file is None:
                pair = await self._asked_for()
            else:
                pair = ssh.issue(
                    source.ca_key_file,
                    self._account,
                    key_id=f"scripthut {self._cluster.name} {self._account}",
                    valid_s=source.valid_s,
                    now_s=time.time(),
                )
        except BadOutput as error:
            raise AccountRefused(f"{self._where}: no certificate: {error}") from error
        log.info("certificate_made", cluster=self._cluster.name, account=self._account)
        return [pair]

    async def _asked_for(self) -> ssh.Pair:
        """Run the operator's command. No shell reads its words: they are the arguments of a fixed text."""
        words = [word.replace("{account}", self._account) for word in self._cluster.certificates.command]
        shell = LocalShell(self._cluster.name)
        try:
            answer = await shell.run(_ISSUING, *words)
        except Error as error:
            raise AccountRefused(f"{self._where}: {words[0]}: {error}") from error
        if answer.exit_status:
            said = " ".join(answer.stderr.decode("utf-8", "replace").split())[:300]
            raise BadOutput(f"{words[0]} ended with exit status {answer.exit_status}: {said or 'it said nothing'}")
        return ssh.read_issued(answer.stdout.decode("utf-8", "replace"), self._account)

    async def _connect(self) -> ssh.Connection:
        try:
            return await super()._connect()
        except _NotTaken as error:
            raise AccountRefused(f"{error} {await self._why()}") from error

    def _no_entry(self) -> AccountRefused:
        return _NotTaken(f"{self._address}: it does not take our certificate for {self._account}.")

    async def _why(self) -> str:
        """Ask what the account is there; sshd itself tells strangers nothing."""
        try:
            answer = await self._service.run(_LOOKING, self._account)
        except Error:
            return _TRUST
        uid, _, login_shell = answer.stdout.decode("utf-8", "replace").strip().partition(" ")
        if uid == "none":
            return "The cluster has no such account: map its owner to another one (`accounts`), or make it."
        if uid.isdigit() and int(uid) < _LEAST_UID:
            return f"Its uid, {int(uid)}, is no person's."
        if login_shell.rpartition("/")[2] in _CLOSED:
            return f"The account is closed: its login shell is {login_shell[:80]}."
        return _TRUST

    def _written(self, program: Program, argv: tuple[str, ...], marker: str, stdin: bytes) -> tuple[str, bytes]:
        return wire.command_line(program.text, argv, marker, is_guarded=True), stdin

    def _explain_not_run(self, where: str, exit_status: int | None, said: str) -> Unreachable:
        for words, advice in _COMPLAINTS.items():
            if words in said:
                return AccountRefused(f"{self._where}: {advice} (it says: {said[:200]})")
        return super()._explain_not_run(where, exit_status, said)


class _NotTaken(AccountRefused):
    """What the cluster answered to a certificate."""


class Pool:
    """The shells of owners, of which few are open at a time: those that rest are closed for others.

    Args:
        cluster: its `certificates` say how many.
        service: the shell of the service's own account.
    """

    def __init__(self, cluster: Cluster, service: RemoteShell) -> None:
        self._cluster = cluster
        self._service = service
        self._shells: OrderedDict[str, OwnerShell] = OrderedDict()
        self._users: Counter[str] = Counter()
        self._changed = asyncio.Condition()

    def of(self, account: str) -> "PooledShell":
        """Give the shell of an account."""
        return PooledShell(self, account)

    @asynccontextmanager
    async def lent(self, account: str) -> AsyncIterator[OwnerShell]:
        """Lend an account's shell, when there is room for it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._has_room(account))
            shell = await self._taken(account)
            self._users[account] += 1
        try:
            yield shell
        finally:
            async with self._changed:
                self._users[account] -= 1
                self._changed.notify_all()

    def _has_room(self, account: str) -> bool:
        most = self._cluster.certificates.max_connections
        return account in self._shells or len(self._shells) < most or self._idle() is not None

    def _idle(self) -> str | None:
        """Name the account that nobody uses, for the longest time."""
        return next((account for account in self._shells if not self._users[account]), None)

    async def _taken(self, account: str) -> OwnerShell:
        if account not in self._shells:
            if len(self._shells) >= self._cluster.certificates.max_connections and (idle := self._idle()) is not None:
                await self._shells.pop(idle).close()
                del self._users[idle]
            self._shells[account] = OwnerShell(self._cluster, account, self._service)
        self._shells.move_to_end(account)
        return self._shells[account]

    async def close(self) -> None:
        """End all connections."""
        for shell in self._shells.values():
            await shell.close()


class PooledShell:
    """The shell of one account, whose connection comes and goes."""

    def __init__(self, pool: Pool, account: str) -> None:
        self._pool = pool
        self._account = account
        self._commands_run = 0

    async def run(self, program: Program, *argv: str, stdin: bytes = b"") -> Answer:
        """See `RemoteShell.run`."""
        async with self._pool.lent(self._account) as shell:
            self._commands_run += 1
            return await shell.run(program, *argv, stdin=stdin)

    def stream(
        self, program: Program, *argv: str, stdin: bytes = b""
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `RemoteShell.stream`."""
        return self._stream(program, argv, stdin)

    @asynccontextmanager
    async def _stream(
        self, program: Program, argv: tuple[str, ...], stdin: bytes
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._pool.lent(self._account) as shell, shell.stream(program, *argv, stdin=stdin) as pieces:
            self._commands_run += 1
            yield pieces

    async def close(self) -> None:
        """Do nothing: connections are the pool's."""

    @property
    def commands_run(self) -> int:
        """How many programs were started so far."""
        return self._commands_run
