"""Which runs somebody may see, as conditions of queries; the same as `access.may` says of one run.

A run is theirs, or open to everybody, or open to a group of theirs. Each way has its own indexes; a list that asked
for any of the three at once would read all runs.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, any_, cast, column, func, literal, literal_column, or_, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from scripthut_outputs.tables import RUNS

from .asked import Visible

# Written out, so that a plan which was made without knowing any value still finds the indexes of open runs.
IS_OPEN_TO_ALL = RUNS.c.visibility == literal_column("'instance'")
IS_OPEN_TO_GROUP = RUNS.c.visibility == literal_column("'group'")


def is_visible(visible: Visible) -> ColumnElement[bool]:
    """The condition on a run that somebody may see."""
    return true() if visible.is_all else or_(*ways(visible))


def ways(visible: Visible) -> Iterator[ColumnElement[bool]]:
    """Each way in which somebody may see a run, who may not see all."""
    yield RUNS.c.owner == visible.owner
    yield IS_OPEN_TO_ALL
    if visible.groups:
        yield and_(IS_OPEN_TO_GROUP, RUNS.c.group == any_(_array(visible)))


def groups_of(visible: Visible) -> FromClause:
    """Somebody's groups as rows of one column, `theirs`."""
    return func.unnest(_array(visible)).table_valued(column("theirs", Text)).render_derived(name="groups")


def _array(visible: Visible) -> ColumnElement[Any]:
    return cast(literal(sorted(visible.groups), ARRAY(Text)), ARRAY(Text))
