"""Who may hand what to the scheduler, and when: claims, dependencies, what is unclear after a crash."""

from collections.abc import Sequence

from sqlalchemy import text, update

from scripthut_common.database import Database
from scripthut_common.events import ItemEvent, ItemState, Outcome, Type
from scripthut_common.tasks import TaskSpec
from scripthut_poller.tables import ITEMS
from scripthut_poller.watchlist import cancellations, dependencies, requests, submissions
from scripthut_poller.watchlist.items import Job
from scripthut_poller.watchlist.recording import End
from scripthut_poller.watchlist.requests import Terms
from scripthut_poller.watchlist.submissions import Claim, Handed
from tests.integration.poller.told import events, part_of_run, rows, run_row, tasks, term


async def _asked(database: Database, wanted: Sequence[TaskSpec]) -> None:
    await requests.store(database, part_of_run(wanted), Terms())


async def _claim(database: Database, limit: int = 100) -> Claim:
    return await submissions.claim(database, await term(database), limit=limit, lease_s=60)


async def _hand_over(database: Database, claimed: Claim) -> None:
    fates = {item.key: Handed(job_id=f"j-{item.task_id}") for item in claimed.items}
    await submissions.hand_over(database, await term(database), claimed.items, fates)


async def _end(database: Database, task_id: str, outcome: Outcome) -> None:
    async with database.transaction() as connection:
        ended = update(ITEMS).where(ITEMS.c.task_id == task_id).values(state=ItemState.FINAL, outcome=outcome)
        await connection.execute(ended)


async def _let_leases_end(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE poller.items SET submission_until = now() - interval '1 second'"))


def _ids(claimed: Claim) -> list[str]:
    return [item.task_id for item in claimed.items]


async def test_what_is_claimed_is_claimed_once_in_submission_order(database: Database) -> None:
    await _asked(database, tasks("c", "a", "b"))

    first = await _claim(database, limit=2)
    second = await _claim(database)

    assert (_ids(first), _ids(second)) == (["c", "a"], ["b"])
    item = (await rows(database))["c"]
    assert item.submission_started_at is not None
    assert item.nonce == first.items[0].nonce


async def test_tasks_without_dependencies_do_not_wait_for_what_is_unclear(database: Database) -> None:
    await _asked(database, [*tasks("lost"), *tasks("child", deps=("lost",)), *tasks("free")])
    await _claim(database, limit=1)

    assert _ids(await _claim(database)) == ["free"]


async def test_a_task_is_claimed_after_or_with_what_it_depends_on(database: Database) -> None:
    await _asked(database, [*tasks("child", deps=("parent",)), *tasks("other", "parent")])

    first = await _claim(database, limit=2)
    await _hand_over(database, first)
    second = await _claim(database)
    resolved = await dependencies.resolve(database, second.items)

    assert (_ids(first), _ids(second)) == (["other", "parent"], ["child"])
    assert first.items[1].is_held
    assert resolved.ready[0].after_ids == ("j-parent",)


async def test_a_task_does_not_overtake_what_somebody_else_has_claimed(database: Database) -> None:
    await _asked(database, [*tasks("parent"), *tasks("child", deps=("parent",))])

    first = await _claim(database, limit=1)
    second = await _claim(database)

    assert (_ids(first), _ids(second)) == (["parent"], [])


async def test_a_chain_is_claimed_as_one_batch_parents_first(database: Database) -> None:
    await _asked(database, [task for n in range(4) for task in tasks(f"t{n}", deps=(f"t{n + 1}",))] + [*tasks("t4")])

    claimed = await _claim(database)
    resolved = await dependencies.resolve(database, claimed.items)

    assert _ids(claimed) == ["t4", "t3", "t2", "t1", "t0"]
    assert [[item.task_id for item in ready.after] for ready in resolved.ready] == [[], ["t4"], ["t3"], ["t2"], ["t1"]]


async def test_a_dependency_that_succeeded_is_dropped(database: Database) -> None:
    await _asked(database, [*tasks("parent"), *tasks("child", deps=("parent",))])
    await _hand_over(database, await _claim(database, limit=1))
    await _end(database, "parent", Outcome.SUCCEEDED)

    claimed = await _claim(database)
    resolved = await dependencies.resolve(database, claimed.items)

    assert [(ready.after_ids, ready.after) for ready in resolved.ready] == [((), ())]


async def test_a_dependency_that_failed_ends_all_that_follow_from_it(database: Database) -> None:
    chain = [*tasks("t0"), *(task for n in range(1, 500) for task in tasks(f"t{n}", deps=(f"t{n - 1}",)))]
    await _asked(database, chain)
    await _hand_over(database, await _claim(database, limit=1))
    await _end(database, "t0", Outcome.UNKNOWN)

    claimed = await _claim(database, limit=10)
    resolved = await dependencies.resolve(database, claimed.items)
    await submissions.give_back(database, claimed, [item.key for item in claimed.items])
    ended = await dependencies.fail_dependents(database, ["r1"])

    assert (len(resolved.doomed), resolved.ready) == (10, ())
    assert ended == 499
    last = (await rows(database))["t499"]
    assert last.outcome == Outcome.DEPENDENCY_FAILED
    assert last.reason == "a task that it depends on did not succeed: t498"


async def test_a_task_that_the_scheduler_refuses_ends_with_its_words_and_dooms_its_dependents(
    database: Database,
) -> None:
    await _asked(database, [*tasks("parent"), *tasks("child", deps=("parent",))])
    claimed = await _claim(database, limit=1)

    refused = End(outcome=Outcome.SUBMISSION_FAILED, reason="invalid partition")
    await submissions.hand_over(database, await term(database), claimed.items, {("r1", "parent"): refused})
    await dependencies.fail_dependents(database, ["r1"])

    told = {one.data.task_id: one.data for one in await events(database) if isinstance(one.data, ItemEvent)}
    assert (told["parent"].outcome, told["parent"].reason) == (Outcome.SUBMISSION_FAILED, "invalid partition")
    assert told["child"].outcome is Outcome.DEPENDENCY_FAILED
    assert len(await events(database, Type.RUN_COMPLETED)) == 1


async def test_after_a_crash_the_same_nonce_is_claimed_again_but_not_before_the_lease_ends(database: Database) -> None:
    await _asked(database, tasks("a"))
    lost = await _claim(database)

    early = await submissions.claim_unclear(database, await term(database), limit=100, lease_s=60)
    await _let_leases_end(database)
    found = await submissions.claim_unclear(database, await term(database), limit=100, lease_s=60)

    assert _ids(early) == []
    assert found.items[0].nonce == lost.items[0].nonce
    assert not found.is_fresh


async def test_items_of_which_nothing_has_run_are_free_at_once(database: Database) -> None:
    await _asked(database, tasks("a"))
    claimed = await _claim(database)

    await submissions.give_back(database, claimed, [("r1", "a")])

    assert _ids(await _claim(database)) == ["a"]


async def test_who_has_lost_the_claim_gives_nothing_back(database: Database) -> None:
    await _asked(database, tasks("a"))
    slow = await _claim(database)
    await _let_leases_end(database)
    await submissions.claim_unclear(database, await term(database), limit=100, lease_s=60)

    await submissions.give_back(database, slow, [("r1", "a")])

    assert _ids(await _claim(database)) == []


async def test_an_item_is_submitted_once_in_state_and_event(database: Database) -> None:
    await _asked(database, tasks("a"))
    claimed = await _claim(database)

    await _hand_over(database, claimed)
    await _hand_over(database, claimed)

    told = await events(database, Type.ITEM_SUBMITTED)
    assert len(told) == 1
    assert isinstance(told[0].data, ItemEvent)
    assert (told[0].data.job_id, told[0].data.sequence, told[0].data.state) == ("j-a", 1, ItemState.SUBMITTED)
    assert (await run_row(database)).state == "running"


async def test_held_jobs_are_released_when_the_whole_run_is_in(database: Database) -> None:
    await _asked(database, [*tasks("parent"), *tasks("child", deps=("parent",))])
    await _hand_over(database, await _claim(database, limit=1))
    assert await submissions.releasable(database, "here", limit=100) == []
    await _hand_over(database, await _claim(database))

    held = await submissions.releasable(database, "here", limit=100)
    await submissions.released(database, await term(database), [job.key for job in held])

    assert held == [Job(key=("r1", "parent"), job_id="j-parent", job_user=None)]
    assert await submissions.releasable(database, "here", limit=100) == []


async def test_children_are_cancelled_before_what_they_wait_for(database: Database) -> None:
    await _asked(database, [*tasks("child", deps=("parent",)), *tasks("parent"), *tasks("last", deps=("child",))])
    await _hand_over(database, await _claim(database))
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE poller.runs SET cancel_requested_at = now()"))

    due = await cancellations.due(database, "here", limit=100)

    assert [job.job_id for job in due] == ["j-last", "j-child", "j-parent"]


async def test_submitted_jobs_of_a_cancelled_run_are_cancelled_once(database: Database) -> None:
    await _asked(database, tasks("a", "b"))
    await _hand_over(database, await _claim(database, limit=1))
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE poller.runs SET cancel_requested_at = now()"))

    due = await cancellations.due(database, "here", limit=100)
    await cancellations.sent(database, await term(database), [job.key for job in due])

    assert due == [Job(key=("r1", "a"), job_id="j-a", job_user=None)]
    assert await cancellations.due(database, "here", limit=100) == []
    assert _ids(await _claim(database)) == []


async def test_a_log_directory_is_placed_for_good(database: Database) -> None:
    await requests.store(database, part_of_run(tasks("a", "b"), log_dir="~/logs"), Terms())
    claimed = await _claim(database, limit=1)

    placed = await submissions.place(database, claimed.items, {"r1": "/home/ada/logs"})
    later = await _claim(database)

    assert placed[0].output_dir == "/home/ada/logs/outputs/r1/a"
    assert later.items[0].log_dir == "/home/ada/logs"
