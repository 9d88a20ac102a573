"""Whose runs are, as those have to know who read for them on a cluster."""

from typing import Any

from sqlalchemy import Row, select

from scripthut_outputs.owning import Run
from scripthut_outputs.tables import IDENTITIES, RUNS

OF_THE_RUN = (
    RUNS.c.owner,
    RUNS.c.account,
    RUNS.c.document_sha256.is_not(None).label("is_requested"),
    select(IDENTITIES.c.account).where(IDENTITIES.c.name == RUNS.c.owner).scalar_subquery().label("claimed"),
)


def run_of(row: Row[*tuple[Any, ...]]) -> Run:
    """Take a run out of a row that has the columns `OF_THE_RUN`."""
    return Run(owner=row.owner, account=row.account, is_requested=row.is_requested, claimed=row.claimed)
