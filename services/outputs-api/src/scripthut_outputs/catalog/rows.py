"""What writers of the ledger have in common: its columns, many rows as one statement, what an item is said to have."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Integer,
    LargeBinary,
    Text,
    bindparam,
    column,
    exists,
    func,
    or_,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.type_api import TypeEngine

from scripthut_outputs.ledger import FileState, Place
from scripthut_outputs.tables import FILES, ITEMS

LEDGER: dict[str, TypeEngine[Any]] = {
    "place": Text(),
    "path": LargeBinary(),
    "kind": Text(),
    "state": Text(),
    "count": Integer(),
    "size_bytes": BigInteger(),
    "modified_at": Double(),
    "sha256": Text(),
    "stored_bytes": BigInteger(),
    "remote_path": Text(),
    "reason": Text(),
    "attempt": Integer(),
}
KEYS: dict[str, TypeEngine[Any]] = {"run_id": Text(), "task_id": Text()}


def unnested(types: dict[str, TypeEngine[Any]], rows: Sequence[Sequence[object]]) -> Any:
    """Many rows as one statement with an array for each column."""
    arrays = zip(*rows, strict=True)
    binds = [
        bindparam(None, list(values), type_=ARRAY(type_)) for type_, values in zip(types.values(), arrays, strict=True)
    ]
    return func.unnest(*binds).table_valued(*(column(name, type_) for name, type_ in types.items())).render_derived()


def of_tasks(keys: Sequence[tuple[str, str]]) -> ColumnElement[bool]:
    """Match the files of these items."""
    return tuple_(FILES.c.run_id, FILES.c.task_id).in_(keys)


def has_output() -> ColumnElement[bool]:
    """Whether the ledger of an item has an output file, stored or left out."""
    return exists().where(*_OF_ITEM, FILES.c.place == Place.OUTPUT)


def has_fragment() -> ColumnElement[bool]:
    """Whether the ledger of an item has something for the run's summary, stored or left out."""
    is_something = or_(FILES.c.stored_bytes > 0, FILES.c.state != FileState.STORED)
    return exists().where(*_OF_ITEM, FILES.c.place == Place.RUN_SUMMARY, is_something)


_OF_ITEM = (FILES.c.run_id == ITEMS.c.run_id, FILES.c.task_id == ITEMS.c.task_id)
