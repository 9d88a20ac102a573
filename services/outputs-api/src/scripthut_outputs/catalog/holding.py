"""What was collected of items already, read beside their claims: what has not changed is not fetched twice.

What was seen while a task ran is not among it: the collection replaces it.
"""

from collections.abc import Collection

from sqlalchemy import func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_outputs.ledger import FileState, Held, Place
from scripthut_outputs.tables import FILES

_ROW = (
    FILES.c.run_id,
    FILES.c.task_id,
    FILES.c.place,
    FILES.c.path,
    FILES.c.size_bytes,
    FILES.c.modified_at,
    FILES.c.stored_bytes,
    FILES.c.attempt,
    FILES.c.reason.is_not(None).label("is_noted"),
    FILES.c.removed_at.is_not(None).label("is_removed"),
)


async def read_held(
    connection: AsyncConnection, keys: Collection[tuple[str, str]]
) -> dict[tuple[str, str], dict[tuple[Place, bytes], Held]]:
    """Read the files of these items that are stored or were until they were removed, by item."""
    held: dict[tuple[str, str], dict[tuple[Place, bytes], Held]] = {}
    if not keys:
        return held
    stored = select(*_ROW).where(
        tuple_(FILES.c.run_id, FILES.c.task_id).in_(keys),
        or_(FILES.c.state == FileState.STORED, FILES.c.removed_at.is_not(None)),
        FILES.c.followed_at.is_(None),
        func.num_nonnulls(FILES.c.size_bytes, FILES.c.modified_at, FILES.c.stored_bytes) == 3,
    )
    for (
        run_id,
        task_id,
        place,
        path,
        size_bytes,
        modified_at,
        stored_bytes,
        attempt,
        is_noted,
        is_removed,
    ) in await connection.execute(stored):
        held.setdefault((run_id, task_id), {})[Place(place), path] = Held(
            size_bytes=size_bytes,
            modified_at=modified_at,
            stored_bytes=stored_bytes,
            attempt=attempt,
            is_noted=is_noted,
            is_removed=is_removed,
        )
    return held
