"""The audit log: who saw or changed what, from where. Nothing in it is ever written again."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_outputs.tables import AUDIT


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did.

    Args:
        act: a thing and what was done with it, as `token.created`, `run.read` or `login.refused`.
        actor: who; `None` for somebody who did not say.
        credential: what they showed, as `access.Actor.credential`.
        address: where the request came from.
        run_id: which run it was about.
        target: what else, as the id of a token.
        details: words and numbers beside; never a secret.
    """

    act: str
    actor: str | None = None
    credential: str | None = None
    address: str | None = None
    run_id: str | None = None
    target: str | None = None
    details: Mapping[str, object] | None = None


async def write(connection: AsyncConnection, *acts: Act) -> None:
    """Write acts with what they were about, in the caller's transaction."""
    await connection.execute(insert(AUDIT), [msgspec.structs.asdict(act) for act in acts])


class Audit:
    """The log, for those who have no transaction of their own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def did(self, act: Act) -> None:
        """Write one act; what it was about goes on only when it is written.

        Raises:
            DatabaseUnavailable: it could not be.
        """
        async with self._database.transaction() as connection:
            await write(connection, act)
