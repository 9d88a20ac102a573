"""What `~` means on each cluster: asked once per process, remembered for when the cluster is away."""

from collections.abc import Mapping

from scripthut_common.database import Database
from scripthut_common.errors import BadOutput, Unreachable
from scripthut_common.shell import Program, RemoteShell

from .watchlist import clusters

_HOME = Program(name="home", text="""printf '%s' "$HOME" """, timeout_s=30.0, max_stdout_bytes=4096)


class Homes:
    """Knows the home directory of our account on every cluster."""

    def __init__(self, database: Database, shells: Mapping[str, RemoteShell]) -> None:
        self._database = database
        self._shells = shells
        self._known: dict[str, str] = {}

    async def of(self, cluster: str) -> str:
        """Say where `~` is.

        Raises:
            Unreachable: the cluster is away and was never asked before.
            BadOutput: the account has no home directory there.
        """
        if cluster not in self._known:
            self._known[cluster] = await self._ask(cluster)
        return self._known[cluster]

    async def _ask(self, cluster: str) -> str:
        try:
            answer = await self._shells[cluster].run(_HOME)
        except Unreachable:
            remembered = await clusters.home(self._database, cluster)
            if remembered is None:
                raise
            return remembered
        home = answer.stdout.decode("utf-8", "surrogateescape").rstrip("/")
        if answer.exit_status or not home.startswith("/") or "\0" in home:
            raise BadOutput(f"cluster '{cluster}': our account has no home directory there: HOME is {home!r}")
        await clusters.keep_home(self._database, cluster, home)
        return home


def expand(path: str, home: str) -> str:
    """Put the home directory in the place of a leading `~`."""
    return home + path[1:] if path == "~" or path.startswith("~/") else path
