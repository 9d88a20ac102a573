"""PostgreSQL for both services: the engine, transactions, a UTC column type, notifications."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import psycopg
from psycopg import sql
from sqlalchemy import DateTime, Dialect, MetaData, TypeDecorator, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from .errors import DatabaseUnavailable

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
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


class Database:
    """One PostgreSQL database as one service sees it.

    Args:
        url: any libpq URI, `postgresql://user@host/name` or with `?host=/socket/folder`.
        pool_size: connections kept; twice as many are opened under load.
    """

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        self._engine = create_async_engine(
            driver_url(url), pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True, pool_timeout=10
        )
        self._libpq_url = driver_url(url).replace("+psycopg", "", 1)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end of the block, rolled back by any exception.

        Raises:
            DatabaseUnavailable: the server is away, or gave this transaction up (deadlock, shutdown).
        """
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError) as error:
            raise DatabaseUnavailable(f"PostgreSQL: {_first_line(error)}") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise DatabaseUnavailable(f"PostgreSQL: {_first_line(error)}") from error
            raise
        except (psycopg.OperationalError, TimeoutError) as error:
            raise DatabaseUnavailable(f"PostgreSQL: {error}") from error

    async def ping(self) -> None:
        """Ask the server for a sign of life.

        Raises:
            DatabaseUnavailable: there is none.
        """
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))

    async def listen(
        self,
        channel: str,
        on_connect: Callable[[], Awaitable[None]],
        on_notify: Callable[[str], Awaitable[None]],
    ) -> None:
        """Hear notifications of one channel until cancelled or the connection is lost.

        `on_connect` is awaited once after LISTEN: what was notified before is to be read from the tables then.

        Raises:
            DatabaseUnavailable: the connection is lost; call again.
        """
        try:
            async with await psycopg.AsyncConnection.connect(self._libpq_url, autocommit=True) as connection:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                await on_connect()
                async for notification in connection.notifies():
                    await on_notify(notification.payload)
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(f"PostgreSQL: {error}") from error

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


async def notify(connection: AsyncConnection, channel: str, payload: str) -> None:
    """Tell listeners of `channel`, when this transaction commits."""
    await connection.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": channel, "payload": payload})


async def now(connection: AsyncConnection) -> datetime:
    """The database's clock: the time at which this transaction began."""
    found: datetime = (await connection.execute(text("SELECT now()"))).scalar_one()
    return found.astimezone(UTC)


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().partition("\n")[0]
