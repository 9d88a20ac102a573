"""The end of all sessions of somebody, in every browser."""

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert

from scripthut_common.database import Database
from scripthut_outputs.tables import IDENTITIES

from . import auditing
from .auditing import Act
from .changes import ACCESS, Cache, touch_access


class SessionEnds:
    """Writes when sessions were ended; whom the tokens file alone knows gets a row for it that vouches for nothing."""

    def __init__(self, database: Database, cache: Cache) -> None:
        self._database = database
        self._cache = cache

    async def end(self, name: str, at: datetime, act: Act) -> None:
        """End the sessions of one person that were begun before `at`, and write `act`.

        `at` is by the clock that dates sessions, which is the process's own.
        """
        row = insert(IDENTITIES).values(name=name, sessions_since=at)
        ended = row.on_conflict_do_update(index_elements=["name"], set_={"sessions_since": at})
        async with self._database.transaction() as connection:
            await connection.execute(ended)
            await auditing.write(connection, act)
            await touch_access(connection)
        self._cache.drop(ACCESS)
