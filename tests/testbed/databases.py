"""Databases of one PostgreSQL server, made and dropped in milliseconds."""

import secrets

import psycopg
from psycopg import conninfo, sql


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
        name = str(conninfo.conninfo_to_dict(uri)["dbname"])
        self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(statement)


def _replace_database(uri: str, name: str) -> str:
    """Turn `postgresql://user@host/old?host=/socket` into the same with another database."""
    server, _, options = uri.partition("?")
    scheme, _, rest = server.partition("://")
    authority = rest.partition("/")[0]
    return f"{scheme}://{authority}/{name}" + (f"?{options}" if options else "")
