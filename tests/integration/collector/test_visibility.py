"""Waiting for what a task wrote and the login node does not show yet."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, update

from scripthut_common import supervision
from scripthut_common.clusters import Visibility
from scripthut_common.database import Database
from scripthut_common.manifest import MAX_BYTES
from scripthut_common.supervision import Pulse
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.catalog.keeping import Keeping, Result
from scripthut_outputs.ledger import OutputsState, Place
from scripthut_outputs.tables import FILES
from tests.integration.collector.scene import CLUSTER, Scene
from tests.integration.collector.shells import Interrupted
from tests.integration.collector.trouble import CRASH, troubled
from tests.integration.outputs.house import House

GONE = "the task saw it when it ended; the cluster did not show it in time"
AWAITED = "the task saw it when it ended; the cluster does not show it yet"


class Readers:
    """Those who ask for a task's outputs over HTTP."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def outputs(self, task_id: str = "t1") -> Any:
        return (await self._house.get(f"/runs/r1/tasks/{task_id}/outputs", "root")).json()

    async def page(self) -> str:
        return (await self._house.get("/ui/runs/r1", "root")).text


@pytest.fixture
def readers(database: Database, tmp_path: Path) -> Readers:
    folder = tmp_path / "house"
    folder.mkdir()
    return Readers(House(database, folder))


async def look(scene: Scene, *, after_s: float = 0.0) -> None:
    """Let time pass, and look if that is due then."""
    await scene.let_pass(after_s)
    await scene.step()


async def wait_s(scene: Scene, task_id: str = "t1") -> float:
    """In how many seconds the next look is due."""
    due_at: datetime = (await scene.collection(task_id)).due_at
    return (due_at - datetime.now(UTC)).total_seconds()


async def test_files_that_appear_late_are_all_there_in_the_end_and_nobody_is_told_otherwise(
    scene: Scene, readers: Readers
) -> None:
    lags_s = {b"plot.png": 0, b"3": 3.0, b"sub/30": 30.0, b"task-summary.md": 300.0}
    folder = await scene.task("t1", {name: b"content of " + name for name in lags_s})
    hidden = {
        name: (folder / name.decode()).rename(scene.folder / f"later-{number}") for number, name in enumerate(lags_s)
    }
    passed_s, told = 0.0, list[str]()

    while True:
        for name in [name for name in hidden if lags_s[name] <= passed_s]:
            hidden.pop(name).rename(folder / name.decode())
        await scene.step()
        answer = await readers.outputs()
        assert await scene.stored("t1") == {n: b"content of " + n for n in lags_s if n not in hidden}
        if answer["outputs_state"] != "partial":
            break
        told.append(answer["collection_reason"].partition(",")[0])
        assert answer["counts"] == {"stored": 4 - len(hidden), "not_yet_visible": len(hidden)}
        assert "not yet visible, will look again at" in await readers.page()
        assert await scene.told() == []
        due_s = await wait_s(scene)
        await scene.let_pass(due_s)
        passed_s += due_s

    assert (answer["outputs_state"], answer["collection_reason"], answer["counts"]) == (
        "collected",
        None,
        {"stored": 4},
    )
    assert 300 <= passed_s < 600
    assert told == [
        *["3 of 4 files not yet visible"] * 2,
        *["2 of 4 files not yet visible"] * 3,
        *["1 of 4 files not yet visible"] * 3,
    ]
    (event,) = await scene.told()
    assert (event.outputs_state, event.stored_files, event.left_out_files) == ("collected", 6, 0)
    assert event.stored_bytes == sum(len(b"content of " + name) for name in lags_s)


async def test_good_files_are_not_fetched_again_for_one_that_is_missing(scene: Scene, shell: Interrupted) -> None:
    folder = await scene.task("t1", {b"%d" % number: b"x" for number in range(40)}, is_recorded=False)
    scene.record("t1", {**{b"%d" % number: 1 for number in range(40)}, b"late": 1})
    await look(scene)
    before = await scene.ledger("t1")
    assert shell.commands_run == 2

    await look(scene, after_s=10)
    assert shell.commands_run == 3

    (folder / "late").write_bytes(b"y")
    (folder / "7").write_bytes(b"changed")
    await look(scene, after_s=10)

    assert shell.commands_run == 5
    after = await scene.ledger("t1")
    assert {path for path in after if before[path].collected_at != after[path].collected_at} == {b"7", b"late"}
    assert (await scene.stored("t1"))[b"7"] == b"changed"
    assert (await scene.item("t1")).outputs_state == "collected"


async def test_a_batch_that_waits_takes_one_command(scene: Scene, shell: Interrupted) -> None:
    for number in range(30):
        await scene.task(f"t{number}", {b"here": b"x"}, is_recorded=False)
        scene.record(f"t{number}", {b"here": 1, b"late": 1})
    await look(scene)
    begun = shell.commands_run

    await look(scene, after_s=10)

    assert shell.commands_run == begun + 1
    assert {(await scene.item(f"t{number}")).outputs_state for number in range(30)} == {"partial"}


async def test_a_file_that_is_short_is_stored_when_it_is_whole(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"0123456789"})
    (folder / "a").write_bytes(b"0123")

    await look(scene)

    (row,) = (await scene.ledger("t1")).values()
    assert (row.state, row.size_bytes) == ("not_yet_visible", 4)
    assert row.reason == "the task wrote 10 bytes; the cluster showed 4 of them"

    (folder / "a").write_bytes(b"0123456789")
    await look(scene, after_s=10)

    assert await scene.stored("t1") == {b"a": b"0123456789"}
    assert (await scene.item("t1")).outputs_state == "collected"


async def test_what_never_comes_is_named_at_the_deadline_and_what_is_short_is_taken_as_it_is(
    scene: Scene, readers: Readers
) -> None:
    folder = await scene.task("t1", {b"here": b"x", b"never": b"y", b"short": b"0123456789"})
    (folder / "never").unlink()
    (folder / "short").write_bytes(b"0123")
    await look(scene)
    assert await scene.states("t1") == {b"here": "stored", b"never": "not_yet_visible", b"short": "not_yet_visible"}

    await look(scene, after_s=600)

    answer = await readers.outputs()
    assert answer["outputs_state"] == "incomplete"
    assert answer["collection_reason"] == "2 of 3 files did not become visible within 600 s"
    assert {row["path"]: (row["state"], row["reason"]) for row in answer["outputs"]} == {
        "here": ("stored", None),
        "never": ("not_yet_visible", GONE),
        "short": ("stored", "the task wrote 10 bytes; the cluster showed 4 of them"),
    }
    collection = await scene.collection("t1")
    assert (collection.due_at, collection.failures, collection.looks) == (None, 0, 0)
    (event,) = await scene.told()
    assert (event.outputs_state, event.stored_files, event.left_out_files) == ("incomplete", 4, 1)
    assert "Collect again" in await readers.page()


async def test_asking_again_begins_a_new_wait_and_fetches_everything_anew(scene: Scene, shell: Interrupted) -> None:
    folder = await scene.task("t1", {b"here": b"x", b"late": b"y"})
    late = (folder / "late").rename(scene.folder / "late")
    await look(scene)
    await look(scene, after_s=600)
    assert (await scene.item("t1")).outputs_state == "incomplete"

    await scene.want("r1", "t1")
    begun = shell.commands_run
    await look(scene)
    assert shell.commands_run == begun + 2
    assert (await scene.item("t1")).outputs_state == "partial"
    late.rename(folder / "late")
    await look(scene, after_s=10)

    assert await scene.stored("t1") == {b"here": b"x", b"late": b"y"}
    assert [event.outputs_state for event in await scene.told()] == ["incomplete", "collected"]


async def test_what_we_hold_already_is_not_waited_for(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"x", b"b": b"y"})
    await scene.collect()
    (folder / "a").unlink()

    await scene.want("r1", "t1")
    await scene.collect()

    assert (await scene.item("t1")).outputs_state == "collected"
    assert (await scene.ledger("t1"))[b"a"].reason == "it is no longer on the cluster"


async def test_without_a_record_two_looks_must_agree(scene: Scene, readers: Readers, shell: Interrupted) -> None:
    await scene.task("t1", {b"a": b"x"}, is_recorded=False)

    await look(scene)
    answer = await readers.outputs()
    assert answer["outputs_state"] == "partial"
    assert answer["collection_reason"].startswith("no exit record: looked once, will look again at ")
    assert await scene.stored("t1") == {b"a": b"x"}
    assert await scene.told() == []
    await look(scene)
    assert shell.commands_run == 2

    await look(scene, after_s=5)

    assert shell.commands_run == 3
    assert (await scene.item("t1")).outputs_state == "collected"
    (event,) = await scene.told()
    assert (event.stored_files, event.stored_bytes) == (3, 1)


async def test_looks_that_differ_start_over(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"x"}, is_recorded=False)
    await look(scene)
    (folder / "b").write_bytes(b"y")
    await look(scene, after_s=5)
    assert (await scene.item("t1")).outputs_state == "partial"
    (scene.log_dir / "scripthut_r1_t1.err").write_bytes(b"its last words")
    await look(scene, after_s=5)
    assert (await scene.item("t1")).outputs_state == "partial"
    assert "looked 3 times" in (await scene.collection("t1")).reason

    await look(scene, after_s=8)

    assert (await scene.item("t1")).outputs_state == "collected"
    assert await scene.stored("t1") == {b"a": b"x", b"b": b"y"}
    assert list((await scene.stored("t1", Place.STDERR)).values()) == [b"its last words"]


async def test_looks_that_never_agree_end_at_the_deadline(scene: Scene) -> None:
    folder = await scene.task("t1", {}, is_recorded=False)
    for number in range(3):
        (folder / str(number)).write_bytes(b"x")
        await look(scene, after_s=300)

    assert (await scene.item("t1")).outputs_state == "incomplete"
    reason = (await scene.collection("t1")).reason
    assert reason == "no exit record, and files still changed 600 s after the first look"


async def test_a_task_that_left_no_trace_is_looked_for_twice_and_costs_nothing_then(
    scene: Scene, readers: Readers
) -> None:
    await scene.want("r1", "t1")

    await look(scene)
    assert (await scene.item("t1")).outputs_state == "partial"
    assert 'id="task-t1"' not in await readers.page()
    await look(scene, after_s=5)

    item = await scene.item("t1")
    assert (item.outputs_state, item.has_outputs) == ("none", False)


async def test_a_record_that_comes_late_is_checked(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"x"}, is_recorded=False)
    await look(scene)
    scene.record("t1", {b"a": 1, b"b": 1})
    await look(scene, after_s=5)
    assert (await scene.collection("t1")).reason.startswith("1 of 2 files not yet visible")
    (folder / "b").write_bytes(b"y")

    await look(scene, after_s=5)

    assert await scene.stored("t1") == {b"a": b"x", b"b": b"y"}


async def test_a_record_of_another_attempt_or_job_vouches_for_nothing(scene: Scene) -> None:
    await scene.task("t1", {b"a": b"x"}, is_recorded=False)
    scene.record("t1", {b"a": 1, b"never": 1}, attempt=2)
    await scene.want("r1", "t2", job_id="43")
    scene.record("t2", {b"never": 1}, job_id="42")

    await look(scene)
    assert (await scene.collection("t1")).reason.startswith("no exit record of attempt 1: ")
    assert (await scene.collection("t2")).reason.startswith("no exit record of job 43: ")
    await look(scene, after_s=5)

    assert await scene.states("t1") == {b"a": "stored"}
    assert [(await scene.item(task)).outputs_state for task in ("t1", "t2")] == ["collected", "none"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"#!/bin/sh\n", "it is cut or not one of ours"),
        (b"scripthut-manifest-1\0zero\0", "it is cut or not one of ours"),
        (b"\0" * MAX_BYTES, "it is of more than 10000 files"),
        (b"x" * (MAX_BYTES + 1), "it is larger than 16777216 bytes"),
    ],
)
async def test_a_record_that_cannot_be_read_is_told(
    scene: Scene, readers: Readers, content: bytes, reason: str
) -> None:
    await scene.task("t1", {b"a": b"x"})
    (scene.log_dir / "outputs/r1/_run/t1.manifest").write_bytes(content)

    await look(scene)
    told = f"exit record cannot be read: {reason}"
    assert (await readers.outputs())["collection_reason"].startswith(f"{told}: looked once")
    await look(scene, after_s=5)

    answer = await readers.outputs()
    assert (answer["outputs_state"], answer["collection_reason"]) == ("collected", told)
    assert told in await readers.page()


async def test_a_record_that_is_a_link_is_not_followed_and_told(scene: Scene) -> None:
    await scene.task("t1", {b"a": b"x"})
    record = scene.log_dir / "outputs/r1/_run/t1.manifest"
    record.rename(record.with_suffix(".true"))
    record.symlink_to(record.with_suffix(".true"))

    await look(scene)

    assert "cannot be read: it is not a plain file" in (await scene.collection("t1")).reason


async def test_ten_thousand_promises_that_nobody_keeps_wait_and_are_named_or_counted(
    scene: Scene, readers: Readers
) -> None:
    await scene.task("t1", {b"%d" % number: b"x" for number in range(5)})
    scene.record("t1", {b"never-%05d" % number: 10**12 for number in range(10_000)})

    await look(scene)
    assert (await scene.collection("t1")).reason.startswith("10000 of 10000 files not yet visible")
    await look(scene, after_s=600)

    answer = await readers.outputs()
    assert (answer["outputs_state"], answer["counts"]) == ("incomplete", {"stored": 5, "not_yet_visible": 10_000})
    ledger = await scene.ledger("t1")
    assert len(ledger) == 10_001
    counted = ledger[b"/not_yet_visible"]
    assert (counted.count, counted.reason) == (5, "too many to name")


async def test_paths_that_lead_elsewhere_are_named_nowhere(scene: Scene) -> None:
    await scene.task("t1", {b"a": b"x"})
    hostile = [b"../../../../etc/passwd", b"/etc/passwd", b"a/../b", b".", b"/", b"//", b"/over_count", b"x" * 4000]
    scene.record("t1", {**dict.fromkeys(hostile, 1), b"new\nline \xff": 1})

    await look(scene)
    await look(scene, after_s=600)

    assert await scene.states("t1") == {b"a": "stored", b"new\nline \xff": "not_yet_visible"}


async def test_a_wish_that_is_raised_while_it_waits_begins_anew(scene: Scene, database: Database) -> None:
    folder = await scene.task("t1", {b"a": b"1"}, is_recorded=False)
    scene.record("t1", {b"a": 1, b"b": 1})
    await look(scene)
    await look(scene, after_s=10)
    assert (await scene.collection("t1")).looks == 2
    await scene.let_pass(10)
    (claim,) = await Collections(database).claim_due(CLUSTER, limit=10, lease_s=60)
    await scene.want("r1", "t1", attempt=2)

    await Keeping(database, "test-1").finish([Result(claim=claim, state=OutputsState.PARTIAL, again_s=100.0)])

    collection = await scene.collection("t1")
    assert (collection.looks, collection.first_looked_at, collection.attempt) == (0, None, 2)
    assert await scene.told() == []
    (folder / "b").write_bytes(b"2")
    scene.record("t1", attempt=2)
    await scene.collect()
    assert {row.attempt for row in (await scene.ledger("t1")).values()} == {2}
    assert [event.attempt for event in await scene.told()] == [2]


async def test_a_failure_in_between_forgets_no_look(scene: Scene, shell: Interrupted, tmp_path: Path) -> None:
    folder = await scene.task("t1", {b"a": b"x"}, is_recorded=False)
    await look(scene)
    scene.shell = troubled(tmp_path / "bin", "t1", mode="list", what=CRASH)
    scene.reopen()
    await scene.let_pass(5)
    await scene.collect()
    collection = await scene.collection("t1")
    assert (collection.failures, collection.looks) == (1, 1)
    assert (await scene.item("t1")).outputs_state == "partial"
    scene.shell = shell
    scene.reopen()

    await scene.let_pass(10)
    await scene.collect()

    assert (await scene.item("t1")).outputs_state == "collected"
    assert (folder / "a").exists()


async def test_a_file_that_vanishes_while_it_waits_stays_with_us(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"x", b"b": b"y"}, is_recorded=False)
    await look(scene)
    (folder / "a").unlink()

    await look(scene, after_s=5)
    await look(scene, after_s=8)

    assert (await scene.item("t1")).outputs_state == "collected"
    assert await scene.stored("t1") == {b"a": b"x", b"b": b"y"}
    assert (await scene.ledger("t1"))[b"a"].reason == "it is no longer on the cluster"


async def test_what_retention_removed_is_fetched_when_somebody_asks(scene: Scene, database: Database) -> None:
    await scene.task("t1", {b"a": b"x"})
    await scene.collect()
    async with database.transaction() as connection:
        await connection.execute(update(FILES).values(removed_at=func.now()))

    await scene.want("r1", "t1")
    await scene.collect()

    assert {row.removed_at for row in (await scene.ledger("t1")).values()} == {None}


async def test_the_loop_looks_again_by_itself(scene: Scene) -> None:
    scene.cluster = msgspec.structs.replace(
        scene.cluster, visibility=Visibility(again_s=0.05, deadline_s=30.0, agreeing_s=0.2)
    )
    scene.reopen(interval_s=0.05)
    folder = await scene.task("t1", {b"a": b"x"}, is_recorded=False)
    scene.record("t1", {b"a": 1, b"b": 1})
    await scene.task("t2", {b"a": b"x"}, is_recorded=False)
    stop = asyncio.Event()

    async with asyncio.TaskGroup() as group:
        group.create_task(supervision.run(scene.collector.loops(), Pulse(), stop))
        await scene.is_collected("t2")
        assert (await scene.item("t1")).outputs_state == "partial"
        (folder / "b").write_bytes(b"y")
        await scene.is_collected("t1")
        stop.set()

    assert await scene.stored("t1") == {b"a": b"x", b"b": b"y"}
