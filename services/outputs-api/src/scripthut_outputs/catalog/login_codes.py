"""Codes that log a browser in: good once, for minutes, whichever process is asked."""

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert

from scripthut_common.database import Database
from scripthut_outputs.tables import LOGIN_CODES


class LoginCodes:
    """The codes that were given out and not used yet; the database knows their hashes alone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def issue(self, actor: str, *, minutes: float) -> str:
        """Make a code for one actor."""
        code = secrets.token_urlsafe(32)
        row = {"code_sha256": _hash(code), "actor": actor, "expires_at": func.now() + timedelta(minutes=minutes)}
        async with self._database.transaction() as connection:
            await connection.execute(delete(LOGIN_CODES).where(LOGIN_CODES.c.expires_at < func.now()))
            await connection.execute(insert(LOGIN_CODES).values(row))
        return code

    async def use(self, code: str) -> str | None:
        """Give the actor that a code is for, once; `None` when it is unknown, used or too old."""
        used = delete(LOGIN_CODES).where(LOGIN_CODES.c.code_sha256 == _hash(code))
        async with self._database.transaction() as connection:
            row = (
                await connection.execute(
                    used.returning(LOGIN_CODES.c.actor, (LOGIN_CODES.c.expires_at >= func.now()).label("is_good"))
                )
            ).one_or_none()
        return row.actor if row is not None and row.is_good else None


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
