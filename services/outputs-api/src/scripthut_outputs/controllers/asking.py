"""How a query says which rows of a list are wanted, for endpoints and pages alike; an empty filter leaves none out."""

from typing import Annotated, Any, Literal

from litestar.params import QueryParameter

from scripthut_common.events import RunState
from scripthut_outputs.catalog.asked import MAX_TEXT_CHARACTERS, ItemSort, RunsAsked, RunSort

# PostgreSQL keeps no NUL in a text.
TEXT: dict[str, Any] = {"max_length": MAX_TEXT_CHARACTERS, "pattern": r"^[^\x00]*$"}
Cluster = Annotated[str, QueryParameter(**TEXT, description="only runs on this cluster")]
Owner = Annotated[str, QueryParameter(**TEXT, description="only this person's runs, of those that you may see")]
State = Annotated[
    Literal["", "pending", "running", "succeeded", "failed", "unknown"],
    QueryParameter(name="state", description="only runs in this state"),
]
RunOrder = Annotated[RunSort, QueryParameter(name="sort", description="in which order")]
ItemOrder = Annotated[ItemSort, QueryParameter(name="sort", description="in which order")]
Text = Annotated[str, QueryParameter(name="q", **TEXT, description="only what has this in its name or id, in any case")]
Under = Annotated[str, QueryParameter(**TEXT, description="only tasks whose ids begin with this")]
Word = Annotated[str, QueryParameter(name="state", **TEXT, description="only tasks with this outcome, or state")]


def runs_asked(cluster: str, owner: str, state: str, text: str, sort: RunSort) -> RunsAsked:
    """Say in the catalog's words which runs are wanted."""
    return RunsAsked(
        cluster=cluster or None,
        owner=owner or None,
        state=RunState(state) if state else None,
        text=text.strip(),
        sort=sort,
    )
