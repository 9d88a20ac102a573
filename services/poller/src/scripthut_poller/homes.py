"""What `~` means on each cluster: asked once per process, remembered for when the cluster is away."""

from collections.abc import Mapping

from scripthut_common.database import Database
from scripthut_common.errors import BadOutput, Unreachable
from scripthut_common.shell import Program
from scripthut_common.shell.accounts import AccountShells

from .watchlist import clusters

_HOME = Program(name="home", text="""printf '%s' "$HOME" """, timeout_s=30.0, max_stdout_bytes=4096)


class Homes:
    """Knows the home directories of accounts on every cluster: of our own, and of those that jobs run as."""

    def __init__(self, database: Database, shells: Mapping[str, AccountShells]) -> None:
        self._database = database
        self._shells = shells
        self._known: dict[tuple[str, str | None], str] = {}

    async def of(self, cluster: str, account: str | None = None) -> str:
        """Say where `~` is, of our own account where none is named.

        Raises:
            Unreachable: the cluster is away and was never asked before.
            BadOutput: the account has no home directory there.
        """
        key = (cluster, self._shells[cluster].whose(account))
        if key not in self._known:
            self._known[key] = await self._ask(*key)
        return self._known[key]

    async def _ask(self, cluster: str, account: str | None) -> str:
        try:
            answer = await self._shells[cluster].of(account).run(_HOME)
        except Unreachable:
            if account is not None:
                raise
            remembered = await clusters.home(self._database, cluster)
            if remembered is None:
                raise
            return remembered
        home = answer.stdout.decode("utf-8", "surrogateescape").rstrip("/")
        if answer.exit_status or not home.startswith("/") or "\0" in home:
            whose = "our account" if account is None else f"the account {account}"
            raise BadOutput(f"cluster '{cluster}': {whose} has no home directory there: HOME is {home!r}")
        if account is None:
            await clusters.keep_home(self._database, cluster, home)
        return home


def expand(path: str, home: str) -> str:
    """Put the home directory in the place of a leading `~`."""
    return home + path[1:] if path == "~" or path.startswith("~/") else path
