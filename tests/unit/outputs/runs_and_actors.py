"""Runs and actors, to ask what the one may with the other."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from scripthut_outputs.access import Actor, Role
from scripthut_outputs.catalog.views import RunHead

NAMES = ("ann", "ben", "", "share:s1", "daint:ann")
GROUPS = ("lattice", "plasma", "")
VISIBILITIES = ("private", "group", "instance", "planet", "")


def a_run(run_id: str = "r1", **fields: Any) -> RunHead:
    """A run as far as its rights go."""
    told: dict[str, Any] = {
        "name": "a run",
        "cluster": "daint",
        "owner": "ann",
        "created_at": datetime(2026, 1, 2, tzinfo=UTC),
    }
    return RunHead(run_id=run_id, version=1, **(told | fields))


def runs() -> st.SearchStrategy[RunHead]:
    """Any run of few people and groups, so that they meet."""
    return st.builds(
        a_run,
        owner=st.sampled_from(NAMES),
        visibility=st.sampled_from(VISIBILITIES),
        group=st.sampled_from([None, *GROUPS]),
    )


def actors() -> st.SearchStrategy[Actor]:
    """Anybody who may list runs."""
    return st.builds(
        Actor,
        name=st.sampled_from(NAMES),
        role=st.sampled_from([Role.USER, Role.ADMIN]),
        groups=st.frozensets(st.sampled_from(GROUPS)),
    )
