"""What collecting does when the cluster, a file, the disk or the database is not as it should be."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from scripthut_common import supervision
from scripthut_common.database import Database
from scripthut_common.errors import AccessRefused, BadOutput, DatabaseUnavailable, StoreUnavailable, Unreachable
from scripthut_common.health import Health
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.local import LocalShell
from scripthut_common.supervision import Pulse
from scripthut_outputs.blobs import open_store
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.collector import Collector
from scripthut_outputs.ledger import Place
from tests.eventually import eventually
from tests.integration.collector.scene import CLUSTER, Scene
from tests.integration.collector.shells import Clock, Interrupted
from tests.integration.collector.trouble import CRASH, SILENCE, troubled
from tests.testbed.accounts import BOB
from tests.testbed.postgres import PostgresServer
from tests.testbed.sshd import Sshd

MIB = 1024 * 1024


async def test_outputs_come_over_ssh_as_they_come_locally(far_scene: Scene) -> None:
    files = {b"new\nline \xff": b"x", b"large": os.urandom(3 * MIB), b"sub/plot.png": bytes(range(256))}
    await far_scene.task("t1", files, fragment=b"- f", stdout=b"out")

    await far_scene.collect()

    assert await far_scene.stored("t1") == files
    assert await far_scene.stored("t1", Place.RUN_SUMMARY) == {b"t1.md": b"- f"}
    assert far_scene.shell.commands_run == 2


async def test_an_unreachable_cluster_only_pauses_what_waits(far_scene: Scene, own_sshd: Sshd, clock: Clock) -> None:
    await far_scene.task("t1", {b"a": b"x"})
    own_sshd.daemon.stop()

    with pytest.raises(Unreachable):
        await far_scene.step()

    collection = await far_scene.collection("t1")
    assert (collection.failures, collection.lease, collection.reason) == (0, None, None)
    assert "Connect call failed" in str(await far_scene.cluster_error())
    assert (await far_scene.item("t1")).outputs_state == "pending"

    own_sshd.daemon.start()
    clock.now_s += 60
    await far_scene.collect()
    assert await far_scene.stored("t1") == {b"a": b"x"}
    assert await far_scene.cluster_error() is None


async def test_a_changed_host_key_is_said_and_healed_by_trusting_it(
    far_scene: Scene, own_sshd: Sshd, clock: Clock
) -> None:
    await far_scene.task("t1", {b"a": b"x"})
    own_sshd.change_host_key()

    with pytest.raises(AccessRefused):
        await far_scene.step()

    assert "its host key is not the one in" in str(await far_scene.cluster_error())

    own_sshd.trust_host_key()
    clock.now_s += 60
    await far_scene.collect()
    assert await far_scene.stored("t1") == {b"a": b"x"}


async def test_a_refused_key_is_said_and_healed_by_the_right_one(
    far_scene: Scene, own_sshd: Sshd, clock: Clock
) -> None:
    await far_scene.task("t1", {b"a": b"x"})
    keys = own_sshd.directory / "authorized_keys.sh-alice"
    right = keys.read_text()
    keys.write_text(own_sshd.key(BOB).with_suffix(f"{own_sshd.key(BOB).suffix}.pub").read_text())

    with pytest.raises(AccessRefused):
        await far_scene.step()

    assert "does not let sh-alice in" in str(await far_scene.cluster_error())

    keys.write_text(right)
    clock.now_s += 60
    await far_scene.collect()
    assert await far_scene.stored("t1") == {b"a": b"x"}


async def test_a_connection_cut_in_the_middle_of_a_transfer_loses_nothing(
    far_scene: Scene, own_sshd: Sshd, clock: Clock
) -> None:
    files = {b"%d" % number: os.urandom(8 * MIB) for number in range(12)}
    await far_scene.task("t1", {b"first": b"x"})
    await far_scene.task("t2", files)
    far_scene.reopen(large_bytes=200 * MIB)
    async with asyncio.TaskGroup() as group:
        step = group.create_task(_outcome(far_scene))
        await eventually(lambda: bool(far_scene.temporary_files()))
        own_sshd.daemon.kill()

    assert isinstance(step.result(), Unreachable)
    own_sshd.daemon.start()
    clock.now_s += 60
    await far_scene.collect()
    assert await far_scene.stored("t1") == {b"first": b"x"}
    assert await far_scene.stored("t2") == files
    assert far_scene.temporary_files() == []
    assert len(await far_scene.told()) == 2


async def _outcome(scene: Scene) -> object:
    try:
        return await scene.step()
    except Unreachable as error:
        return error


async def test_unreadable_files_and_folders_are_named(far_scene: Scene) -> None:
    folder = await far_scene.task("t1", {b"a": b"x", b"secret": b"x", b"closed/b": b"x"})
    (folder / "secret").chmod(0)
    (folder / "closed").chmod(0)

    await far_scene.collect()

    named = {b"a": "stored", b"secret": "unreadable", b"closed": "unreadable", b"closed/b": "not_yet_visible"}
    assert await far_scene.states("t1") == named
    await far_scene.let_pass(600)
    await far_scene.collect()
    assert await far_scene.states("t1") == named
    assert (await far_scene.item("t1")).outputs_state == "incomplete"


async def test_a_file_swapped_by_a_link_between_listing_and_reading_is_not_read(
    scene: Scene, shell: Interrupted, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = await scene.task("t1", {b"a": b"x", b"b": b"y"})

    def swap() -> None:
        (folder / "a").unlink()
        (folder / "a").symlink_to(tmp_path / "secret")

    shell.before[2] = swap
    await scene.collect()

    assert await scene.states("t1") == {b"a": "not_regular", b"b": "stored"}


async def test_a_file_swapped_by_a_pipe_does_not_hang(scene: Scene, shell: Interrupted) -> None:
    folder = await scene.task("t1", {b"a": b"x", b"b": b"y"})

    def swap() -> None:
        (folder / "a").unlink()
        os.mkfifo(folder / "a")

    shell.before[2] = swap
    await scene.collect()

    assert await scene.states("t1") == {b"a": "not_regular", b"b": "stored"}


async def test_a_folder_swapped_by_a_link_between_listing_and_reading_leads_nowhere(
    scene: Scene, shell: Interrupted, tmp_path: Path
) -> None:
    folder = await scene.task("t1", {b"sub/a": b"x", b"b": b"y"})

    def swap() -> None:
        (folder / "sub").rename(tmp_path / "elsewhere")
        (folder / "sub").symlink_to(tmp_path / "elsewhere")

    shell.before[2] = swap
    await scene.collect()

    assert await scene.states("t1") == {b"sub/a": "not_regular", b"b": "stored"}


async def test_files_that_grow_or_vanish_meanwhile_are_named(scene: Scene, shell: Interrupted) -> None:
    folder = await scene.task("t1", {b"gone": b"x", b"grown": b"y", b"same": b"z"}, stdout=b"log")

    def meddle() -> None:
        (folder / "gone").unlink()
        (folder / "grown").write_bytes(b"yy")
        (scene.log_dir / "scripthut_r1_t1.out").write_bytes(b"log goes on")

    shell.before[2] = meddle
    await scene.collect()

    assert await scene.states("t1") == {b"gone": "purged", b"grown": "changed_while_reading", b"same": "stored"}
    assert list((await scene.stored("t1", Place.STDOUT)).values()) == [b"log goes on"]
    assert (await scene.ledger("t1"))[b"gone"].reason == "it vanished between listing and reading"
    assert (await scene.item("t1")).outputs_state == "partial"
    assert "2 of the promised files could not be read whole" in (await scene.collection("t1")).reason


async def test_without_python_the_reason_is_said_and_nothing_is_lost(scene: Scene) -> None:
    for number in range(4):
        await scene.task(f"t{number}", {b"a": b"x"})
    with_python, scene.shell = scene.shell, LocalShell(environment={"PATH": "/nowhere"})
    scene.reopen()

    with pytest.raises(BadOutput, match="this cluster has neither python3 nor GNU find and tar"):
        await scene.step()

    collection = await scene.collection("t1")
    assert (collection.failures, collection.lease, collection.is_alone) == (0, None, False)
    assert "this cluster has neither python3" in str(await scene.cluster_error())
    assert scene.shell.commands_run == 4  # both readers, and both once more with nothing to read

    scene.shell = with_python
    scene.reopen()
    await scene.collect()
    assert [await scene.stored(f"t{number}") for number in range(4)] == [{b"a": b"x"}] * 4
    assert await scene.cluster_error() is None


async def test_an_item_that_hangs_costs_no_other_its_outputs(scene: Scene, tmp_path: Path) -> None:
    scene.shell = troubled(tmp_path / "bin", mode="list", what=SILENCE)
    names = ["a", "b", "hanging", "x", "y", "z"]
    for name in names:
        await scene.task(name, {b"a": name.encode()})
    scene.cluster = msgspec.structs.replace(scene.cluster, command_timeout_s=6.0)
    scene.reopen()

    await scene.step()

    for name in names:
        assert await scene.stored(name) == ({} if name == "hanging" else {b"a": name.encode()})
    assert scene.shell.commands_run == 2
    silent = (await scene.ledger("hanging"))[b"."]
    assert (silent.state, silent.reason) == ("unreadable", "the file system did not answer within 2 s")
    collection = await scene.collection("hanging")
    assert (collection.failures, collection.first_failed_at) == (0, None)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "blobs"
    disk.mkdir()
    _mount("size=1m", disk)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)  # the store keeps its lock until the process ends


def _mount(options: str, disk: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)


async def test_a_full_disk_is_said_and_collecting_goes_on_when_there_is_room(scene: Scene, small_disk: Path) -> None:
    await scene.task("t1", {b"a": os.urandom(3 * MIB)})

    with pytest.raises(StoreUnavailable, match=r"the blob store .* is full"):
        await scene.step()

    collection = await scene.collection("t1")
    assert (collection.failures, collection.lease) == (0, None)
    assert "is full" in str(await scene.cluster_error())
    scene.reopen()
    assert scene.temporary_files() == []
    assert await scene.blobs.fault() is None

    _mount("remount,size=8m", small_disk)
    await scene.collect()
    assert await scene.states("t1") == {b"a": "stored"}
    assert await scene.cluster_error() is None


async def test_a_store_without_a_byte_left_says_so(small_disk: Path) -> None:
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(b"x" * 4096)

    assert f"the blob store {small_disk} is full" == await open_store(str(small_disk)).fault()


async def test_a_database_that_stops_in_the_middle_loses_nothing(
    scene: Scene, shell: Interrupted, postgres: PostgresServer
) -> None:
    await scene.task("t1", {b"a": b"x"})
    shell.before[2] = postgres.daemon.kill

    with pytest.raises(DatabaseUnavailable):
        await scene.step()

    shell.before.clear()
    postgres.daemon.start()
    await scene.collect()
    assert await scene.stored("t1") == {b"a": b"x"}
    assert len(await scene.told()) == 1


async def test_one_cluster_does_not_wait_for_another(
    far_scene: Scene, own_sshd: Sshd, database: Database, tmp_path: Path
) -> None:
    near = Scene(database, tmp_path, LocalShell(), name="near")
    await far_scene.task("t1", {b"a": b"x"}, run_id="far-run")
    own_sshd.daemon.pause()
    collector = Collector(
        database,
        near.blobs,
        {CLUSTER: far_scene.cluster, "near": near.cluster},
        {CLUSTER: far_scene.shells, "near": near.shells},
        renderer="test-1",
    )
    stop = asyncio.Event()

    async with asyncio.TaskGroup() as group:
        group.create_task(supervision.run(collector.loops(), Pulse(), stop))
        for number in range(3):
            await near.task(f"t{number}", {b"a": b"x"}, run_id="near-run")
            await near.is_collected(f"t{number}", "near-run")
        stop.set()

    assert (await far_scene.item("t1", "far-run")).outputs_state == "pending"
    own_sshd.daemon.resume()


async def test_what_is_wanted_is_collected_at_once_without_waiting_for_the_interval(scene: Scene) -> None:
    scene.reopen(interval_s=3600.0)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(supervision.run(scene.collector.loops(), Pulse(), stop))
        for number in range(3):
            await scene.task(f"t{number}", {b"a": b"x"})
            await scene.is_collected(f"t{number}")
        stop.set()


async def test_an_item_that_fails_for_a_day_of_attempts_rests_as_failed_and_can_be_had_again(
    scene: Scene, tmp_path: Path
) -> None:
    await scene.task("poison", {b"a": b"x"})
    healthy = scene.shell
    scene.shell = troubled(tmp_path / "bin", "poison", mode="list", what=CRASH)
    scene.reopen(give_up_after_s=12.0)  # 5 s and 10 s: after the third attempt

    for failures in (1, 2):
        await scene.collect()
        assert (await scene.collection("poison")).failures == failures
        await scene.make_due()
    await scene.collect()

    collection = await scene.collection("poison")
    assert (collection.due_at, (await scene.item("poison")).outputs_state) == (None, "failed")
    assert "given up after 3 attempts: " in collection.reason
    assert "exit status 137" in collection.reason
    assert [event.outputs_state for event in await scene.told()] == ["failed"]

    scene.shell = healthy
    scene.reopen()
    await scene.want("r1", "poison")
    await scene.collect()
    assert await scene.stored("poison") == {b"a": b"x"}


async def test_a_wish_that_comes_while_an_attempt_fails_is_due_at_once(scene: Scene, tmp_path: Path) -> None:
    await scene.task("poison", {b"a": b"x"})
    (claim,) = await Collections(scene.database).claim_due(CLUSTER, limit=1, lease_s=60)
    await scene.want("r1", "poison")

    await Collections(scene.database).postpone(claim, "too late", delay_s=600)

    collection = await scene.collection("poison")
    assert (collection.failures, collection.reason, collection.lease) == (0, None, None)
    assert len(await Collections(scene.database).claim_due(CLUSTER, limit=1, lease_s=60)) == 1


async def test_a_closed_directory_is_incomplete_at_the_deadline_and_not_tried_again_then(far_scene: Scene) -> None:
    folder = await far_scene.task("t1", {b"a": b"x"})
    folder.chmod(0)

    await far_scene.collect()
    assert (await far_scene.item("t1")).outputs_state == "partial"
    await far_scene.let_pass(600)
    await far_scene.collect()

    assert await far_scene.states("t1") == {b".": "unreadable", b"a": "not_yet_visible"}
    assert (await far_scene.item("t1")).outputs_state == "incomplete"
    assert (await far_scene.collection("t1")).due_at is None
    folder.chmod(0o755)


async def test_a_full_disk_is_told_in_health_and_ends_by_itself(scene: Scene, small_disk: Path) -> None:
    body = os.urandom(3 * MIB)
    await scene.task("t1", {b"a": body})
    pulse, stop = Pulse(), asyncio.Event()
    health = Health(pulse, {}, CollectorRegistry(), fresh_s=0.0)

    async with asyncio.TaskGroup() as group:
        group.create_task(supervision.run(scene.collector.loops(), pulse, stop))
        await eventually(lambda: bool(pulse.faults))
        status, report = await health.ready()
        _mount("remount,size=8m", small_disk)
        await scene.is_collected("t1")
        await eventually(lambda: not pulse.faults)
        stop.set()

    assert status == 503
    assert "is full" in report.faults[0].fault
    assert (await scene.collection("t1")).failures == 0
    assert await scene.stored("t1") == {b"a": body}


async def test_what_was_collected_is_counted(scene: Scene, tmp_path: Path) -> None:
    registry = CollectorRegistry()
    await scene.task("t1", {b"a": b"123"}, stdout=None, stderr=None)
    await scene.task("poison", {b"a": b"x"})
    shell = troubled(tmp_path / "bin", "poison", mode="list", what=CRASH)
    names = {scene.name: scene.cluster}
    collector = Collector(
        scene.database,
        scene.blobs,
        names,
        {scene.name: AccountShells(scene.cluster, lambda _: shell)},
        renderer="test-1",
        registry=registry,
    )
    loops = {loop.name: loop.step for loop in collector.loops()}

    await loops["outputs.due"]()
    waiting = registry.get_sample_value("scripthut_outputs_due_items", {"cluster": scene.name})
    for name in ("outputs.collect.testbed", "outputs.collect.testbed", "outputs.collect.testbed.alone-1"):
        await loops[name]()

    collector.close()

    def counted(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"scripthut_outputs_{name}", {"cluster": scene.name, **labels})

    assert waiting == 2
    assert counted("collected_items_total", state="collected") == 1
    assert (counted("collected_files_total"), counted("collected_bytes_total")) == (1, 3)
    assert counted("collection_faults_total", fault="BadOutput") == 2
    assert counted("round_trips_total") == shell.commands_run
