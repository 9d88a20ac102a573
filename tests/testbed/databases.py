"""Databases of one PostgreSQL server, made and dropped in milliseconds."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import conninfo, sql

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_common.migrating import Migrations


class Databases:
    """What tests do with a server, wherever it runs.

    Args:
        uri: any database of it, as a user who may create others.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def create(self, template: str = "template1") -> str:
        """Make a database with a new name and return its URI; `template` names one without connections."""
        name = f"t{secrets.token_hex(6)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        self._administer(statement)
        return _replace_database(self._uri, name)

    def drop(self, uri: str) -> None:
        """Remove a database, cutting its connections."""
        name = sql.Identifier(name_of(uri))
        self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def migrated(databases: Databases, migrations: Migrations) -> Iterator[str]:
    """A database with a service's schema, for as long as the block lasts; gives its URI."""
    uri = databases.create()
    asyncio.run(_migrate(uri, migrations))
    yield uri
    databases.drop(uri)


def name_of(uri: str) -> str:
    """The name of a database."""
    return str(conninfo.conninfo_to_dict(uri)["dbname"])


async def _migrate(uri: str, migrations: Migrations) -> None:
    database = Database(uri)
    await migrating.upgrade(database, migrations)
    await database.close()


def _replace_database(uri: str, name: str) -> str:
    """Turn `postgresql://user@host/old?host=/socket` into the same with another database."""
    server, _, options = uri.partition("?")
    scheme, _, rest = server.partition("://")
    authority = rest.partition("/")[0]
    return f"{scheme}://{authority}/{name}" + (f"?{options}" if options else "")
