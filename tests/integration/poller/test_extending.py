"""Lists that tasks generate extend their runs: whole, once, or not at all."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from scripthut_common.errors import LeaseLost, NoConnection, TimedOut, TransientError, Unreachable
from scripthut_common.events import Extension, ItemEvent, ItemState, Outcome, RunExtended, Type
from scripthut_common.tasks import TaskSpec
from scripthut_poller.watchlist import extensions, requests
from scripthut_poller.watchlist.requests import Terms
from tests.integration.poller.bench import Bench
from tests.integration.poller.told import cancellation_of, events, part_of_run, rows, run_row


class Scene:
    """A run whose one task has succeeded, and the list that it wrote."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.work = folder / "work"
        self.work.mkdir()
        self.list = self.work / "list.json"

    async def plan(self, source: str = "list.json", *more: TaskSpec) -> None:
        """Run a task to its good end that says so of its list; further tasks are submitted with it."""
        plan = TaskSpec(id="plan", command="true", working_dir=str(self.work), generates_source=source)
        await self.bench.ask([plan, *more])
        await self.bench.submitting.step()
        await self.bench.rounds_until("final", "plan")

    def write(self, *tasks: Any) -> None:
        self.list.write_text(json.dumps(tasks))

    async def states(self) -> dict[str, str]:
        return {id_: row.outcome or row.state for id_, row in (await rows(self.bench.database)).items()}

    async def error(self) -> str | None:
        """Why the list was refused."""
        row = (await rows(self.bench.database))["plan"]
        assert (row.extension == "refused") == (row.extension_error is not None)
        found: str | None = row.extension_error
        return found

    async def until_all_end(self) -> None:
        """Do everything that loops do until the run has ended."""
        for _ in range(400):
            await self.bench.submitting.step()
            await self.bench.watching.round()
            await self.bench.extending.step()
            if (await run_row(self.bench.database)).state not in {"pending", "running"}:
                return
        raise AssertionError(await self.states())

    async def look_at_once(self) -> None:
        """Let what was postponed be due."""
        async with self.bench.database.transaction() as connection:
            await connection.execute(text("UPDATE poller.items SET extension_due_at = now()"))


@pytest.fixture
def scene(bench: Bench, tmp_path: Path) -> Scene:
    return Scene(bench, tmp_path)


def _task(id_: str, *deps: str, command: str = "true", **more: Any) -> dict[str, Any]:
    return {"id": id_, "command": command, "deps": deps, **more}


def _ids(told: Sequence[Any]) -> list[str]:
    return [one.data.task_id for one in told if isinstance(one.data, ItemEvent)]


async def test_a_list_is_appended_told_and_run(scene: Scene) -> None:
    await scene.plan()
    scene.write(_task("sum", "sim.*", command="ls > sum.txt"), _task("sim.1", "plan"), _task("sim.2", name="second"))
    assert (await run_row(scene.bench.database)).state == "running"

    await scene.bench.extending.step()

    found = await rows(scene.bench.database)
    assert [(row.task_id, row.position, row.is_held, row.generated_by) for row in found.values()] == [
        ("plan", 0, False, None),
        ("sum", 1, False, "plan"),
        ("sim.1", 2, True, "plan"),
        ("sim.2", 3, True, "plan"),
    ]
    assert found["sum"].task["deps"] == ["sim.1", "sim.2"]
    assert found["sum"].turn > max(found["sim.1"].turn, found["sim.2"].turn)
    assert scene.bench.woken == 1
    (extended,) = await events(scene.bench.database, Type.RUN_EXTENDED)
    assert isinstance(extended.data, RunExtended)
    assert (extended.data.parent_task_id, extended.data.count) == ("plan", 3)
    changed = await events(scene.bench.database, Type.ITEM_CHANGED)
    assert _ids(changed)[-4:] == ["sum", "sim.1", "sim.2", "plan"]
    assert isinstance(changed[-1].data, ItemEvent)
    assert changed[-1].data.extension is Extension.DONE
    await scene.until_all_end()
    assert set((await scene.states()).values()) == {Outcome.SUCCEEDED}
    assert (await run_row(scene.bench.database)).state == "succeeded"
    assert "list.json" in (scene.work / "sum.txt").read_text()


async def test_three_levels(scene: Scene) -> None:
    leaf = [_task("leaf", "deep.*", "plan")]
    deeper = [
        _task(
            "deep.1", command=f"printf %s '{json.dumps(leaf)}' > deepest.json", generates_source="../work/deepest.json"
        )
    ]
    await scene.plan("list.json")
    scene.write(
        _task(
            "next",
            command=f"cat > deeper.json <<'E'\n{json.dumps({'tasks': deeper})}\nE\n",
            generates_source=f"{scene.work}/deeper.json",
        )
    )

    await scene.until_all_end()

    assert await scene.states() == dict.fromkeys(["plan", "next", "deep.1", "leaf"], Outcome.SUCCEEDED)
    assert (await rows(scene.bench.database))["leaf"].generated_by == "deep.1"
    assert len(await events(scene.bench.database, Type.RUN_EXTENDED)) == 3
    assert len(await events(scene.bench.database, Type.RUN_COMPLETED)) == 1


async def test_an_accepted_list_is_never_read_again(scene: Scene) -> None:
    await scene.plan()
    scene.write(_task("a"))
    await scene.bench.extending.step()
    scene.write(_task("b"))

    await scene.bench.extending.step()

    assert await scene.states() == {"plan": Outcome.SUCCEEDED, "a": ItemState.PENDING}
    assert scene.bench.shell.ran.count("generated-lists") == 1


async def test_the_same_list_accepted_twice_is_one(scene: Scene) -> None:
    await scene.plan()
    term = scene.bench.lease.term
    wanted = [TaskSpec(id="a", command="true")]

    taken = [
        await extensions.accept(scene.bench.database, term, ("r1", "plan"), wanted, known)
        for known in (["plan", "unheard-of"], ["plan"], ["plan"], ["plan", "a"])
    ]

    assert taken == [False, True, False, False]
    assert len(await events(scene.bench.database, Type.RUN_EXTENDED)) == 1


async def test_an_empty_list_ends_the_run(scene: Scene) -> None:
    await scene.plan()
    scene.write()

    await scene.bench.extending.step()

    assert (await run_row(scene.bench.database)).state == "succeeded"
    assert len(await events(scene.bench.database, Type.RUN_COMPLETED)) == 1


async def test_a_task_that_did_not_succeed_extends_nothing(scene: Scene) -> None:
    failing = TaskSpec(id="plan", command="exit 1", working_dir=str(scene.work), generates_source="list.json")
    scene.write(_task("a"))
    await scene.bench.ask([failing])
    await scene.bench.submitting.step()
    await scene.bench.rounds_until("final", "plan")

    await scene.bench.extending.step()

    assert await scene.states() == {"plan": Outcome.FAILED}
    assert (await run_row(scene.bench.database)).state == "failed"
    assert "generated-lists" not in scene.bench.shell.ran


async def test_a_refused_list_fails_its_run_and_says_why_on_the_item(scene: Scene) -> None:
    await scene.plan()
    scene.list.write_text('[{"id": "a",\n "command" "hunter2"}]')

    await scene.bench.extending.step()

    error = await scene.error()
    assert error == ("the list 'list.json' was not taken: line 2, column 12 is not JSON: Expecting ':' delimiter")
    assert await scene.states() == {"plan": Outcome.SUCCEEDED}
    assert (await run_row(scene.bench.database)).state == "failed"
    told = (await events(scene.bench.database, Type.ITEM_CHANGED))[-1].data
    assert isinstance(told, ItemEvent)
    assert (told.extension, told.extension_error, told.outcome) == (Extension.REFUSED, error, Outcome.SUCCEEDED)
    assert len(await events(scene.bench.database, Type.RUN_COMPLETED)) == 1


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([_task("a"), _task("plan")], "tasks[1].id: the run has a task with this id already"),
        ([_task("a", "b"), _task("b", "c"), _task("c", "a")], "form a circle"),
        ([_task("a", "nobody")], "tasks[0].deps[0]: there is no such task"),
        ([_task("a", "a")], "tasks[0].deps[0]: a task cannot depend on itself"),
        ([_task("a", memory="much")], "tasks[0].memory: must be"),
        ([_task("a", env={"SCRIPTHUT_X": "1"})], "tasks[0].env: names beginning with"),
        ([{"id": "a"}], "required field `command`"),
        ([_task("a"), _task("a")], "tasks[1].id: tasks[0] has this id too"),
    ],
)
async def test_one_fault_refuses_the_whole_list(scene: Scene, tasks: list[Any], said: str) -> None:
    await scene.plan()
    scene.write(*tasks)

    await scene.bench.extending.step()

    assert said in (await scene.error() or "")
    assert await scene.states() == {"plan": Outcome.SUCCEEDED}


async def test_a_run_has_no_more_than_ten_thousand_tasks(scene: Scene) -> None:
    await scene.plan()
    scene.write(*(_task(f"t{n}") for n in range(10_000)))

    await scene.bench.extending.step()

    assert "10001 tasks; at most 10000" in (await scene.error() or "")


async def test_ten_thousand_tasks_are_appended_at_once(scene: Scene) -> None:
    await scene.plan()
    scene.write(*(_task(f"t{n}") for n in range(9_999)))

    await scene.bench.extending.step()

    assert len(await scene.states()) == 10_000


# What an attacker, or somebody careless, may pass for a list.


async def test_another_accounts_file_is_refused_and_nothing_of_it_comes_back(scene: Scene) -> None:
    scene.list.symlink_to("/etc/passwd")
    await scene.plan()

    await scene.bench.extending.step()

    error = await scene.error() or ""
    if os.geteuid() == 0:
        assert "line 1, column 1 is not JSON: Expecting value" in error
    else:
        assert "belongs to another account" in error
    assert ":x:" not in error
    assert "root" not in error


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_files_and_symlinks_of_others_are_refused(scene: Scene) -> None:
    scene.write(_task("a"))
    os.chown(scene.list, 65534, 65534)
    trap = scene.work / "trap"
    good = scene.work / "good.json"
    good.write_text("[]")
    trap.symlink_to(good)
    os.chown(trap, 65534, 65534, follow_symlinks=False)
    folder = scene.work / "folder"
    folder.symlink_to(scene.work)
    os.chown(folder, 65534, 65534, follow_symlinks=False)
    said = []

    for source in ("list.json", "trap", "folder/good.json"):
        await scene.bench.ask(
            [TaskSpec(id="plan", command="true", working_dir=str(scene.work), generates_source=source)]
        )
        await scene.bench.submitting.step()
        await scene.bench.rounds_until("final", "plan")
        await scene.bench.extending.step()
        said.append(await scene.error() or "")
        async with scene.bench.database.transaction() as connection:
            await connection.execute(text("DELETE FROM poller.runs"))

    assert "belongs to another account" in said[0]
    assert "symlink of another account" in said[1]
    assert "symlink of another account" in said[2]


async def test_a_pipe_a_folder_and_a_device_are_refused_without_waiting(scene: Scene) -> None:
    os.mkfifo(scene.work / "pipe")
    said = []

    for source in ("pipe", ".", "", "/dev/zero"):
        await scene.bench.ask(
            [TaskSpec(id="plan", command="true", working_dir=str(scene.work), generates_source=source)]
        )
        await scene.bench.submitting.step()
        await scene.bench.rounds_until("final", "plan")
        await scene.bench.extending.step()
        said.append(await scene.error() or "")
        async with scene.bench.database.transaction() as connection:
            await connection.execute(text("DELETE FROM poller.runs"))

    assert all("not a regular file" in one for one in said)


async def test_a_list_that_everybody_can_write_to_is_refused(scene: Scene) -> None:
    await scene.plan()
    scene.write(_task("a"))
    scene.list.chmod(0o666)

    await scene.bench.extending.step()

    assert "everybody can write to it" in (await scene.error() or "")


async def test_a_list_that_is_too_large_is_refused_unread(scene: Scene) -> None:
    await scene.plan()
    with scene.list.open("wb") as file:
        file.truncate(17 * 1024 * 1024)

    await scene.bench.extending.step()

    assert "larger than 16 MiB" in (await scene.error() or "")


async def test_a_hostile_name_is_only_a_name(scene: Scene, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    hostile = f"$(touch {trap.name}) `id`;\n'\"\\ -x"
    (scene.work / hostile).write_text("[]")
    await scene.plan(hostile)

    await scene.bench.extending.step()

    assert (await rows(scene.bench.database))["plan"].extension == Extension.DONE
    assert not trap.exists()


async def test_home_and_the_way_back_are_understood(scene: Scene) -> None:
    (scene.work / "sub").mkdir()
    scene.write(_task("a"))
    await scene.plan(f"sub/../../{scene.work.name}/list.json")

    await scene.bench.extending.step()

    assert "a" in await scene.states()


async def test_the_home_of_somebody_else_is_not_known(scene: Scene) -> None:
    await scene.plan("~root/list.json")

    await scene.bench.extending.step()

    assert "no other account's ~" in (await scene.error() or "")


# What goes wrong on the way.


async def test_a_list_that_comes_late_is_waited_for(scene: Scene) -> None:
    await scene.plan()
    await scene.bench.extending.step()
    await scene.bench.extending.step()
    assert scene.bench.shell.ran.count("generated-lists") == 1
    scene.list.touch()
    await scene.look_at_once()
    await scene.bench.extending.step()
    assert await scene.error() is None
    scene.write(_task("a"))
    await scene.look_at_once()

    await scene.bench.extending.step()

    assert "a" in await scene.states()


async def test_a_list_that_never_comes_is_refused_after_good_answers_alone(scene: Scene) -> None:
    await scene.plan()
    cluster = scene.bench.site.cluster
    patience = msgspec.structs.replace(cluster.patience, listed_s=3.0)
    site = msgspec.structs.replace(scene.bench.site, cluster=msgspec.structs.replace(cluster, patience=patience))
    extending = scene.bench.extending_by(site)
    for _ in range(2):
        await extending.step()
        await scene.look_at_once()
    scene.bench.shell.away.add("generated-lists")
    for _ in range(10):
        with pytest.raises(NoConnection):
            await extending.step()
    assert await scene.error() is None
    scene.bench.shell.away.clear()

    await extending.step()

    assert await scene.error() == (
        "the list 'list.json' was not taken: it could not be read for too long: no such file or directory"
    )


async def test_a_file_that_hangs_is_set_aside_and_holds_up_no_other(scene: Scene) -> None:
    await scene.plan()
    scene.write(_task("a"))
    async with scene.bench.database.transaction() as connection:
        for table in ("runs", "items"):
            await connection.execute(text(f"CREATE TEMP TABLE copy ON COMMIT DROP AS SELECT * FROM poller.{table}"))
            for n in range(3):
                await connection.execute(text(f"UPDATE copy SET run_id = 'copy{n}'"))
                await connection.execute(text(f"INSERT INTO poller.{table} SELECT * FROM copy"))
            await connection.execute(text("DROP TABLE copy"))

    def hang() -> None:
        raise TimedOut("cluster 'here': generated-lists took longer than 60 s")

    scene.bench.shell.after["generated-lists"] = hang
    for _ in range(3):
        with pytest.raises(TimedOut):
            await scene.bench.extending.step()
    scene.bench.shell.after.clear()

    assert await scene.bench.extending.step()
    await scene.bench.extending.step()

    told = [one.data for one in await events(scene.bench.database, Type.RUN_EXTENDED)]
    assert sorted(one.run_id for one in told if isinstance(one, RunExtended)) == ["copy1", "copy2", "r1"]


async def test_nothing_is_read_while_another_process_holds_the_cluster(scene: Scene) -> None:
    await scene.plan()
    scene.write(_task("a"))
    await scene.bench.lease.release()

    assert not await scene.bench.extending.step()

    assert "generated-lists" not in scene.bench.shell.ran


async def test_what_was_read_under_a_lease_that_is_over_is_not_written(scene: Scene) -> None:
    await scene.plan()
    scene.write(_task("a"))
    async with scene.bench.database.transaction() as connection:
        await connection.execute(text("UPDATE poller.leases SET epoch = epoch + 1"))

    with pytest.raises(LeaseLost):
        await scene.bench.extending.step()

    assert await scene.states() == {"plan": Outcome.SUCCEEDED}


async def test_a_process_that_dies_while_it_reads_leaves_all_to_the_next(scene: Scene) -> None:
    await scene.plan()
    scene.write(_task("a"))
    scene.bench.shell.cut.add("generated-lists")
    with pytest.raises(Unreachable):
        await scene.bench.extending.step()
    scene.bench.shell.cut.clear()

    await scene.bench.extending_by(scene.bench.site).step()

    assert await scene.states() == {"plan": Outcome.SUCCEEDED, "a": ItemState.PENDING}


@pytest.mark.parametrize("table", ["outbox", "items"])
async def test_a_transaction_that_breaks_adds_nothing(scene: Scene, table: str) -> None:
    await scene.plan()
    scene.write(_task("a"), _task("b"))
    async with scene.bench.database.transaction() as connection:
        await connection.execute(
            text(
                "CREATE FUNCTION poller.break() RETURNS trigger LANGUAGE plpgsql AS "
                "$$BEGIN RAISE EXCEPTION USING ERRCODE = 'admin_shutdown', MESSAGE = 'gone'; END$$"
            )
        )
        await connection.execute(
            text(f"CREATE TRIGGER break BEFORE INSERT ON poller.{table} FOR EACH ROW EXECUTE FUNCTION poller.break()")
        )
    with pytest.raises(TransientError):
        await scene.bench.extending.step()
    assert await scene.states() == {"plan": Outcome.SUCCEEDED}
    async with scene.bench.database.transaction() as connection:
        await connection.execute(text(f"DROP TRIGGER break ON poller.{table}"))

    await scene.bench.extending_by(scene.bench.site).step()

    assert len(await scene.states()) == 3
    assert len(await events(scene.bench.database, Type.RUN_EXTENDED)) == 1


async def test_a_cancelled_run_takes_nothing_more(scene: Scene) -> None:
    await scene.plan()
    scene.write(_task("a"))
    await requests.cancel(scene.bench.database, cancellation_of("r1"))

    await scene.bench.extending.step()

    assert "cancelled" in (await scene.error() or "")
    assert await scene.states() == {"plan": Outcome.SUCCEEDED}
    assert (await run_row(scene.bench.database)).state == "failed"


async def test_a_run_cancelled_while_its_list_is_read_takes_nothing(scene: Scene) -> None:
    await scene.plan()
    scene.write(_task("a"))
    due = await extensions.due(scene.bench.database, "here", limit=10)
    await requests.cancel(scene.bench.database, cancellation_of("r1"))

    taken = await extensions.accept(
        scene.bench.database, scene.bench.lease.term, due[0].item.key, [TaskSpec(id="a", command="true")], ["plan"]
    )

    assert not taken


# Dependencies on what was there before.


async def test_tasks_after_one_that_failed_are_not_submitted(scene: Scene) -> None:
    await scene.plan("list.json", TaskSpec(id="bad", command="exit 1"))
    await scene.bench.rounds_until("final", "bad")
    scene.write(_task("a", "bad"), _task("b", "a"), _task("c", "plan"))

    await scene.until_all_end()

    assert await scene.states() == {
        "plan": Outcome.SUCCEEDED,
        "bad": Outcome.FAILED,
        "a": Outcome.DEPENDENCY_FAILED,
        "b": Outcome.DEPENDENCY_FAILED,
        "c": Outcome.SUCCEEDED,
    }


async def test_a_task_after_a_running_job_waits_for_its_end_and_holds_nothing_up(scene: Scene) -> None:
    go = scene.work / "go"
    slow = TaskSpec(id="slow", command=f"until [ -e {go} ]; do sleep 0.05; done")
    await scene.plan("list.json", slow)
    scene.write(_task("late", "slow", "x"), _task("later", "late"), _task("x"), _task("y", "x"))
    await scene.bench.extending.step()

    await scene.bench.submitting.step()
    await scene.bench.submitting.step()
    await scene.bench.rounds_until("final", "x", "y")

    assert (await scene.states())["late"] == ItemState.PENDING
    assert (await scene.states())["later"] == ItemState.PENDING
    go.touch()
    await scene.until_all_end()
    assert set((await scene.states()).values()) == {Outcome.SUCCEEDED}


async def test_a_task_after_a_job_that_fails_unseen_never_runs(scene: Scene) -> None:
    go = scene.work / "go"
    slow = TaskSpec(id="slow", command=f"until [ -e {go} ]; do sleep 0.05; done; exit 1")
    await scene.plan("list.json", slow)
    scene.write(_task("late", "slow", command=f"touch {scene.work}/ran"))
    await scene.bench.extending.step()
    go.touch()

    await scene.until_all_end()

    assert (await scene.states())["late"] == Outcome.DEPENDENCY_FAILED
    assert not (scene.work / "ran").exists()


async def test_tasks_that_wait_for_ends_do_not_hold_up_other_runs(scene: Scene) -> None:
    go = scene.work / "go"
    await scene.plan("list.json", TaskSpec(id="slow", command=f"until [ -e {go} ]; do sleep 0.05; done"))
    scene.write(*(_task(f"late.{n}", "slow") for n in range(120)))
    await scene.bench.extending.step()
    other = part_of_run([TaskSpec(id="o", command="true")], run_id="r2", log_dir=scene.bench.site.cluster.log_dir)
    await requests.store(scene.bench.database, other, Terms())

    await scene.bench.submitting.step()

    assert (await rows(scene.bench.database, "r2"))["o"].job_id is not None
    assert {state for id_, state in (await scene.states()).items() if id_.startswith("late")} == {ItemState.PENDING}
    go.touch()
