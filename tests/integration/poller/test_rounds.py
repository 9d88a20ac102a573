"""What a round writes: state and event together, not too many events, and never over what somebody else has written."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from scripthut_common.database import Database
from scripthut_common.events import ClusterObserved, Evidence, ItemEvent, ItemState, Outcome, RunCompleted, Type
from scripthut_common.tasks import TaskSpec
from scripthut_poller.watchlist import clusters, requests, rounds, submissions
from scripthut_poller.watchlist.clusters import Observed
from scripthut_poller.watchlist.items import Item
from scripthut_poller.watchlist.recording import Change
from scripthut_poller.watchlist.requests import Terms
from scripthut_poller.watchlist.submissions import Handed
from tests.integration.poller.told import events, part_of_run, rows, run_row, tasks, term

GOOD = Observed(state="reachable", is_good=True, has_answered=True)


@pytest.fixture
async def watched(database: Database) -> list[Item]:
    """Two submitted items, `a` and `b`."""
    await requests.store(database, part_of_run(tasks("a", "b")), Terms())
    claimed = await submissions.claim(database, await term(database), limit=10, lease_s=60)
    fates = {item.key: Handed(job_id=f"j{item.task_id}") for item in claimed.items}
    await submissions.hand_over(database, await term(database), claimed.items, fates)
    return list((await rounds.watched(database, "here")).items)


async def _move(database: Database, item: Item, tells: Type | None = None, **values: Any) -> None:
    change = Change(before=item, after=msgspec.structs.replace(item, **values), tells=tells)
    await rounds.record_round(database, await term(database), [change], GOOD)


async def _again(database: Database, task_id: str = "a") -> Item:
    return next(item for item in (await rounds.watched(database, "here")).items if item.task_id == task_id)


async def _pass_time(database: Database, seconds: float) -> None:
    """Move every time in the past by this much."""
    async with database.transaction() as connection:
        for table, columns in {
            "items": ("announced_at", "entered_at", "submitted_at"),
            "clusters": ("published_at", "last_good_round_at", "answered_at", "answering_since"),
        }.items():
            moved = ", ".join(f"{column} = {column} - make_interval(secs => :seconds)" for column in columns)
            await connection.execute(text(f"UPDATE poller.{table} SET {moved}"), {"seconds": seconds})


async def _told(database: Database, task_id: str = "a") -> list[tuple[Type, ItemState, int]]:
    return [
        (one.type, one.data.state, one.data.sequence)
        for one in await events(database)
        if isinstance(one.data, ItemEvent) and one.data.task_id == task_id
    ]


async def test_a_round_knows_which_of_those_that_wait_depend_on_others(database: Database) -> None:
    wanted = [*tasks("a", "started"), TaskSpec(id="b", command="true", deps=("a",))]
    await requests.store(database, part_of_run(wanted), Terms())
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE poller.items SET state = 'queued', job_id = task_id"))
        await connection.execute(text("UPDATE poller.items SET started_at = now() WHERE task_id = 'started'"))
        await connection.execute(
            text(
                "INSERT INTO poller.items (run_id, task_id, position, cluster, task_name, state, job_id)"
                " SELECT run_id, 'announced', 9, cluster, 'announced', state, '9' FROM poller.items WHERE task_id = 'a'"
            )
        )

    watch = await rounds.watched(database, "here")

    assert {item.task_id: item.has_dependencies for item in watch.items} == {
        "a": False,
        "b": True,
        "started": False,
        "announced": False,
    }


async def test_state_and_event_are_written_together(database: Database, watched: list[Item]) -> None:
    await _move(database, watched[0], Type.ITEM_STARTED, state=ItemState.RUNNING, node="n1")

    assert (await rows(database))["a"].state == "running"
    assert await _told(database) == [
        (Type.ITEM_SUBMITTED, ItemState.SUBMITTED, 1),
        (Type.ITEM_STARTED, ItemState.RUNNING, 2),
    ]


async def test_a_round_never_writes_over_what_changed_meanwhile(database: Database, watched: list[Item]) -> None:
    await _move(database, watched[0], Type.ITEM_STARTED, state=ItemState.RUNNING)

    await _move(database, watched[0], Type.ITEM_CHANGED, state=ItemState.QUEUED)

    assert (await rows(database))["a"].state == "running"
    assert len(await _told(database)) == 2


async def test_changes_are_told_at_most_every_ten_seconds_and_the_last_one_always(
    database: Database, watched: list[Item]
) -> None:
    await _move(database, watched[0], Type.ITEM_CHANGED, state=ItemState.QUEUED, reason="Priority")
    for reason in ("Resources", "Priority", "Licenses"):
        await _move(database, await _again(database), Type.ITEM_CHANGED, reason=reason)
    await rounds.announce(database, await term(database))
    assert len(await _told(database)) == 2

    await _pass_time(database, 11)
    await rounds.announce(database, await term(database))
    await rounds.announce(database, await term(database))

    changed = [one.data for one in await events(database, Type.ITEM_CHANGED)]
    assert [one.reason for one in changed if isinstance(one, ItemEvent)] == ["Priority", "Licenses"]


async def test_an_end_is_told_at_once_and_settles_what_was_owed(database: Database, watched: list[Item]) -> None:
    await _move(database, watched[0], Type.ITEM_CHANGED, state=ItemState.QUEUED, reason="Priority")
    await _move(database, await _again(database), Type.ITEM_CHANGED, reason="Resources")

    await _move(
        database,
        await _again(database),
        Type.ITEM_COMPLETED,
        state=ItemState.FINAL,
        outcome=Outcome.SUCCEEDED,
        confirmed=True,
    )
    await _pass_time(database, 11)
    await rounds.announce(database, await term(database))

    assert [one[0] for one in await _told(database)] == [Type.ITEM_SUBMITTED, Type.ITEM_CHANGED, Type.ITEM_COMPLETED]


async def test_what_a_scheduler_says_is_kept_whatever_its_bytes(database: Database, watched: list[Item]) -> None:
    said = "no\0\udcff\x1b[31m|\n" + "x" * 100_000

    await _move(database, watched[0], Type.ITEM_CHANGED, reason=said, node=said, scheduler_word=said)

    kept = (await _again(database)).reason
    assert kept is not None
    assert kept.startswith("no\N{SYMBOL FOR NULL}\\udcff\x1b[31m|\nx")
    assert len(kept) == 2000
    changed = (await events(database, Type.ITEM_CHANGED))[0].data
    assert isinstance(changed, ItemEvent)
    assert changed.reason == kept


async def test_waiting_alone_is_kept_and_not_told(database: Database, watched: list[Item]) -> None:
    await _move(database, watched[0], waited_s=12.5)

    assert (await _again(database)).waited_s == 12.5
    assert len(await _told(database)) == 1


async def test_a_run_ends_with_its_last_item_and_says_so_once(database: Database, watched: list[Item]) -> None:
    ends = {"state": ItemState.FINAL, "outcome": Outcome.SUCCEEDED, "confirmed": True}

    await _move(database, watched[0], Type.ITEM_COMPLETED, **ends)
    assert (await run_row(database)).state == "running"
    await _move(database, watched[1], Type.ITEM_COMPLETED, **(ends | {"outcome": Outcome.UNKNOWN}))

    ended = [one.data for one in await events(database, Type.RUN_COMPLETED)]
    assert [(one.state, one.sequence) for one in ended if isinstance(one, RunCompleted)] == [("unknown", 1)]


async def test_a_corrected_verdict_is_told_with_its_revision_and_corrects_the_run(
    database: Database, watched: list[Item]
) -> None:
    now = (await rounds.watched(database, "here")).now
    by_record = {
        "entered_at": now,
        "state": ItemState.FINAL,
        "outcome": Outcome.FAILED,
        "evidence": Evidence.EXIT_RECORD,
    }
    for item in watched:
        await _move(database, item, Type.ITEM_COMPLETED, **by_record)

    for task_id in ("a", "b"):
        revised = {"outcome": Outcome.TIMED_OUT, "revision": 1, "confirmed": True, "evidence": Evidence.SCHEDULER}
        await _move(database, await _again(database, task_id), Type.ITEM_COMPLETED, **(by_record | revised))

    assert (await rounds.watched(database, "here")).items == ()
    assert [one[0] for one in await _told(database)].count(Type.ITEM_COMPLETED) == 2
    assert len(await events(database, Type.RUN_COMPLETED)) == 1


async def test_a_verdict_without_the_schedulers_word_is_watched_for_a_day(
    database: Database, watched: list[Item]
) -> None:
    now = (await rounds.watched(database, "here")).now
    for item in watched:
        await _move(database, item, state=ItemState.FINAL, outcome=Outcome.UNKNOWN, entered_at=now)
    assert len((await rounds.watched(database, "here")).items) == 2

    await _pass_time(database, 86_401)

    assert (await rounds.watched(database, "here")).items == ()


async def test_a_cluster_is_told_on_change_and_every_half_minute(database: Database) -> None:
    away = Observed(state="unreachable", error="no route")
    for seen in (GOOD, GOOD, away, away, GOOD):
        await clusters.observe(database, await term(database), seen)
    await _pass_time(database, 31)
    await clusters.observe(database, await term(database), GOOD)

    told = [one.data for one in await events(database, Type.CLUSTER_OBSERVED)]
    assert [(one.state, one.sequence) for one in told if isinstance(one, ClusterObserved)] == [
        ("reachable", 1),
        ("unreachable", 2),
        ("reachable", 3),
        ("reachable", 4),
    ]


async def test_a_cluster_whose_complaints_are_no_text_is_told_all_the_same(database: Database) -> None:
    hostile = "squeue: \0\udcff" + "x" * 100_000

    await clusters.observe(database, await term(database), Observed(state="unreachable", error=hostile))

    (told,) = await events(database, Type.CLUSTER_OBSERVED)
    assert isinstance(told.data, ClusterObserved)
    assert told.data.error is not None
    assert told.data.error.startswith("squeue: \u2400\\udcffxxx")
    assert len(told.data.error) < 3000


async def test_a_bad_round_does_not_count_as_a_good_one(database: Database) -> None:
    await clusters.observe(database, await term(database), GOOD)
    before = (await rounds.watched(database, "here")).last_good_round_at

    await clusters.observe(database, await term(database), Observed(state="unreachable", error="no route"))

    after = await rounds.watched(database, "here")
    assert after.last_good_round_at == before
    assert before is not None
    assert after.now - before >= timedelta(0)


async def test_ten_thousand_items_end_in_one_round(database: Database) -> None:
    await requests.store(database, part_of_run(tasks(*(f"t{n}" for n in range(10_000)))), Terms())
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE poller.items SET state = 'running', job_id = task_id"))
    items = (await rounds.watched(database, "here")).items
    ends = {"state": ItemState.FINAL, "outcome": Outcome.SUCCEEDED, "confirmed": True}

    changes = [
        Change(before=item, after=msgspec.structs.replace(item, **ends), tells=Type.ITEM_COMPLETED) for item in items
    ]
    await rounds.record_round(database, await term(database), changes, GOOD)

    assert len(await events(database, Type.ITEM_COMPLETED)) == 10_000
    assert (await run_row(database)).state == "succeeded"


async def test_a_round_of_more_changes_than_one_transaction_takes_is_recorded_whole(
    database: Database, watched: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "CHANGES_AT_ONCE", 1)
    changes = [
        Change(before=item, after=msgspec.structs.replace(item, state=ItemState.RUNNING), tells=Type.ITEM_STARTED)
        for item in watched
    ]

    await rounds.record_round(database, await term(database), changes, GOOD)

    assert {row.state for row in (await rows(database)).values()} == {"running"}
    assert len(await events(database, Type.ITEM_STARTED)) == 2
    assert len(await events(database, Type.CLUSTER_OBSERVED)) == 1


async def test_a_change_of_nothing_but_its_event_is_told(database: Database, watched: list[Item]) -> None:
    await _move(database, watched[0], Type.ITEM_CHANGED)

    assert (await _told(database))[-1] == (Type.ITEM_CHANGED, ItemState.SUBMITTED, 2)


async def test_each_item_of_a_round_keeps_what_only_others_change(database: Database, watched: list[Item]) -> None:
    values: tuple[dict[str, Any], ...] = ({"node": "n1", "exit_code": 3}, {"reason": "Priority"})
    changes = [
        Change(before=item, after=msgspec.structs.replace(item, **own), tells=Type.ITEM_CHANGED)
        for item, own in zip(watched, values, strict=True)
    ]

    await rounds.record_round(database, await term(database), changes, GOOD)

    kept = await rows(database)
    assert [(kept[task].node, kept[task].exit_code, kept[task].reason) for task in ("a", "b")] == [
        ("n1", 3, None),
        (None, None, "Priority"),
    ]


@pytest.mark.parametrize(("gap_s", "is_outage"), [(500, False), (700, True)])
async def test_the_time_of_answers_begins_anew_after_an_outage(
    database: Database, *, gap_s: float, is_outage: bool
) -> None:
    await clusters.observe(database, await term(database), GOOD)
    await _pass_time(database, gap_s)
    away = Observed(state="unreachable", error="no route")
    await clusters.observe(database, await term(database), away)

    before = await rounds.watched(database, "here")
    await clusters.observe(database, await term(database), GOOD)
    after = await rounds.watched(database, "here")

    assert ((before.now - before.answering_since).total_seconds() < 60) is is_outage
    assert ((after.now - after.answering_since).total_seconds() < 60) is is_outage


async def test_a_queue_that_answers_while_accounting_does_not_goes_on_answering(database: Database) -> None:
    degraded = Observed(state="degraded", error="slurmdbd is away", has_answered=True)
    for _ in range(4):
        await clusters.observe(database, await term(database), degraded)
        await _pass_time(database, 500)

    seen = await rounds.watched(database, "here")

    assert (seen.now - seen.answering_since).total_seconds() >= 2000
    assert seen.last_good_round_at is None
