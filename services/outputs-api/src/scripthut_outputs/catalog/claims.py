"""Claims: what somebody has taken of what is due, with all that it takes to collect it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import ARRAY, ColumnElement, Row, Text, bindparam, column, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import UtcTime
from scripthut_outputs import owning
from scripthut_outputs.ledger import HeldFiles
from scripthut_outputs.tables import COLLECTIONS, ITEMS, RUNS

from . import claiming
from .holding import read_held
from .owners import OF_THE_RUN, run_of

Key = tuple[str, str]


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A task whose outputs are ours to collect until the lease ends.

    `wanted` tells one wish from the next, `failures` counts attempts in a row that reached the cluster. Whose item
    `succeeded` is collected after the others. What earlier looks of the wish have left is in `looks`,
    `first_looked_at`, `listing_sha256` and `listed_at`; `claimed_at` is by the same clock, the database's. `held` is
    what is stored of the item. What tells as whom it is read is in `run`.
    """

    run_id: str
    task_id: str
    cluster: str
    run: owning.Run
    attempt: int
    wanted: int
    failures: int
    succeeded: bool
    lease: UUID
    looks: int
    first_looked_at: datetime | None
    listing_sha256: str | None
    listed_at: datetime | None
    claimed_at: datetime
    job_id: str | None
    output_dir: str | None
    run_summary_path: str | None
    stdout_path: str | None
    stderr_path: str | None
    collected_at: datetime | None
    held: HeldFiles = {}

    @property
    def key(self) -> Key:
        """What names the item."""
        return self.run_id, self.task_id

    @property
    def owner(self) -> str:
        """Whose the run is."""
        return self.run.owner


_OF_THE_ITEM = ("job_id", "output_dir", "run_summary_path", "stdout_path", "stderr_path", "collected_at")
_OF_THE_LOOKS = ("looks", "first_looked_at", "listing_sha256", "listed_at")
_RETURNED = (
    *(COLLECTIONS.c[name] for name in ("run_id", "task_id", "cluster", "attempt", "wanted")),
    *(COLLECTIONS.c[name] for name in ("failures", "succeeded", "lease", *_OF_THE_LOOKS)),
    *(ITEMS.c[name] for name in _OF_THE_ITEM),
    *OF_THE_RUN,
    func.clock_timestamp(type_=UtcTime).label("claimed_at"),
)
_NAMES = frozenset(Claim.__struct_fields__)


async def take(connection: AsyncConnection, picked: Sequence[Key], lease_s: float) -> list[Claim]:
    """Lease what was picked, unless somebody was faster."""
    if not picked:
        return []
    # As two arrays: the planner would look at each of 200 pairs, and this thousand times the same statement it knows.
    named = _unnested_keys(picked)
    free = (
        select(COLLECTIONS.c.run_id, COLLECTIONS.c.task_id)
        .join(named, (COLLECTIONS.c.run_id == named.c.run_id) & (COLLECTIONS.c.task_id == named.c.task_id))
        .where(claiming.is_free(COLLECTIONS))
        .with_for_update(of=COLLECTIONS, skip_locked=True)
        .cte("free")
    )
    claim = (
        update(COLLECTIONS)
        .where(
            COLLECTIONS.c.run_id == free.c.run_id,
            COLLECTIONS.c.task_id == free.c.task_id,
            same_item(),
            RUNS.c.run_id == COLLECTIONS.c.run_id,
        )
        .values(lease=uuid4(), lease_until=func.now() + timedelta(seconds=lease_s))
        .returning(*_RETURNED)
    )
    rows = (await connection.execute(claim)).all()
    held = await read_held(connection, [(row.run_id, row.task_id) for row in rows if row.collected_at])
    claims = [_claim(row, held.get((row.run_id, row.task_id), {})) for row in rows]
    return sorted(claims, key=lambda claimed: (claimed.succeeded, *claimed.key))


def _claim(row: Row[*tuple[Any, ...]], held: HeldFiles) -> Claim:
    columns = {name: value for name, value in row._mapping.items() if name in _NAMES}  # noqa: SLF001  its public name
    return Claim(**columns, run=run_of(row), held=held)


def same_item() -> ColumnElement[bool]:
    """Match a collection's item."""
    return (ITEMS.c.run_id == COLLECTIONS.c.run_id) & (ITEMS.c.task_id == COLLECTIONS.c.task_id)


def _unnested_keys(keys: Sequence[Key]) -> Any:
    """Many keys as one table."""
    columns = [bindparam(None, [key[place] for key in keys], type_=ARRAY(Text)) for place in (0, 1)]
    return func.unnest(*columns).table_valued(column("run_id", Text), column("task_id", Text)).render_derived()
