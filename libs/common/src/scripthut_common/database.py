"""PostgreSQL for both services: the engine, transactions, a UTC column type, notifications."""

import asyncio
import select
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
from psycopg import conninfo, sql
from sqlalchemy import DateTime, Dialect, MetaData, TypeDecorator, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from .errors import DatabaseUnavailable, Error, InvalidInput, SettingsError

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

TRANSACTION_TIMEOUT_S = 60.0
_POOL_TIMEOUT_S = 10
Presence = tuple[int, int]
"""What somebody who listens is there for: a kind and one of that kind, both at most 31 bits."""

_PRESENT = text(
    "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
    "WHERE locktype = 'advisory' AND granted AND datname = current_database() "
    "AND classid = CAST(:kind AS oid) AND objid = CAST(:one AS oid) AND objsubid = 2"
)
_SCHEMES = ("postgresql://", "postgres://")
_ADDRESS_RULE = "the address of the database must be as postgresql://user@host/name"
_LISTEN_CHECK_S = 30.0
# Source: https://www.postgresql.org/docs/current/errcodes-appendix.html. 54: a key too long for an index. The others:
# a schema, table or column that the migrations of a newer version have yet to make.
_LIMIT_STATES = "54"
_MIGRATING_STATES = ("3F000", "42P01", "42703")
# A server that vanished without a word is noticed by TCP itself.
_CONNECT_OPTIONS = {
    "connect_timeout": "10",
    "keepalives_idle": "20",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}


def metadata(schema: str) -> MetaData:
    """The tables of one service: its own schema, constraint names by convention."""
    return MetaData(schema=schema, naming_convention=NAMING)


class UtcTime(TypeDecorator[datetime]):
    """`timestamptz` that refuses naive times and always gives aware UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002, D102  the base class fixes both
        if value is not None and value.tzinfo is None:
            raise ValueError(f"a time without zone was given to the database: {value}")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002, D102  the base class fixes both
        return value and value.astimezone(UTC)


def driver_url(url: str) -> str:
    """Turn any PostgreSQL URI into one that names our driver."""
    return f"postgresql+psycopg://{url.partition('://')[2]}"


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """The connections of one database: those that are used, those kept, and how many are opened at most."""

    in_use: int
    idle: int
    most: int


class Database:
    """One PostgreSQL database as one service sees it.

    Args:
        url: any libpq URI, `postgresql://user@host/name` or with `?host=/socket/folder`.
        pool_size: connections kept; twice as many are opened under load.

    Raises:
        SettingsError: `url` is no such URI.
    """

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        if not url.startswith(_SCHEMES):
            raise SettingsError(_ADDRESS_RULE)
        try:
            self._engine = create_async_engine(
                driver_url(url),
                pool_size=pool_size,
                max_overflow=pool_size,
                pool_timeout=_POOL_TIMEOUT_S,
                connect_args=_CONNECT_OPTIONS,
            )
            self._libpq_url = conninfo.make_conninfo(url, **_CONNECT_OPTIONS)
        except (ArgumentError, ValueError, psycopg.ProgrammingError) as error:
            raise SettingsError(_ADDRESS_RULE) from error
        _discard_closed_connections(self._engine)

    @asynccontextmanager
    async def transaction(self, *, timeout_s: float = TRANSACTION_TIMEOUT_S) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end of the block, rolled back by any exception.

        Raises:
            DatabaseUnavailable: the server is away, gave this transaction up (deadlock, shutdown), or it took longer
                than `timeout_s`.
            InvalidInput: a value that PostgreSQL cannot hold (NUL in a text, a number out of range).
        """
        with _fence():
            timer = asyncio.timeout(timeout_s)
            try:
                async with timer, self._engine.begin() as connection:
                    yield connection
            except TimeoutError as error:
                if not timer.expired():
                    raise
                raise DatabaseUnavailable(f"PostgreSQL: no answer within {timeout_s:g} s") from error

    async def ping(self) -> None:
        """Ask the server for a sign of life.

        Raises:
            DatabaseUnavailable: there is none.
        """
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))

    async def check(self) -> str | None:
        """Say why the database cannot be used just now; `None` when it can."""
        try:
            await self.ping()
        except DatabaseUnavailable as error:
            return str(error)
        return None

    async def listen(
        self,
        channel: str,
        on_connect: Callable[[], Awaitable[None]],
        on_notify: Callable[[str], Awaitable[None]],
        presences: Iterable[Presence] = (),
    ) -> None:
        """Hear notifications of one channel until cancelled or the connection is lost.

        `on_connect` is awaited once after LISTEN: what was notified before is to be read from the tables then. As
        long as the connection lasts, and not a moment longer, `count_present` counts it for each of `presences`.

        Raises:
            DatabaseUnavailable: the connection is lost; call again.
        """
        with _fence():
            async with await psycopg.AsyncConnection.connect(self._libpq_url, autocommit=True) as connection:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                for presence in presences:
                    await connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", presence)
                await on_connect()
                while True:
                    async for notification in connection.notifies(timeout=_LISTEN_CHECK_S):
                        await on_notify(notification.payload)
                    await _require_answer(connection)

    def pool(self) -> Pool:
        """Tell how many connections there are just now."""
        pool: Any = self._engine.pool
        return Pool(in_use=pool.checkedout(), idle=pool.checkedin(), most=2 * pool.size())

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


def storable(words: str, max_characters: int = 2000) -> str:
    """Make words of unknown origin into a text that PostgreSQL can hold."""
    plain = words[:max_characters].replace("\0", "\N{SYMBOL FOR NULL}").encode(errors="backslashreplace").decode()
    return plain[:max_characters]


async def notify(connection: AsyncConnection, channel: str, payload: str = "") -> None:
    """Tell listeners of `channel`, when this transaction commits."""
    await connection.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": channel, "payload": payload})


async def count_present(connection: AsyncConnection, presence: Presence) -> int:
    """Count the connections to this database that listen and said this of themselves."""
    found = await connection.execute(_PRESENT, dict(zip(("kind", "one"), presence, strict=True)))
    count: int = found.scalar_one()
    return count


async def now(connection: AsyncConnection) -> datetime:
    """The database's clock: the time at which this transaction began."""
    found: datetime = (await connection.execute(text("SELECT now()"))).scalar_one()
    return found.astimezone(UTC)


async def _require_answer(connection: psycopg.AsyncConnection) -> None:
    try:
        async with asyncio.timeout(_LISTEN_CHECK_S):
            await connection.execute("SELECT 1")
    except TimeoutError as error:
        raise DatabaseUnavailable(f"PostgreSQL: no answer within {_LISTEN_CHECK_S:g} s") from error


@contextmanager
def _fence() -> Iterator[None]:
    """Translate what the driver says of outages and of values; constraint violations stay as they are."""
    try:
        yield
    except DataError as error:
        raise InvalidInput(f"PostgreSQL cannot hold this value: {_first_line(error.orig)}") from error
    except UnicodeEncodeError as error:
        raise InvalidInput(f"PostgreSQL cannot hold this text: {error.reason}") from error
    except DBAPIError as error:
        translated = _translate(error)
        if translated is None:
            raise
        raise translated from error
    except PoolTimeoutError as error:
        raise DatabaseUnavailable(f"PostgreSQL: every connection was busy for {_POOL_TIMEOUT_S} s") from error
    except psycopg.Error as error:
        raise DatabaseUnavailable(f"PostgreSQL: {_first_line(error)}") from error


def _translate(error: DBAPIError) -> Error | None:
    words = _first_line(error.orig)
    state = getattr(error.orig, "sqlstate", None) or ""
    if state.startswith(_LIMIT_STATES):
        return InvalidInput(f"PostgreSQL cannot hold this value: {words}")
    if state in _MIGRATING_STATES:
        return DatabaseUnavailable(f"PostgreSQL: {words}; has the schema been migrated?")
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return DatabaseUnavailable(f"PostgreSQL: {words}")
    return None


def _first_line(error: BaseException | None) -> str:
    return str(error).strip().partition("\n")[0]


def _discard_closed_connections(engine: AsyncEngine) -> None:
    """Let the pool notice connections that the server has closed meanwhile, without a round trip.

    An idle connection has nothing to read but its end: measured at a few microseconds, where a ping costs as
    much as a third of a small transaction.
    """

    @event.listens_for(engine.sync_engine, "checkout")
    def _(connection: DBAPIConnection, *_: object) -> None:
        driver = connection.driver_connection
        if driver is None or driver.closed or _is_readable(driver.fileno()):
            raise DisconnectionError


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
