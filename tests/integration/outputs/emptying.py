"""Empty a catalog for the next test: in milliseconds where little was written, as most tests do."""

from sqlalchemy import text

from scripthut_common.database import Database
from scripthut_outputs.tables import FILES, ITEMS, METADATA, RUNS

_NAMES = [table.fullname for table in METADATA.sorted_tables]
_ALL = ", ".join(_NAMES)
_LARGE = " OR ".join(f"EXISTS (SELECT FROM {table.fullname} OFFSET 1000)" for table in (RUNS, ITEMS, FILES))
_DELETE = "; ".join(f"DELETE FROM {name}" for name in reversed(_NAMES))
# A file is made anew for every table and index that is truncated. Locked, since one who still writes is waited for.
_EMPTY = f"""DO $$ BEGIN
    SET LOCAL scripthut.audit_pruning = 'on';
    LOCK TABLE {_ALL} IN SHARE ROW EXCLUSIVE MODE;
    IF {_LARGE} THEN TRUNCATE {_ALL}; ELSE {_DELETE}; END IF;
END $$"""


async def empty(database: Database) -> None:
    """Remove every row of a catalog."""
    async with database.transaction() as connection:
        await connection.execute(text(_EMPTY))
