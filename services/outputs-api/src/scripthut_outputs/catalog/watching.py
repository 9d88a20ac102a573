"""Which runs somebody has open: noted for the collectors, who follow their tasks while they run."""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import ARRAY, Text, any_, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from scripthut_common.database import Database, notify
from scripthut_outputs.tables import RUNS, WATCHED

CHANNEL = "outputs_watched"
_KEPT = timedelta(hours=1)
_RUN_IDS = bindparam("_runs", type_=ARRAY(Text))


class Watching:
    """The rows of `watched`, for those who show runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, run_ids: Collection[str], *, for_s: float, new: Collection[str] = ()) -> None:
        """Say that runs are open now, and for `for_s` from now; collectors hear of those that are `new`."""
        until = func.now() + timedelta(seconds=for_s)
        there = select(RUNS.c.run_id, until).where(RUNS.c.run_id == any_(_RUN_IDS)).order_by(RUNS.c.run_id)
        noted = insert(WATCHED).from_select(["run_id", "until"], there)
        later = func.greatest(WATCHED.c.until, noted.excluded.until)
        async with self._database.transaction() as connection:
            await connection.execute(
                noted.on_conflict_do_update(index_elements=["run_id"], set_={"until": later}), {"_runs": [*run_ids]}
            )
            for run_id in new:
                await notify(connection, CHANNEL, run_id)

    async def forget(self) -> None:
        """Remove what nobody has said for long."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(WATCHED).where(WATCHED.c.until < func.now() - _KEPT))
