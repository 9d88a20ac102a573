"""Pins: what a person wants kept whatever the retention says."""

from sqlalchemy import func, update

from scripthut_common.database import Database
from scripthut_outputs.tables import RUNS

from . import auditing
from .auditing import Act
from .changes import Cache, touch
from .runs import read_head


class Pins:
    """The pins of runs.

    Args:
        database: the catalog.
        cache: what readers of this process hold.
    """

    def __init__(self, database: Database, cache: Cache) -> None:
        self._database = database
        self._cache = cache

    async def pin(self, run_id: str, *, by: str, act: Act | None = None) -> None:
        """Keep all that is stored of a run; one that is pinned already stays as it is. `act` is noted with a change.

        Raises:
            NotFound: there is no such run.
        """
        await self._set(run_id, act, is_pinned=False, pinned_at=func.now(), pinned_by=by)

    async def unpin(self, run_id: str, *, act: Act | None = None) -> None:
        """Leave a run to the retention again.

        Raises:
            NotFound: there is no such run.
        """
        await self._set(run_id, act, is_pinned=True, pinned_at=None, pinned_by=None)

    async def _set(self, run_id: str, act: Act | None, *, is_pinned: bool, **values: object) -> None:
        """Change a run that is, or is not, pinned so far."""
        before = RUNS.c.pinned_at.is_not(None) if is_pinned else RUNS.c.pinned_at.is_(None)
        async with self._database.transaction() as connection:
            await read_head(connection, run_id)
            changed = await connection.execute(update(RUNS).where(RUNS.c.run_id == run_id, before).values(**values))
            if changed.rowcount:
                await touch(connection, run_id)
                await auditing.write(connection, act and act.on(run_id))
        self._cache.drop(run_id)
