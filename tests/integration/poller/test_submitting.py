"""Items reach the scheduler once, whatever breaks on the way."""

from pathlib import Path

import pytest
from sqlalchemy import text

from scripthut_common.database import Database
from scripthut_common.errors import NoConnection, Unreachable
from scripthut_common.events import ItemEvent, Outcome, Type
from scripthut_common.tasks import TaskSpec
from scripthut_poller.watchlist import requests
from scripthut_poller.watchlist.requests import Terms
from tests.integration.poller.bench import Bench
from tests.integration.poller.told import cancellation_of, events, part_of_run, rows, tasks


async def _let_leases_end(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE poller.items SET submission_until = now() - interval '1 second'"))


async def test_a_run_is_submitted_with_its_dependencies_in_one_command(bench: Bench) -> None:
    await bench.ask([bench.task("child", "parent"), bench.task("parent"), bench.task("free")])

    assert await bench.submitting.step()
    assert not await bench.submitting.step()

    assert len(await bench.jobs()) == 3
    assert bench.shell.ran == ["localhost submit", "localhost release"]
    told = [one.data for one in await events(bench.database, Type.ITEM_SUBMITTED)]
    assert [one.task_id for one in told if isinstance(one, ItemEvent)] == ["parent", "child", "free"]


async def test_a_hundred_tasks_make_one_command(bench: Bench) -> None:
    await bench.ask([bench.task(f"t{n}") for n in range(101)])

    while await bench.submitting.step():
        pass

    assert bench.shell.ran == ["localhost submit"] * 2


async def test_a_tilde_is_expanded_once_and_for_good(bench: Bench) -> None:
    await bench.ask([bench.task("a")], log_dir="~/scripthut-never-made")

    bench.shell.away.add("localhost submit")
    with pytest.raises(NoConnection):
        await bench.submitting.step()
    assert bench.shell.ran == ["home"]

    async with bench.database.transaction() as connection:
        log_dir = await connection.scalar(text("SELECT log_dir FROM poller.runs"))
    assert log_dir == f"{Path.home()}/scripthut-never-made"


async def test_while_the_cluster_is_away_nothing_is_lost_and_nothing_waits_for_a_lease(bench: Bench) -> None:
    await bench.ask([bench.task("a")])
    bench.shell.away.add("*")

    with pytest.raises(NoConnection, match="no route"):
        await bench.submitting.step()
    bench.shell.away.clear()
    await bench.submitting.step()

    assert bench.shell.ran == ["localhost submit"]
    assert None not in await bench.jobs()


async def test_a_lost_answer_is_looked_up_and_submits_nothing_twice(bench: Bench) -> None:
    await bench.ask([bench.task("a"), bench.task("b")])
    bench.shell.cut.add("localhost submit")

    with pytest.raises(Unreachable):
        await bench.submitting.step()
    bench.shell.cut.clear()
    await bench.submitting.step()

    assert bench.shell.ran == ["localhost submit", "localhost find"]
    assert len(await bench.jobs()) == 2


async def test_a_crash_between_submission_and_commit_is_found_by_the_next_life(bench: Bench) -> None:
    await bench.ask([bench.task("a")])
    bench.shell.cut.add("localhost submit")
    with pytest.raises(Unreachable):
        await bench.submitting.step()
    bench.shell.cut.clear()

    await bench.another_life().step()

    assert bench.shell.ran == ["localhost submit", "localhost find"]
    assert None not in await bench.jobs()


async def test_what_is_not_found_is_submitted_only_after_the_lease_and_with_the_same_nonce(bench: Bench) -> None:
    await bench.ask([bench.task("a")])
    bench.shell.away.add("localhost submit")
    with pytest.raises(NoConnection):
        await bench.submitting.step()
    async with bench.database.transaction() as connection:
        await connection.execute(
            text("UPDATE poller.items SET submission_started_at = now(), submission_until = now() + '1 h', nonce = 'n'")
        )
    bench.shell.away.clear()

    life = bench.another_life()
    await life.step()
    assert await bench.jobs() == {None}
    await _let_leases_end(bench.database)
    await life.step()

    assert bench.shell.ran == ["localhost find", "localhost find", "localhost submit"]
    assert (await rows(bench.database))["a"].nonce == "n"
    assert None not in await bench.jobs()


async def test_a_look_up_that_did_not_answer_proves_nothing(bench: Bench) -> None:
    await bench.ask([bench.task("a")])
    bench.shell.cut.add("localhost submit")
    with pytest.raises(Unreachable):
        await bench.submitting.step()
    await _let_leases_end(bench.database)
    bench.shell.cut.add("localhost find")

    with pytest.raises(Unreachable):
        await bench.another_life().step()

    assert bench.shell.ran == ["localhost submit", "localhost find"]


async def test_a_cancelled_run_is_cancelled_in_the_next_step_and_once(bench: Bench) -> None:
    await bench.ask([TaskSpec(id="a", command="sleep 600"), TaskSpec(id="b", command="true", deps=("a",))])
    await bench.submitting.step()

    await requests.cancel(bench.database, cancellation_of("r1"))
    await bench.submitting.step()
    await bench.submitting.step()

    assert bench.shell.ran.count("localhost cancel") == 1


async def test_an_unclear_item_of_a_cancelled_run_ends_when_it_was_not_submitted(bench: Bench) -> None:
    await bench.ask([bench.task("a")])
    async with bench.database.transaction() as connection:
        await connection.execute(
            text("UPDATE poller.items SET submission_started_at = now(), submission_until = now(), nonce = 'n'")
        )
    await requests.cancel(bench.database, cancellation_of("r1"))

    await bench.submitting.step()

    assert (await rows(bench.database))["a"].outcome == Outcome.CANCELLED
    assert "localhost submit" not in bench.shell.ran


async def test_hostile_names_reach_no_shell(bench: Bench, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    hostile = f"$(touch {trap}) `touch {trap}` ; touch {trap} #'\"\n"
    await bench.ask(
        tasks("a", name=hostile, env={"X": hostile}, working_dir=f"/{hostile}", command="true"),
        log_dir=f"{tmp_path}/{hostile.replace('/', '')}",
    )

    await bench.submitting.step()

    assert None not in await bench.jobs()
    assert not trap.exists()


async def test_a_cancellation_that_is_not_answered_holds_up_no_submission(bench: Bench) -> None:
    await bench.ask([TaskSpec(id="a", command="sleep 600")])
    await bench.submitting.step()
    await requests.cancel(bench.database, cancellation_of("r1"))
    await requests.store(bench.database, part_of_run([bench.task("b")], run_id="r2", log_dir="/logs"), Terms())
    bench.shell.cut.add("localhost cancel")

    with pytest.raises(Unreachable):
        await bench.submitting.step()

    assert (await rows(bench.database, "r2"))["b"].state != "pending"
    bench.shell.cut.clear()
    await bench.submitting.step()
    assert (await rows(bench.database))["a"].cancel_sent_at is not None
