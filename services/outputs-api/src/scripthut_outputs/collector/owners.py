"""Who is collected for next: on a cluster where owners are read as themselves, one of them in each lane."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from scripthut_outputs.catalog.claims import Claim
from scripthut_outputs.catalog.collections import Collections


class Owners:
    """The turns of all lanes of one kind on one cluster.

    Args:
        collections: what is due.
        cluster: its name.
        is_alone: whether the lanes are those in which items are collected alone.
        is_each: whether owners are read as themselves, so that nobody's account holds up another's.
    """

    def __init__(self, collections: Collections, cluster: str, *, is_alone: bool, is_each: bool) -> None:
        self._collections = collections
        self._cluster = cluster
        self._is_alone = is_alone
        self._is_each = is_each
        self._busy: set[str] = set()
        self._claiming = asyncio.Lock()

    @property
    def is_each(self) -> bool:
        """Whether what one claim gives is one owner's alone, so that others may wait for theirs."""
        return self._is_each

    @asynccontextmanager
    async def claim(
        self, *, limit: int, lease_s: float, skipped_runs: Collection[str] = ()
    ) -> AsyncIterator[list[Claim]]:
        """Claim something; where each is read as themselves, of one owner whom no other lane is about just now."""
        collections, cluster, is_alone = self._collections, self._cluster, self._is_alone
        if not self._is_each:
            yield await collections.claim_due(
                cluster, limit=limit, lease_s=lease_s, is_alone=is_alone, skipped_runs=skipped_runs
            )
            return
        async with self._claiming:
            claims = await collections.claim_of_one(
                cluster,
                limit=limit,
                lease_s=lease_s,
                is_alone=is_alone,
                skipped_runs=skipped_runs,
                skipped_owners=self._busy,
            )
            owners = {claim.owner for claim in claims}
            self._busy |= owners
        try:
            yield claims
        finally:
            self._busy -= owners
