"""Who may read a run besides its owner and admins: set at its creation and later."""

import msgspec
from sqlalchemy import update

from scripthut_common.database import Database
from scripthut_outputs.tables import RUNS

from . import auditing
from .auditing import Act
from .changes import ACCESS, Cache, touch, touch_access
from .run_document import Open
from .runs import read_head


class Opening:
    """Opens runs and closes them.

    Args:
        database: the catalog.
        cache: what readers of this process hold.
    """

    def __init__(self, database: Database, cache: Cache) -> None:
        self._database = database
        self._cache = cache

    async def set(self, run_id: str, to: Open, *, act: Act) -> None:
        """Say who may read a run; what stays as it is, is not told.

        Args:
            run_id: the run.
            to: who may.
            act: of the audit log; its details are filled in.

        Raises:
            NotFound: there is no such run.
        """
        async with self._database.transaction() as connection:
            before = await read_head(connection, run_id)
            if (before.visibility, before.group) == (to.visibility, to.group):
                return
            written = {"visibility": to.visibility, "group": to.group}
            await connection.execute(update(RUNS).where(RUNS.c.run_id == run_id).values(written))
            details = {"from": before.visibility, "to": to.visibility, "group": to.group}
            await auditing.write(connection, msgspec.structs.replace(act, details=details))
            await touch(connection, run_id)
            # Share links are kept with what their run was.
            await touch_access(connection)
        self._cache.drop(run_id)
        self._cache.drop(ACCESS)
