"""Several processes follow one cluster: one at a time, and another one when it dies."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, update

from scripthut_common.database import Database
from scripthut_common.supervision import Pulse, run
from scripthut_outputs.tables import FOLLOWERS
from tests.eventually import eventually
from tests.integration.following.scene import FollowedScene
from tests.testbed.ports import reserve_port

_LEASE_S = 2.0


async def test_of_two_processes_one_follows(scene: FollowedScene) -> None:
    second = scene.follow()
    folder = await scene.runs("t1", {b"a": b"0"})

    for number in range(3):
        (folder / "a").write_bytes(b"%d" % number * (number + 1))
        await scene.look()
        await scene.look_of(second)

    second.close()
    assert scene.shell.commands_run == 3
    assert await scene.stored("t1") == {b"a": b"222"}


async def test_another_one_takes_over_when_the_lease_has_ended(scene: FollowedScene, database: Database) -> None:
    second = scene.follow()
    folder = await scene.runs("t1", {b"a": b"1"})
    await scene.look()
    (folder / "a").write_bytes(b"22")
    async with database.transaction() as connection:
        await connection.execute(update(FOLLOWERS).values(lease_until=func.now()))

    await scene.look_of(second)
    await scene.look()

    second.close()
    assert scene.shell.commands_run == 2
    assert await scene.stored("t1") == {b"a": b"22"}


async def test_a_lease_lasts_as_long_as_a_look_that_takes_long(scene: FollowedScene) -> None:
    scene.followers.close()
    scene.followers = scene.follow(lease_s=2.0)
    second = scene.follow(lease_s=2.0)
    await scene.runs("t1", {b"a": b"1"})
    going = asyncio.Event()
    scene.followers._followers[0]._trips.look = _slow(scene.followers._followers[0]._trips.look, going)  # type: ignore[method-assign]

    looking = asyncio.create_task(scene.look())
    renewed = await scene.lease_renewed(times=3)
    await scene.look_of(second)
    alone = scene.shell.commands_run
    going.set()
    await looking

    second.close()
    assert renewed
    assert alone == 0
    assert await scene.stored("t1") == {b"a": b"1"}


class Process:
    """A collector in a process of its own, whose reader stops while it follows, until it is killed."""

    def __init__(self, database_uri: str, scene: FollowedScene, folder: Path) -> None:
        folder.mkdir()
        (folder / "clusters.toml").write_text(
            f'[clusters.{scene.name}]\nscheduler = "localhost"\nlog_dir = "{scene.log_dir}"\nfollow_interval_s = 0.1\n'
        )
        python = folder / "bin" / "python3"
        python.parent.mkdir()
        python.write_text(
            f'#!/bin/sh\nif [ "$6" = follow ]; then touch {folder}/begun; exec sleep 60; fi\n'
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


@pytest.fixture
def process(database_uri: str, scene: FollowedScene, tmp_path: Path) -> Iterator[Process]:
    """A collector that has just been started."""
    started = Process(database_uri, scene, tmp_path / "process")
    yield started
    started.running.kill()
    started.running.wait()


async def test_what_a_killed_collector_followed_is_taken_over_within_its_lease(
    scene: FollowedScene, process: Process
) -> None:
    await scene.runs("t1", {b"a": b"1"})
    await eventually(process.begun.exists, 60)
    scene.followers.close()
    scene.followers = scene.follow(follow_interval_s=0.1)
    pulse, stop = Pulse(), asyncio.Event()

    process.running.send_signal(signal.SIGKILL)
    process.running.wait()
    async with asyncio.TaskGroup() as group:
        group.create_task(run(scene.followers.loops(), pulse, stop))
        await scene.is_shown("t1")
        stop.set()

    assert await scene.stored("t1") == {b"a": b"1"}
    assert scene.temporary_files() == []


def _slow(look, going: asyncio.Event):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  as it was
    async def slow(*arguments):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN202  as it was
        await going.wait()
        return await look(*arguments)

    return slow
