"""A round asks little, concludes only from whole answers, and tells how it went."""

from collections import Counter

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from scripthut_common.errors import NoConnection
from scripthut_common.events import ClusterObserved, ItemEvent, ItemState, Outcome, Type
from scripthut_common.tasks import TaskSpec
from scripthut_poller.budget import Budget
from scripthut_poller.metrics import Metrics
from scripthut_poller.watching import Watching
from tests.integration.poller.bench import Bench
from tests.integration.poller.told import events, rows


async def _finish(bench: Bench) -> None:
    """Take rounds until nothing is watched any more."""
    async with bench.database.transaction() as connection:
        ids = (await connection.scalars(text("SELECT task_id FROM poller.items"))).all()
    await bench.rounds_until("final", *ids)
    while any(not row.confirmed for row in (await rows(bench.database)).values()):
        await bench.watching.round()


async def test_nothing_watched_costs_no_command(bench: Bench) -> None:
    await bench.watching.round()
    await bench.ask([bench.task("a")])
    await bench.watching.round()
    assert bench.shell.ran == []

    await bench.submitting.step()
    await _finish(bench)
    ran = len(bench.shell.ran)
    await bench.watching.round()

    assert len(bench.shell.ran) == ran


async def test_a_round_costs_at_most_three_commands_whatever_the_number_of_items(bench: Bench) -> None:
    await bench.ask([bench.task(f"t{n}") for n in range(30)])
    await bench.submitting.step()
    async with bench.database.transaction() as connection:
        await connection.execute(text("UPDATE poller.items SET submitted_at = now() - interval '2 minutes'"))
    bench.shell.ran.clear()

    await bench.watching.round()

    assert set(Counter(bench.shell.ran).values()) <= {1}
    assert len(bench.shell.ran) <= 3


async def test_a_finished_task_has_left_its_mark_once_and_its_verdict_is_told_once(bench: Bench) -> None:
    await bench.ask([bench.task("a")])
    await bench.submitting.step()

    await _finish(bench)

    assert (bench.notes / "a").read_text() == "ran\n"
    told = [one.data for one in await events(bench.database, Type.ITEM_COMPLETED)]
    assert [one.outcome for one in told if isinstance(one, ItemEvent)] == [Outcome.SUCCEEDED]


async def test_while_the_cluster_is_away_no_item_changes_or_ages(bench: Bench) -> None:
    await bench.ask([TaskSpec(id="a", command="sleep 600")])
    await bench.submitting.step()
    await bench.rounds_until("running", "a")
    before = (await rows(bench.database))["a"]
    bench.shell.away.add("*")

    for _ in range(3):
        await bench.watching.round()

    assert (await rows(bench.database))["a"] == before
    told = [one.data for one in await events(bench.database, Type.CLUSTER_OBSERVED)]
    assert [(one.state, one.error) for one in told if isinstance(one, ClusterObserved)][-1] == (
        "unreachable",
        "cluster 'here': no route to host",
    )
    assert bench.watching.fault == "cluster 'here': no route to host"


async def test_when_the_cluster_is_back_the_round_goes_on_where_it_was(bench: Bench) -> None:
    await bench.ask([bench.task("a")])
    await bench.submitting.step()
    bench.shell.away.add("*")
    await bench.watching.round()
    bench.shell.away.clear()

    await _finish(bench)

    assert bench.watching.fault is None
    states = [one.data.state for one in await events(bench.database, Type.CLUSTER_OBSERVED)]  # type: ignore[union-attr]
    assert states == ["unreachable", "reachable"]


async def test_what_keeps_jobs_from_being_submitted_is_told_while_it_lasts(bench: Bench) -> None:
    await bench.ask([bench.task("a")])
    bench.shell.away.add("*")

    with pytest.raises(NoConnection):
        await bench.submitting.step()
    await bench.watching.round()
    bench.shell.away.clear()
    await bench.submitting.step()
    await _finish(bench)

    told = [one.data for one in await events(bench.database, Type.CLUSTER_OBSERVED)]
    assert [(one.state, one.error) for one in told if isinstance(one, ClusterObserved)] == [
        ("degraded", "cluster 'here': no route to host"),
        ("reachable", None),
    ]


async def test_a_lost_answer_from_accounting_decides_nothing_and_is_told(bench: Bench) -> None:
    await bench.ask([bench.task("a")])
    await bench.submitting.step()
    await bench.rounds_until("final", "a")
    async with bench.database.transaction() as connection:
        await connection.execute(
            text("UPDATE poller.items SET state = 'settling', outcome = NULL, evidence = 'none', nonce = 'other'")
        )
    bench.shell.away.add("localhost accounting")

    await bench.watching.round()

    row = (await rows(bench.database))["a"]
    assert (row.state, row.waited_s) == ("settling", 0)
    assert bench.watching.fault == "cluster 'here': no route to host"


async def test_the_next_round_comes_soon_after_a_submission_and_else_in_time(bench: Bench) -> None:
    now = [100.0]
    watching = bench.watching_by(lambda: now[0], interval_s=10.0)
    await bench.ask([TaskSpec(id="a", command="sleep 600")])
    await bench.submitting.step()
    bench.shell.ran.clear()

    async def rounds_at(at_s: float) -> int:
        now[0] = 100 + at_s
        await watching.step()
        return bench.shell.ran.count("localhost queue")

    assert [await rounds_at(at_s) for at_s in (0, 0.5, 3, 9.9)] == [1, 1, 1, 1]
    assert await rounds_at(10) == 2
    watching.soon()
    assert [await rounds_at(at_s) for at_s in (10.5, 11, 11.5, 20.9, 21)] == [2, 3, 3, 3, 4]


async def test_commands_a_minute_are_told(bench: Bench) -> None:
    await bench.ask([TaskSpec(id="a", command="sleep 600")])
    await bench.submitting.step()
    for _ in range(3):
        await bench.watching.round()

    async with bench.database.transaction() as connection:
        await connection.execute(text("UPDATE poller.clusters SET published_at = now() - interval '31 s'"))
    await bench.watching.round()

    last = (await events(bench.database, Type.CLUSTER_OBSERVED))[-1].data
    assert isinstance(last, ClusterObserved)
    assert last.commands_per_minute >= 4


async def test_rounds_and_what_they_see_are_counted(bench: Bench) -> None:
    registry = CollectorRegistry()
    bench.site = msgspec.structs.replace(bench.site, metrics=Metrics(registry).of("here"), budget=Budget(60))
    watching = Watching(bench.database, bench.site)
    await bench.ask([TaskSpec(id="a", command="sleep 600")])
    await bench.submitting.step()

    await watching.round()
    bench.shell.away.add("*")
    await watching.round()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"scripthut_poller_{name}", {"cluster": "here", **labels})

    assert value("rounds_total", result="reachable") == 1
    assert value("rounds_total", result="unreachable") == 1
    assert value("round_duration_seconds_count") == 2
    assert sum(value("items", state=state) or 0 for state in ItemState) == 1
    assert value("lease_held") == 1
    assert 2 <= (value("commands_per_minute") or 0) <= 4
    assert (value("last_good_round_age_seconds") or -1) >= 0


async def test_a_spent_budget_lets_rounds_wait(bench: Bench) -> None:
    bench.site = msgspec.structs.replace(bench.site, budget=Budget(4))
    watching = Watching(bench.database, bench.site)
    assert watching.is_due

    await bench.site.budget.take(3)

    assert not watching.is_due


async def test_after_failed_rounds_the_next_ones_come_later(bench: Bench) -> None:
    await bench.ask([TaskSpec(id="a", command="sleep 600")])
    await bench.submitting.step()
    now = 1000.0
    watching = bench.watching_by(lambda: now, interval_s=10)
    bench.shell.away.add("*")
    rests = []

    for _ in range(4):
        while not watching.is_due:
            now += 1
        before = now
        await watching.step()
        now += 0.5
        while not watching.is_due:
            now += 0.5
        rests.append(now - before)

    assert 10 <= rests[0] <= 20
    assert rests[-1] >= 15


async def test_how_a_cluster_stands_is_told_every_half_minute_though_rounds_are_seldom(bench: Bench) -> None:
    now = 1000.0
    watching = bench.watching_by(lambda: now, interval_s=600)
    await watching.step()
    async with bench.database.transaction() as connection:
        await connection.execute(text("UPDATE poller.clusters SET published_at = now() - interval '31 seconds'"))
    told = len(await events(bench.database, Type.CLUSTER_OBSERVED))

    now += 31
    assert watching.is_due
    await watching.step()

    assert len(await events(bench.database, Type.CLUSTER_OBSERVED)) == told + 1
    assert not watching.is_due


async def test_what_is_submitted_during_a_round_is_looked_after_soon(bench: Bench) -> None:
    await bench.ask([TaskSpec(id="a", command="sleep 600")])
    await bench.submitting.step()
    now = 1000.0
    watching = bench.watching_by(lambda: now, interval_s=600)
    bench.shell.after["localhost queue"] = watching.soon

    await watching.step()

    assert not watching.is_due
    now += 1
    assert watching.is_due
