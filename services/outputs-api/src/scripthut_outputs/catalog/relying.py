"""Which blobs collections rely on, told before they are named: the sweep leaves alone what was touched of late.

Collector: touch the row (it waits for a sweep that holds it), then name the blob or see that it is still there, then
write the ledger. Sweep: lock the row of a blob that nobody refers to or touched of late, remove the blob, then its row.
So a blob that is named has a row, and one that a ledger came to rely on was touched after the last sweep of it.
"""

from collections.abc import Mapping

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert

from scripthut_common.database import Database
from scripthut_outputs.tables import BLOBS


class Relied:
    """The `blobs` table, for those who collect."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def touch(self, sizes: Mapping[str, int]) -> None:
        """Keep blobs, size in bytes by SHA-256, from the sweep for a day; there may be some that nobody holds yet.

        Raises:
            DatabaseUnavailable: nothing may be relied on.
        """
        if not sizes:
            return
        # In one order, so that two collectors never wait for each other.
        rows = [{"sha256": sha256, "size_bytes": sizes[sha256]} for sha256 in sorted(sizes)]
        touched = insert(BLOBS).on_conflict_do_update(index_elements=["sha256"], set_={"touched_at": func.now()})
        async with self._database.transaction() as connection:
            await connection.execute(touched, rows)
