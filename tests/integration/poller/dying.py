"""A poller that is killed at one step: `python -m tests.integration.poller.dying DATABASE_URL CLUSTERS_FILE STEP`.

STEP is `before PROGRAM` or `after PROGRAM`, for a program on the cluster, or `before commit OF` or `after commit OF`,
for a transaction by the function that opens it, as `submissions.claim`.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.clusters import Cluster
from scripthut_common.database import Database
from scripthut_common.shell import Answer, Program, RemoteShell
from scripthut_common.shell.opening import open_shell
from tests.integration.poller.house import running


class DyingShell:
    """Runs programs through another shell, and dies at one of them."""

    def __init__(self, inner: RemoteShell, step: str) -> None:
        self._inner = inner
        self._step = step

    async def run(self, program: Program, *argv: str, stdin: bytes = b"") -> Answer:
        die_at(f"before {program.name}", self._step)
        answer = await self._inner.run(program, *argv, stdin=stdin)
        die_at(f"after {program.name}", self._step)
        return answer

    def stream(
        self, program: Program, *argv: str, stdin: bytes = b""
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._inner.stream(program, *argv, stdin=stdin)

    async def close(self) -> None:
        await self._inner.close()

    @property
    def commands_run(self) -> int:
        return self._inner.commands_run


def die_at(here: str, step: str) -> None:
    if here == step:
        os.kill(os.getpid(), signal.SIGKILL)


def dying_transactions(step: str) -> Callable[..., AbstractAsyncContextManager[AsyncConnection]]:
    """Make transactions that may be the last thing that this process does."""
    living = Database.transaction

    @asynccontextmanager
    async def dying(database: Database, what: str, options: dict[str, Any]) -> AsyncIterator[AsyncConnection]:
        async with living(database, **options) as connection:
            yield connection
            die_at(f"before {what}", step)
        die_at(f"after {what}", step)

    def transaction(database: Database, **options: Any) -> AbstractAsyncContextManager[AsyncConnection]:
        opener = sys._getframe(1)
        module = str(opener.f_globals["__name__"]).rpartition(".")[2]
        return dying(database, f"commit {module}.{opener.f_code.co_name}", options)

    return transaction


async def main(database_uri: str, clusters_file: Path, step: str) -> None:
    """Poll until killed."""

    def open_dying(cluster: Cluster) -> DyingShell:
        return DyingShell(open_shell(cluster), step)

    Database.transaction = dying_transactions(step)  # type: ignore[method-assign, assignment]  # a process for this
    async with running(database_uri, clusters_file, open_dying):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
