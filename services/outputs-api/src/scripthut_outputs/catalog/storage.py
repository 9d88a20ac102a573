"""Who holds how much: files and bytes by cluster and owner."""

from typing import Any

import msgspec
from sqlalchemy import BigInteger, func, select

from scripthut_common.database import Database
from scripthut_outputs.ledger import FileState
from scripthut_outputs.tables import BLOBS, FILES, RUNS

_SCAN_S = 600.0


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What one owner has on one cluster: `unique_bytes` are held by nobody else, `shared_bytes` by others too.

    Equal files of one owner on one cluster count once.
    """

    cluster: str
    owner: str
    runs: int
    files: int
    unique_bytes: int
    shared_bytes: int


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """What everybody has, largest first, and all blobs, with those that nobody refers to any more."""

    shares: tuple[Share, ...]
    blobs: int
    blob_bytes: int


class Shares:
    """The catalog, for those who ask where the space went."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> Storage:
        """Read all of it, as of one moment."""
        sums = select(func.count(), func.coalesce(func.sum(BLOBS.c.size_bytes), 0))
        async with self._database.transaction(timeout_s=_SCAN_S) as connection:
            rows = (await connection.execute(_shares())).all()
            blobs, blob_bytes = (await connection.execute(sums)).one()
        shares = tuple(Share(**row._mapping) for row in rows)  # noqa: SLF001  SQLAlchemy's public name for it
        return Storage(shares=shares, blobs=int(blobs), blob_bytes=int(blob_bytes))


def _shares() -> Any:
    whose = (RUNS.c.cluster, RUNS.c.owner)
    held = (
        select(*whose, FILES.c.sha256, func.count().label("files"), func.max(FILES.c.stored_bytes).label("size_bytes"))
        .join(FILES, FILES.c.run_id == RUNS.c.run_id)
        .where(FILES.c.state == FileState.STORED)
        .group_by(*whose, FILES.c.sha256)
        .cte("held")
    )
    counted = select(held, func.count().over(partition_by=held.c.sha256).label("holders")).cte("counted")
    runs = (
        select(*whose, func.count(FILES.c.run_id.distinct()).label("runs"))
        .join(FILES, FILES.c.run_id == RUNS.c.run_id)
        .where(FILES.c.state == FileState.STORED)
        .group_by(*whose)
        .cte("runs_of")
    )
    size_bytes = func.sum(counted.c.size_bytes)
    unique = func.coalesce(size_bytes.filter(counted.c.holders == 1), 0).cast(BigInteger)
    shared = func.coalesce(size_bytes.filter(counted.c.holders > 1), 0).cast(BigInteger)
    return (
        select(
            counted.c.cluster,
            counted.c.owner,
            runs.c.runs,
            func.sum(counted.c.files).cast(BigInteger).label("files"),
            unique.label("unique_bytes"),
            shared.label("shared_bytes"),
        )
        .join(runs, (runs.c.cluster == counted.c.cluster) & (runs.c.owner == counted.c.owner))
        .group_by(counted.c.cluster, counted.c.owner, runs.c.runs)
        .order_by((unique + shared).desc(), counted.c.cluster, counted.c.owner)
    )
