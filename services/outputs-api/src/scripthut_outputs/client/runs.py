"""List runs."""

from typing import Any

import msgspec

from scripthut_common import text

from .answers import Run, RunList, read
from .api import Api
from .exits import Exit
from .screen import Column, Screen
from .wording import counted

_A_PAGE = 500
_COLUMNS = (
    Column(title="run", is_elastic=True),
    Column(title="state"),
    Column(title="name", is_elastic=True, rank=1),
    Column(title="cluster", rank=4),
    Column(title="owner", rank=5),
    Column(title="created", rank=3),
    Column(title="tasks", is_elastic=True, rank=2),
)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs; `limit` is `None` for all of them."""

    cluster: str | None = None
    owner: str | None = None
    state: str | None = None
    query: str | None = None
    limit: int | None = 20


async def runs(api: Api, screen: Screen, wanted: Wanted) -> Exit:
    """Print the newest runs that the caller may see and that are wanted."""
    found, is_more = await _find(api, wanted)
    if screen.is_json:
        screen.tell({"runs": found, "is_more": is_more})
        return Exit.FINE
    if not found:
        screen.note("There are no such runs, or none that you may see.")
        return Exit.FINE
    screen.table(_COLUMNS, [_row(read(run, Run)) for run in found])
    if is_more:
        screen.note(f"These are the newest {len(found)}; --all shows all, --limit so many.")
    return Exit.FINE


async def _find(api: Api, wanted: Wanted) -> tuple[list[Any], bool]:
    """Give runs as the service tells them, and whether there are more."""
    found: list[Any] = []
    cursor: str | None = None
    while True:
        limit = _A_PAGE if wanted.limit is None else min(_A_PAGE, max(wanted.limit, 20))
        asked = {"cluster": wanted.cluster, "owner": wanted.owner, "state": wanted.state, "q": wanted.query}
        answer = await api.get("/runs", limit=limit, cursor=cursor, **asked)
        page = read(answer, RunList)
        found += [raw for raw, run in zip(answer["runs"], page.runs, strict=True) if _is_wanted(run, wanted)]
        cursor = page.next
        if wanted.limit is not None and len(found) > wanted.limit:
            return found[: wanted.limit], True
        if cursor is None:
            return found, False
        if wanted.limit is not None and len(found) == wanted.limit:
            return found, True


def _is_wanted(run: Run, wanted: Wanted) -> bool:
    """Sift once more: an older service knows no filters and answers with everything."""
    asked = ((wanted.cluster, run.cluster), (wanted.owner, run.owner), (wanted.state, run.state))
    return all(want in {None, has} for want, has in asked) and _is_found(run, wanted.query)


def _is_found(run: Run, query: str | None) -> bool:
    sought = (query or "").strip().casefold()
    return any(sought in field.casefold() for field in (run.run_id, run.name))


def _row(run: Run) -> tuple[str, ...]:
    return (
        text.name(run.run_id),
        text.name(run.state),
        text.name(run.name),
        text.name(run.cluster),
        text.name(run.owner),
        f"{run.created_at.astimezone():%Y-%m-%d %H:%M}",
        counted(run.counts),
    )
