"""A process that clears away and is killed: `python -m tests.integration.outputs.dying URL STORE WORK STEP`.

WORK is `sweep` or `verify`; STEP is `before` or `after`, and `remove` or `set_aside` for the store, or `commit OF` for
a transaction by the function that opens it, as `sweeping.sweep`.
"""

import asyncio
import sys

from prometheus_client import CollectorRegistry

from scripthut_common.database import Database
from scripthut_outputs.blobs import BlobStore, open_store
from scripthut_outputs.catalog.verifying import Scope, Verified
from scripthut_outputs.retention import Keeper, Terms
from scripthut_outputs.verifying import Verifier
from tests.integration.outputs.keeping import GRACE_S, cluster
from tests.integration.poller.dying import die_at, dying_transactions


class DyingStore:
    """The blob store of a process that may die at a removal."""

    def __init__(self, inner: BlobStore, step: str) -> None:
        self._inner = inner
        self._step = step
        self.size, self.stream, self.list_blobs = inner.size, inner.stream, inner.list_blobs

    async def remove(self, sha256: str) -> None:
        die_at("before remove", self._step)
        await self._inner.remove(sha256)
        die_at("after remove", self._step)

    async def set_aside(self, sha256: str) -> None:
        die_at("before set_aside", self._step)
        await self._inner.set_aside(sha256)
        die_at("after set_aside", self._step)


async def main(url: str, folder: str, work: str, step: str) -> None:
    """Work until killed."""
    Database.transaction = dying_transactions(step)  # type: ignore[method-assign, assignment]  # a process for this
    database, store = Database(url), DyingStore(open_store(folder), step)
    if work == "sweep":
        clusters = {"daint": cluster(max_age_days=90)}
        await Keeper(database, store, clusters, Terms(grace_s=GRACE_S), CollectorRegistry()).work()
    else:
        async for _ in Verifier(Verified(database), store, is_repairing=True).look(Scope()):
            pass


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
