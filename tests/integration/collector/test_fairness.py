"""Nobody waits for another's trouble: clusters, runs and items beside a huge, hung or failing one."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scripthut_common import supervision
from scripthut_common.database import Database
from scripthut_common.errors import Unreachable
from scripthut_common.shell.local import LocalShell
from scripthut_common.supervision import Pulse
from scripthut_outputs.collector import Collector, Pace
from tests.eventually import eventually
from tests.integration.collector.crowds import due
from tests.integration.collector.scene import CLUSTER, Scene
from tests.integration.collector.shells import Clock
from tests.integration.collector.trouble import CRASH, CUT, SILENCE, hanging, troubled
from tests.testbed.sshd import Sshd

MIB = 1024 * 1024
# Longer than a busy machine takes to start a reader.
_PATIENCE_S = 5.0


@asynccontextmanager
async def collecting(*collectors: Collector) -> AsyncIterator[Pulse]:
    """Let collectors run as they do in production."""
    pulse, stop = Pulse(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for collector in collectors:
            group.create_task(supervision.run(collector.loops(), pulse, stop))
        try:
            yield pulse
        finally:
            stop.set()


def use(scene: Scene, shell: LocalShell, *, patience_s: float = 60.0, **pace: Any) -> None:
    """Collect through another shell from now on, silent for so long at most."""
    scene.shell = shell
    scene.cluster = msgspec.structs.replace(scene.cluster, command_timeout_s=patience_s)
    scene.reopen(**pace)


async def test_what_came_before_a_hanging_file_is_there_while_it_still_hangs(scene: Scene, tmp_path: Path) -> None:
    for name in ("a", "b"):
        await scene.task(name, {b"f": name.encode()}, stdout=None, stderr=None)
    await scene.task("hanging", {b"f": os.urandom(MIB)}, stdout=None, stderr=None)
    use(scene, troubled(tmp_path / "bin"), settle_every_s=0.05)

    async with collecting(scene.collector):
        await scene.is_collected("a")
        await scene.is_collected("b")

    assert (await scene.item("hanging")).outputs_state in {"collecting", "pending"}
    assert await scene.stored("a") == {b"f": b"a"}


async def test_what_comes_after_a_hanging_item_waits_for_one_time_out_and_no_more(scene: Scene, tmp_path: Path) -> None:
    for name in ("a", "hanging", "x", "y", "z"):
        await scene.task(name, {b"f": name.encode()}, stdout=None, stderr=None)
    use(scene, troubled(tmp_path / "bin", mode="list"), patience_s=_PATIENCE_S)

    assert await scene.step()
    assert scene.shell.commands_run == 2
    assert await scene.stored("a") == {b"f": b"a"}
    aside = await scene.collection("hanging")
    assert (aside.failures, aside.is_alone, aside.lease) == (0, True, None)

    assert not await scene.step()
    assert scene.shell.commands_run == 4
    assert [await scene.stored(name) for name in ("x", "y", "z")] == [{b"f": b"x"}, {b"f": b"y"}, {b"f": b"z"}]


async def test_only_the_item_that_hangs_is_charged_and_it_is_tried_ever_more_seldom(
    scene: Scene, tmp_path: Path
) -> None:
    for name in ("a", "hanging", "x"):
        await scene.task(name, {b"f": name.encode()}, stdout=None, stderr=None)
    use(scene, troubled(tmp_path / "bin", mode="list"), patience_s=_PATIENCE_S)

    await scene.collect()
    first = await scene.collection("hanging")
    await scene.make_due()
    await scene.collect()
    second = await scene.collection("hanging")

    assert (first.failures, second.failures) == (1, 2)
    assert (second.due_at - second.first_failed_at).total_seconds() > 10
    assert "was silent for 5 s" in second.reason
    for name in ("a", "x"):
        collection = await scene.collection(name)
        assert (collection.due_at, collection.failures, collection.first_failed_at) == (None, 0, None)


async def test_an_item_that_cuts_its_own_answer_each_time_is_charged_and_keeps_nobody_waiting(
    scene: Scene, tmp_path: Path
) -> None:
    for name in ("hanging", "x"):
        await scene.task(name, {b"f": name.encode()}, stdout=None, stderr=None)
    use(scene, troubled(tmp_path / "bin", mode="list", what=CUT))

    with pytest.raises(Unreachable):
        await scene.step()
    await scene.collect()

    collection = await scene.collection("hanging")
    assert (collection.failures, collection.is_alone) == (1, True)
    assert "the answer is cut" in collection.reason
    assert await scene.stored("x") == {b"f": b"x"}


async def test_a_huge_item_delays_neither_its_batch_nor_what_comes_later(scene: Scene, tmp_path: Path) -> None:
    await scene.task("a-huge-hanging-one", {b"f": os.urandom(3 * MIB)}, stdout=None, stderr=None)
    await scene.task("small", {b"f": b"x"}, stdout=None, stderr=None)
    use(scene, troubled(tmp_path / "bin"), large_bytes=MIB)

    async with collecting(scene.collector):
        await scene.is_collected("small")
        await scene.task("later", {b"f": b"y"}, stdout=None, stderr=None)
        await scene.is_collected("later")
        huge = await scene.item("a-huge-hanging-one")

    assert huge.outputs_state in {"collecting", "pending"}


async def test_a_huge_item_arrives_in_a_transfer_of_its_own(scene: Scene) -> None:
    files = {b"f": os.urandom(3 * MIB)}
    await scene.task("huge", files)
    await scene.task("small", {b"f": b"x"})
    scene.reopen(large_bytes=2 * MIB + 8192)

    await scene.step()
    assert [await scene.stored(name) for name in ("huge", "small")] == [{}, {b"f": b"x"}]

    await scene.collect()
    assert await scene.stored("huge") == files
    assert (await scene.collection("huge")).failures == 0
    assert scene.shell.commands_run == 4


async def test_a_large_item_that_waits_for_a_file_goes_alone_only_while_it_is_large(scene: Scene) -> None:
    folder = await scene.task("huge", {b"f": os.urandom(3 * MIB)}, is_recorded=False)
    scene.record("huge", {b"f": 3 * MIB, b"late": 1})
    scene.reopen(large_bytes=2 * MIB + 8192)

    await scene.step()
    assert (await scene.collection("huge")).is_alone
    await scene.lanes[1]()
    waiting = await scene.collection("huge")
    assert (waiting.is_alone, waiting.looks, waiting.failures) == (False, 1, 0)
    assert waiting.reason.startswith("1 of 2 files not yet visible")
    assert (await scene.item("huge")).outputs_state == "partial"

    (folder / "late").write_bytes(b"x")
    await scene.make_due()
    await scene.step()
    assert (await scene.item("huge")).outputs_state == "collected"
    assert scene.shell.commands_run == 5


async def test_what_is_large_at_a_second_look_says_what_it_waits_for_until_it_has_gone_alone(scene: Scene) -> None:
    folder = await scene.task("growing", {b"f": b"x"}, is_recorded=False)
    scene.record("growing", {b"f": 1, b"large": 3 * MIB, b"late": 1})
    scene.reopen(large_bytes=2 * MIB + 8192)
    await scene.step()
    (folder / "large").write_bytes(os.urandom(3 * MIB))
    await scene.make_due()

    await scene.step()

    aside = await scene.collection("growing")
    assert (aside.is_alone, aside.lease, aside.looks) == (True, None, 1)
    assert aside.reason.startswith("2 of 3 files not yet visible")
    assert (await scene.item("growing")).outputs_state == "partial"


async def test_an_item_that_failed_and_now_waits_for_a_file_is_as_any_other(scene: Scene, tmp_path: Path) -> None:
    await scene.task("poison", {b"f": b"x"}, is_recorded=False)
    scene.record("poison", {b"f": 1, b"late": 1})
    use(scene, troubled(tmp_path / "bin", "poison", mode="list", what=CRASH))
    await scene.collect()
    failed = await scene.collection("poison")
    use(scene, LocalShell())
    await scene.make_due()

    await scene.collect()

    waiting = await scene.collection("poison")
    assert (failed.failures, failed.is_alone, failed.looks) == (1, True, 0)
    assert (waiting.failures, waiting.first_failed_at, waiting.is_alone, waiting.looks) == (0, None, False, 1)
    assert waiting.reason.startswith("1 of 2 files not yet visible")


async def test_looks_at_what_does_not_answer_keep_nobody_else_waiting(scene: Scene, tmp_path: Path) -> None:
    for name in ("hanging", "x"):
        await scene.task(name, {b"f": name.encode()}, stdout=None, stderr=None)
    use(scene, troubled(tmp_path / "bin", mode="list", what=SILENCE), patience_s=_PATIENCE_S)

    await scene.step()
    silent = await scene.collection("hanging")
    await scene.make_due()
    assert not await scene.step()
    assert scene.shell.commands_run == 2

    assert (silent.is_alone, silent.failures, silent.looks) == (True, 0, 1)
    assert silent.reason.startswith("no exit record: looked once")
    assert await scene.stored("x") == {b"f": b"x"}


async def test_a_run_whose_files_all_do_not_answer_is_left_out_for_a_while(scene: Scene, tmp_path: Path) -> None:
    for number in range(3):
        await scene.task(f"hanging{number}", {b"f": b"x"}, run_id="a", stdout=None, stderr=None)
    use(scene, troubled(tmp_path / "bin", mode="list", what=SILENCE), patience_s=_PATIENCE_S, max_items=1)
    await scene.task("t", {b"f": b"y"}, run_id="b", stdout=None, stderr=None)

    while await scene.step():
        pass

    assert (await scene.item("t", "b")).outputs_state == "collected"
    looks = [(await scene.collection(f"hanging{number}", "a")).looks for number in range(3)]
    assert looks == [1, 1, 0]


async def test_leases_are_renewed_while_a_transfer_takes_longer_than_one(
    scene: Scene, database: Database, tmp_path: Path
) -> None:
    await scene.task("hanging", {b"f": os.urandom(MIB)})
    use(scene, troubled(tmp_path / "bin"), lease_s=2.0)
    other = scene.open_collector(lease_s=2.0)

    async with collecting(scene.collector, other):
        await eventually(lambda: scene.shell.commands_run == 2)
        lease = (await scene.collection("hanging")).lease
        await asyncio.sleep(5)  # more than two leases
        later = await scene.collection("hanging")

    other.close()
    assert (later.lease, scene.shell.commands_run) == (lease, 2)


async def test_a_file_system_that_hangs_under_a_whole_run_lets_others_pass(scene: Scene, tmp_path: Path) -> None:
    for number in range(20):
        await scene.task(f"hanging{number:02}", {b"f": b"x"}, run_id="a", stdout=None, stderr=None)
    for number in range(3):
        await scene.task(f"t{number}", {b"f": b"y"}, run_id="b", stdout=None, stderr=None)
    use(scene, troubled(tmp_path / "bin", mode="list"), patience_s=_PATIENCE_S)

    steps = 0
    while await scene.step():
        steps += 1

    assert steps <= 2
    assert [(await scene.item(f"t{number}", "b")).outputs_state for number in range(3)] == ["collected"] * 3
    assert sum([(await scene.collection(f"hanging{number:02}", "a")).failures for number in range(20)]) == 0


async def test_a_reader_that_crashes_at_one_item_costs_few_trips_and_nobody_else_an_attempt(
    scene: Scene, tmp_path: Path
) -> None:
    names = [*(f"m{number:02}" for number in range(20)), "poison", *(f"q{number:02}" for number in range(20))]
    for name in names:
        await scene.task(name, {b"f": b"x"}, stdout=None, stderr=None)
    use(scene, troubled(tmp_path / "bin", "poison", mode="list", what=CRASH))

    await scene.collect()

    good = [name for name in names if name != "poison"]
    assert [await scene.stored(name) for name in good] == [{b"f": b"x"}] * 40
    # Up to the item and after it, twice two trips; alone it takes one, and one to see that it is to blame.
    assert scene.shell.commands_run == 6
    failures = {name: (await scene.collection(name)).failures for name in names}
    assert {name for name, count in failures.items() if count} == {"poison"}


async def test_a_cluster_that_hangs_charges_no_item(scene: Scene, tmp_path: Path) -> None:
    for name in ("a", "b"):
        await scene.task(name, {b"f": b"x"})
    use(scene, hanging(tmp_path / "bin"), patience_s=_PATIENCE_S)
    async with scene.database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE outputs.collections SET is_alone = true WHERE task_id = 'b'")

    said = [str(error) for step in scene.lanes[:2] for error in [await _error(step)]]

    assert ["was silent for 5 s" in words for words in said] == [True, True]
    for name in ("a", "b"):
        collection = await scene.collection(name)
        assert (collection.failures, collection.lease, collection.reason) == (0, None, None)
    assert "was silent" in str(await scene.cluster_error())


async def _error(step: supervision.Step) -> Exception | None:
    try:
        await step()
    except Exception as error:  # noqa: BLE001  whatever it is, its words are looked at
        return error
    return None


async def test_a_cluster_that_hangs_or_has_ten_thousand_due_keeps_no_other_waiting(
    database: Database, tmp_path: Path, own_sshd: Sshd, far_scene: Scene, clock: Clock
) -> None:
    hung = Scene(database, tmp_path / "hung", troubled(tmp_path / "bin", mode="list"), name="hung")
    busy = Scene(database, tmp_path / "busy", LocalShell(), name="busy")
    near = Scene(database, tmp_path / "near", LocalShell(), name="near")
    await far_scene.task("t1", {b"a": b"x"}, run_id="down")
    own_sshd.daemon.stop()
    await hung.task("hanging", {b"a": b"x"}, run_id="hung")
    await due(database, {"busy": 10_000}, cluster="busy")
    scenes = {CLUSTER: far_scene, "hung": hung, "busy": busy, "near": near}
    collector = Collector(
        database,
        near.blobs,
        {name: scene.cluster for name, scene in scenes.items()},
        {name: scene.shells for name, scene in scenes.items()},
        renderer="test-1",
        pace=Pace(),
    )

    async with collecting(collector) as pulse:
        for number in range(3):
            await near.task(f"t{number}", {b"a": b"x"}, run_id="near")
            await near.is_collected(f"t{number}", "near")
        faults = dict(pulse.faults)

    assert (await hung.item("hanging", "hung")).outputs_state == "pending"
    assert (await far_scene.item("t1", "down")).outputs_state == "pending"
    assert all(name.startswith(f"outputs.collect.{CLUSTER}") for name in faults)
    clock.now_s += 60
    collector.close()
    for scene in (hung, busy, near):
        scene.collector.close()
