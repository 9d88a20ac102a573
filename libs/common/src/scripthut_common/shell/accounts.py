"""The ways to one cluster, by the account under which programs run there."""

from collections.abc import Callable

from scripthut_common.clusters import Cluster

from . import RemoteShell
from .opening import open_shell


class AccountShells:
    """Gives the shell of each account.

    Args:
        cluster: its `as_whom` says how one becomes an owner there.
        open_: makes the shell of the service's own account.
    """

    def __init__(self, cluster: Cluster, open_: Callable[[Cluster], RemoteShell] = open_shell) -> None:
        self._service = open_(cluster)

    @property
    def service(self) -> RemoteShell:
        """The shell of the service's own account."""
        return self._service

    @property
    def commands_run(self) -> int:
        """How many programs were started so far, as whomever."""
        return self._service.commands_run

    def of(self, account: str | None) -> RemoteShell:
        """The shell of an account; `None`, and every account where `as_whom` is `service`, stand for the service's own.

        It connects when it is first used, and raises then what a `RemoteShell` raises.
        """
        del account
        return self._service

    async def close(self) -> None:
        """End all connections."""
        await self._service.close()
