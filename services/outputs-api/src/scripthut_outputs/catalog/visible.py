"""Which runs somebody may see, as a condition of a query; the same as `access.may` says of one run."""

from sqlalchemy import ColumnElement, and_, or_, true

from scripthut_outputs.tables import RUNS

from .asked import Visible


def is_visible(visible: Visible) -> ColumnElement[bool]:
    """The condition on a run that somebody may see."""
    if visible.is_all:
        return true()
    is_open = [RUNS.c.owner == visible.owner, RUNS.c.visibility == "instance"]
    if visible.groups:
        is_open.append(and_(RUNS.c.visibility == "group", RUNS.c.group.in_(sorted(visible.groups))))
    return or_(*is_open)
