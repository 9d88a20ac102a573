"""Processes that die or sleep while they collect: others take over, and what comes late changes nothing."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from scripthut_common.database import Database
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.tables import BLOBS
from tests.eventually import eventually
from tests.integration.collector.crowds import due
from tests.integration.collector.scene import CLUSTER, Scene
from tests.integration.collector.test_fairness import collecting
from tests.testbed.ports import reserve_port

MIB = 1024 * 1024
_LEASE_S = 2.0


class Process:
    """A collector in a process of its own, whose reader stops in the middle of a file until `let_go`.

    Its message broker is away, which keeps it from nothing here.
    """

    def __init__(self, database_uri: str, scene: Scene, folder: Path) -> None:
        folder.mkdir()
        self._gate = folder / "gate"
        (folder / "clusters.toml").write_text(
            f'[clusters.{scene.name}]\nscheduler = "localhost"\nlog_dir = "{scene.log_dir}"\n'
        )
        python = folder / "bin" / "python3"
        python.parent.mkdir()
        python.write_text(
            "#!/bin/sh\n"
            f'if [ "$6" = send ]; then {sys.executable} "$@" | (head -c 1000000; touch {folder}/begun\n'
            f"while [ ! -e {self._gate} ]; do sleep 0.05; done; exec cat); exit; fi\n"
            f'exec {sys.executable} "$@"\n'
        )
        python.chmod(0o755)
        settings = {
            "DATABASE_URL": database_uri,
            "CLUSTERS_FILE": folder / "clusters.toml",
            "TOKENS_FILE": folder / "tokens",
            "BLOBS_URL": scene.folder / "blobs",
            "AMQP_URL": f"amqp://127.0.0.1:{reserve_port()}",
            "HEALTH_PORT": reserve_port(),
            "COLLECTION_LEASE_S": _LEASE_S,
        }
        environment = {f"SCRIPTHUT_OUTPUTS_{name}": str(value) for name, value in settings.items()}
        environment["PATH"] = f"{python.parent}:{os.environ['PATH']}"
        self.begun = folder / "begun"
        with (folder / "log").open("wb") as log:
            self.running = subprocess.Popen(
                [Path(sys.executable).with_name("scripthut-outputs"), "collect"], env=environment, stderr=log
            )
        self.log = folder / "log"

    def let_go(self) -> None:
        """Let its reader go on."""
        self._gate.touch()


@pytest.fixture
def process(database_uri: str, scene: Scene, tmp_path: Path) -> Iterator[Process]:
    """A collector that has just been started."""
    started = Process(database_uri, scene, tmp_path / "process")
    yield started
    started.let_go()
    started.running.kill()
    started.running.wait()


async def _is_in_the_middle(process: Process, scene: Scene, task_id: str) -> Any:
    await eventually(process.begun.exists)
    async with asyncio.timeout(20):
        while (await scene.item(task_id)).outputs_state != "collecting":  # noqa: ASYNC110  rows set no event
            await asyncio.sleep(0.02)
    return (await scene.collection(task_id)).lease


async def test_what_a_killed_collector_had_begun_is_taken_over_within_its_lease(scene: Scene, process: Process) -> None:
    files = {b"f": os.urandom(3 * MIB)}
    await scene.task("t1", files)
    lease = await _is_in_the_middle(process, scene, "t1")

    process.running.send_signal(signal.SIGKILL)
    process.running.wait()
    async with collecting(scene.collector):
        async with asyncio.timeout(_LEASE_S + 8):
            await scene.is_collected("t1")

    assert lease is not None
    assert await scene.stored("t1") == files
    assert len(await scene.told()) == 1


async def test_what_a_paused_collector_writes_after_its_lease_changes_nothing(
    scene: Scene, database: Database, process: Process
) -> None:
    folder = await scene.task("t1", {b"f": os.urandom(3 * MIB)})
    await _is_in_the_middle(process, scene, "t1")
    process.running.send_signal(signal.SIGSTOP)
    newer = os.urandom(3 * MIB)
    (folder / "f").write_bytes(newer)
    async with collecting(scene.collector):
        await scene.is_collected("t1")
    written = [await scene.ledger("t1"), await scene.item("t1"), await scene.collection("t1"), await scene.told()]

    process.let_go()
    process.running.send_signal(signal.SIGCONT)
    await eventually(lambda: b'"lost_leases": 1' in process.log.read_bytes())

    assert [
        await scene.ledger("t1"),
        await scene.item("t1"),
        await scene.collection("t1"),
        await scene.told(),
    ] == written
    assert await scene.stored("t1") == {b"f": newer}
    async with database.transaction() as connection:
        known = set(await connection.scalars(select(BLOBS.c.sha256)))
    named = {path.parent.name + path.name for path in scene.folder.glob("blobs/sha256/*/*")}
    assert named <= known


async def test_two_collectors_do_nothing_twice(scene: Scene) -> None:
    for number in range(40):
        await scene.task(f"t{number:02}", {b"f": b"%d" % number}, stdout=None, stderr=None)
    other = scene.open_collector()

    async with collecting(scene.collector, other):
        for number in range(40):
            await scene.is_collected(f"t{number:02}")

    other.close()
    assert sorted(event.task_id for event in await scene.told()) == [f"t{number:02}" for number in range(40)]


async def test_of_what_is_due_each_collector_takes_its_part_and_one_alone_takes_all(database: Database) -> None:
    await due(database, {"a": 60, "b": 30})
    one, two = Collections(database), Collections(database)
    async with asyncio.TaskGroup() as group:
        listening = [await _listens(group, collections) for collections in (one, two)]
        shares = [await each.claim_due(CLUSTER, limit=200, lease_s=60) for each in (one, two)]
        for task in listening:
            task.cancel()

    assert [len(claims) for claims in shares] == [45, 45]
    assert not {claim.key for claim in shares[0]} & {claim.key for claim in shares[1]}

    await one.release([*shares[0], *shares[1]])
    assert len(await one.claim_due(CLUSTER, limit=200, lease_s=60)) == 90


async def _listens(group: asyncio.TaskGroup, collections: Collections) -> asyncio.Task[None]:
    heard = asyncio.Event()

    async def on_connect() -> None:
        heard.set()

    async def on_notify(_: str) -> None:
        """Do nothing: only that it listens matters."""

    task = group.create_task(collections.listen([CLUSTER], on_connect, on_notify))
    await heard.wait()
    return task
