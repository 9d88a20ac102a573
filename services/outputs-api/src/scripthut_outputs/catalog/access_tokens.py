"""Personal tokens: whose they are, what they are good for, and until when; of the token itself the hash alone."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from sqlalchemy import Row, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_common.errors import Conflict, NotFound
from scripthut_outputs.tables import ACCESS_TOKENS as TABLE

from . import auditing, cursors
from .auditing import Act
from .changes import ACCESS, Cache, touch_access

MAX_GOOD = 100
"""So many tokens of one person may be good at the same time."""
_KEPT_ENDED = 100
_USED_AGAIN = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_Age = Annotated[int, msgspec.Meta(ge=0, lt=2**52)]
_is_ended = or_(TABLE.c.revoked_at.is_not(None), TABLE.c.expires_at <= func.now())


class State(StrEnum):
    """Whether a token is good."""

    GOOD = "good"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token as its owner may see it; `scopes` are words of `access.Scope`. `used_at`: within a minute or so."""

    token_id: str
    owner: str
    label: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None

    def state(self, now: datetime) -> State:
        """Whether it is good at `now`."""
        if self.revoked_at is not None:
            return State.REVOKED
        return State.EXPIRED if self.expires_at <= now else State.GOOD


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token to be kept. `days`: how long it is good from now on."""

    token_id: str
    sha256: bytes
    owner: str
    label: str
    scopes: tuple[str, ...]
    days: float


class TokenList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of tokens, and the cursor of the next."""

    tokens: tuple[Token, ...]
    next: str | None


COLUMNS = tuple(TABLE.c[name] for name in Token.__struct_fields__)


class AccessTokens:
    """The tokens.

    Args:
        database: the catalog.
        cache: keeps what was read until what somebody may has changed.
    """

    def __init__(self, database: Database, cache: Cache) -> None:
        self._database = database
        self._cache = cache

    async def create(self, new: NewToken, act: Act) -> Token:
        """Keep a token, and write `act`.

        Of those that ended only the newest are kept: what was done with them stands in the audit log.

        Raises:
            Conflict: there is one of this id, or its owner has too many.
        """
        row = {name: getattr(new, name) for name in ("token_id", "owner", "label")}
        row |= {"token_sha256": new.sha256, "scopes": [*new.scopes]}
        made = insert(TABLE).values(**row, expires_at=func.now() + timedelta(days=new.days)).on_conflict_do_nothing()
        async with self._database.transaction() as connection:
            await self._require_room(connection, new.owner)
            found = (await connection.execute(made.returning(*COLUMNS))).one_or_none()
            if found is None:
                raise Conflict(
                    "this token was made already, and is shown once alone: make another, and revoke this one"
                )
            await auditing.write(connection, act)
            await touch_access(connection)
        self._cache.drop(ACCESS)
        return token(found)

    async def find(self, sha256: bytes) -> Token | None:
        """Give the token with this hash, as it was when it last changed; `used_at` may be older than it is."""

        async def read() -> Token | None:
            query = select(*COLUMNS).where(TABLE.c.token_sha256 == sha256)
            async with self._database.transaction() as connection:
                row = (await connection.execute(query)).one_or_none()
            return None if row is None else token(row)

        return await self._cache.get(ACCESS, ("token", sha256), read)

    async def get(self, token_id: str) -> Token:
        """Give a token by its id.

        Raises:
            NotFound: there is none.
        """
        async with self._database.transaction() as connection:
            row = (await connection.execute(select(*COLUMNS).where(TABLE.c.token_id == token_id))).one_or_none()
        return token(_found(row))

    async def of(self, owner: str, *, limit: int, cursor: str | None = None) -> TokenList:
        """List one person's tokens, good or not, newest first.

        Raises:
            InvalidInput: the cursor is of another list.
        """
        age = tuple_(TABLE.c.created_at, TABLE.c.token_id)
        query = select(*COLUMNS).where(TABLE.c.owner == owner)
        if cursor is not None:
            micros, token_id = cursors.read(cursor, tuple[_Age, str])
            query = query.where(age < (_EPOCH + micros * _MICROSECOND, token_id))
        newest_first = (TABLE.c.created_at.desc(), TABLE.c.token_id.desc())
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query.order_by(*newest_first).limit(limit + 1))).all()
        tokens = tuple(map(token, rows[:limit]))
        more = None
        if len(rows) > limit:
            more = cursors.write(int((tokens[-1].created_at - _EPOCH) // _MICROSECOND), tokens[-1].token_id)
        return TokenList(tokens=tokens, next=more)

    async def revoke(self, token_id: str, act: Act) -> Token:
        """End a token now, and write `act`; one that was revoked before stays as it is.

        Raises:
            NotFound: there is none.
        """
        revoked = update(TABLE).where(TABLE.c.token_id == token_id, TABLE.c.revoked_at.is_(None))
        async with self._database.transaction() as connection:
            changed = await connection.execute(revoked.values(revoked_at=func.now()))
            if changed.rowcount:
                await auditing.write(connection, act)
                await touch_access(connection)
            query = select(*COLUMNS).where(TABLE.c.token_id == token_id)
            row = (await connection.execute(query)).one_or_none()
        self._cache.drop(ACCESS)
        return token(_found(row))

    async def used(self, token_id: str) -> None:
        """Note that a token was used, once a minute; nobody is told of it."""
        is_old = or_(TABLE.c.used_at.is_(None), TABLE.c.used_at < func.now() - _USED_AGAIN)
        noted = update(TABLE).where(TABLE.c.token_id == token_id, is_old).values(used_at=func.now())
        async with self._database.transaction() as connection:
            await connection.execute(noted)

    async def _require_room(self, connection: AsyncConnection, owner: str) -> None:
        # One at a time for each owner: two that count at once would both find room.
        await connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"access_tokens {owner}"))))
        own = TABLE.c.owner == owner
        old = select(TABLE.c.token_id).where(own, _is_ended).order_by(TABLE.c.created_at.desc()).offset(_KEPT_ENDED)
        await connection.execute(TABLE.delete().where(TABLE.c.token_id.in_(old)))
        good = await connection.scalar(select(func.count()).select_from(TABLE).where(own, ~_is_ended))
        if (good or 0) >= MAX_GOOD:
            raise Conflict(f"{MAX_GOOD} tokens of yours are good, as many as one person may have: revoke one first")


def _found(row: Row[*tuple[Any, ...]] | None) -> Row[*tuple[Any, ...]]:
    if row is None:
        raise NotFound("there is no such token")
    return row


def token(row: Row[*tuple[Any, ...]]) -> Token:
    """Read a row of `COLUMNS`."""
    return Token(**{**row._mapping, "scopes": tuple(row.scopes)})  # noqa: SLF001  SQLAlchemy's name
