"""The ways to one cluster, by the account under which programs run there."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from scripthut_common.accounts import is_account, is_services_own
from scripthut_common.clusters import AsWhom, Cluster
from scripthut_common.errors import AccountRefused

from . import Answer, Program, RemoteShell
from .bounded import BoundedShell
from .certificates import Pool
from .opening import open_shell
from .sudo import SudoShell


class AccountShells:
    """Gives the shell of each account.

    Args:
        cluster: its `as_whom` says how one becomes an owner there.
        open_: makes the shell of the service's own account.
    """

    def __init__(self, cluster: Cluster, open_: Callable[[Cluster], RemoteShell] = open_shell) -> None:
        self._cluster = cluster
        self._service = open_(cluster)
        self._pool = Pool(cluster, self._service)
        self._owners: dict[str, RemoteShell] = {}

    @property
    def service(self) -> RemoteShell:
        """The shell of the service's own account."""
        return self._service

    @property
    def commands_run(self) -> int:
        """How many programs were started so far, as whomever."""
        return self._service.commands_run + sum(shell.commands_run for shell in self._owners.values())

    def whose(self, account: str | None) -> str | None:
        """As whom that runs which concerns an account's jobs; `None`: as the service's own account."""
        return None if self._cluster.as_whom is AsWhom.SERVICE else account

    def of(self, account: str | None) -> RemoteShell:
        """The shell of an account; `None`, and every account where `as_whom` is `service`, stand for the service's own.

        It connects when it is first used, and raises then what a `RemoteShell` raises; `AccountRefused` where the
        cluster does not let us be this account, or where no job runs as it: the service's own account, named as an
        owner's, among them.
        """
        owner = self.whose(account)
        if owner is None:
            return self._service
        if not is_account(owner):
            return _Refused(f"cluster '{self._cluster.name}': no job runs as {owner[:80]!r}")
        if is_services_own(self._cluster, owner):
            return _Refused(
                f"cluster '{self._cluster.name}': no job runs as {owner}, the service's own account; jobs run as their "
                "owners there"
            )
        if owner not in self._owners:
            self._owners[owner] = self._open(owner)
        return self._owners[owner]

    def _open(self, account: str) -> RemoteShell:
        if self._cluster.as_whom is AsWhom.CERTIFICATE:
            return self._pool.of(account)
        if not isinstance(self._service, BoundedShell):
            return _Refused(f"cluster '{self._cluster.name}': its way knows no other accounts")
        return SudoShell(self._service, self._cluster, account)

    async def close(self) -> None:
        """End all connections."""
        await self._pool.close()
        await self._service.close()


class _Refused:
    """The shell of an account that nobody may be."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def run(self, program: Program, *argv: str, stdin: bytes = b"") -> Answer:
        """Refuse."""
        del program, argv, stdin
        raise AccountRefused(self._reason)

    def stream(
        self, program: Program, *argv: str, stdin: bytes = b""
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Refuse."""
        del program, argv, stdin
        return self._stream()

    @asynccontextmanager
    async def _stream(self) -> AsyncIterator[AsyncIterator[bytes]]:
        raise AccountRefused(self._reason)
        yield  # pragma: no cover  makes it a generator

    async def close(self) -> None:
        """Do nothing."""

    @property
    def commands_run(self) -> int:
        """None."""
        return 0
