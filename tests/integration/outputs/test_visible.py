"""What lists show is what may be read: the conditions of queries against `may`, in a real database."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from scripthut_common.database import Database
from scripthut_common.events import RunState
from scripthut_outputs.access import Action, Actor
from scripthut_outputs.access.may import may, visible
from scripthut_outputs.catalog import clusters, run_lists
from scripthut_outputs.catalog.asked import RunsAsked, RunSort, Visible
from scripthut_outputs.catalog.views import RunHead
from scripthut_outputs.catalog.visible import is_visible
from scripthut_outputs.tables import CLUSTERS, RUNS
from tests.unit.outputs.runs_and_actors import actors, runs

# One database for all examples: each empties it itself.
_ONE_DATABASE = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
_AT = datetime(2026, 1, 2, tzinfo=UTC)
_WORDS = ("pending", "running", "succeeded")


@_ONE_DATABASE
@given(found=st.lists(runs(), min_size=1, max_size=12), actor=actors())
async def test_the_condition_of_queries_is_what_may_says(
    database: Database, found: list[RunHead], actor: Actor
) -> None:
    await fill(database, found)

    async with database.transaction() as connection:
        listed = set(await connection.scalars(select(RUNS.c.run_id).where(is_visible(visible(actor)))))
        named = await clusters.names_seen_by(connection, visible(actor))

    theirs = [number for number, run in enumerate(found) if may(actor, Action.READ_RUN, run)]
    assert listed == {f"r{number}" for number in theirs}
    assert named == ({"c0", "c1", "c2"} if visible(actor).is_all else {f"c{number % 3}" for number in theirs})


@_ONE_DATABASE
@given(
    found=st.lists(runs(), min_size=1, max_size=12),
    actor=actors(),
    limit=st.integers(1, 4),
    asked=st.builds(
        RunsAsked,
        sort=st.sampled_from(RunSort),
        owner=st.sampled_from([None, None, "ann", "ben"]),
        cluster=st.sampled_from([None, None, "c1"]),
        state=st.sampled_from([None, None, RunState.RUNNING]),
        text=st.sampled_from(["", "", "1"]),
    ),
)
async def test_every_list_shows_exactly_what_may_be_read_page_by_page(
    database: Database, found: list[RunHead], actor: Actor, limit: int, asked: RunsAsked
) -> None:
    await fill(database, found)

    chosen = [
        number
        for number, run in enumerate(found)
        if may(actor, Action.READ_RUN, run)
        and asked.owner in {None, run.owner}
        and asked.cluster in {None, f"c{number % 3}"}
        and asked.state in {None, _WORDS[number % 3]}
        and asked.text in f"r{number} name {number % 4}"
    ]
    expected = [f"r{number}" for number in in_order(chosen, asked.sort)]
    assert await pages(database, asked, visible(actor), limit) == expected


def in_order(numbers: Sequence[int], sort: RunSort) -> list[int]:
    """Runs were created in the order of their numbers, two at a time."""
    newest = sorted(numbers, key=lambda number: (number // 2, f"r{number}"), reverse=True)
    match sort:
        case RunSort.NEWEST:
            return newest
        case RunSort.OLDEST:
            return newest[::-1]
        case RunSort.NAME:
            return sorted(numbers, key=lambda number: (number % 4, f"r{number}"))
        case RunSort.STATE:
            return sorted(newest, key=lambda number: _WORDS[number % 3])


async def pages(database: Database, asked: RunsAsked, seen: Visible, limit: int) -> list[str]:
    cursor, listed = None, list[str]()
    while True:
        async with database.transaction() as connection:
            found = await run_lists.read_list(connection, asked, visible=seen, limit=limit, cursor=cursor)
        listed += [run.run_id for run in found.runs]
        cursor = found.next
        if cursor is None:
            return listed


async def fill(database: Database, found: Sequence[RunHead]) -> None:
    rows = []
    for number, run in enumerate(found):
        row = {name: getattr(run, name) for name in ("owner", "visibility", "group")}
        at = run.created_at.replace(minute=number // 2)
        row |= {"run_id": f"r{number}", "name": f"Name {number % 4}", "cluster": f"c{number % 3}"}
        rows.append({**row, "created_at": at, "state": _WORDS[number % 3]})
    async with database.transaction() as connection:
        await connection.execute(delete(RUNS))
        await connection.execute(delete(CLUSTERS))
        await connection.execute(insert(RUNS), rows)
        names = [{"name": f"c{number}", "state": "reachable", "sequence": 1} for number in range(3)]
        await connection.execute(insert(CLUSTERS), names)


@pytest.mark.parametrize("sort", RunSort)
async def test_a_run_that_is_seen_in_several_ways_is_listed_once(database: Database, sort: RunSort) -> None:
    seen = Visible(owner="ann", groups=frozenset({"lattice", "plasma"}))
    run = msgspec.structs.replace
    base = RunHead(run_id="", name="", cluster="", owner="ann", created_at=_AT, version=1)
    await fill(
        database,
        [
            run(base, visibility="instance"),
            run(base, visibility="group", group="lattice"),
            run(base, owner="ben", visibility="group", group="plasma"),
            run(base, owner="ben", visibility="instance", group="lattice"),
            run(base, owner="ben", visibility="private", group="lattice"),
        ],
    )

    listed = await pages(database, RunsAsked(sort=sort), seen, 2)

    assert sorted(listed) == ["r0", "r1", "r2", "r3"]
