"""A running task's file, from the moment it is written on the cluster until the API shows it; and what a look costs."""

import asyncio
import os
import pwd
import random
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from sqlalchemy import delete, func, insert

from scripthut_common import layout, supervision
from scripthut_common.clusters import CollectionLimits
from scripthut_common.database import Database
from scripthut_common.events import ItemState
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.ssh import SshShell
from scripthut_common.supervision import Pulse
from scripthut_outputs.catalog.changes import Listener
from scripthut_outputs.following import Followers
from scripthut_outputs.rendering import RENDERER
from scripthut_outputs.tables import FOLLOWERS, ITEMS, RUNS, WATCHED
from tests.bench import tasks
from tests.bench.table import Row
from tests.integration.outputs.house import House
from tests.testbed.accounts import ALICE
from tests.testbed.postgres import PostgresServer
from tests.testbed.sshd import Sshd

TICK_S = 2.0
FILES = 15
FILE_BYTES = 64 * 1024
ITEMS_RUNNING = (1, 100)
LOOKS = 4
_LOOK_EVERY_S = 0.02
_MOST_S = 2.0


async def measure() -> list[Row]:
    """Measure with one running item, and with a hundred."""
    with PostgresServer() as postgres, Sshd() as sshd:
        rows = []
        for count in ITEMS_RUNNING:
            async with tasks.catalog(postgres) as database, _Bench(sshd, database, count).going() as bench:
                rows += [await bench.shown(), await bench.trips()]
        return rows


class _Bench:
    """So many running items behind a server, a process that follows them, the API in front."""

    def __init__(self, sshd: Sshd, database: Database, count: int) -> None:
        self._folder = sshd.directory / f"followed-{count}"
        self._database = database
        self._count = count
        cluster = tasks.cluster_at(sshd, sshd.port, CollectionLimits())
        self._cluster = msgspec.structs.replace(cluster, follow_interval_s=TICK_S)

    @asynccontextmanager
    async def going(self) -> AsyncIterator["_Bench"]:
        """Let everything run."""
        self._write()
        await self._watch()
        self._house = House(self._database, self._folder)
        self._shell = SshShell(self._cluster)
        clusters, shells = (
            {tasks.CLUSTER: self._cluster},
            {tasks.CLUSTER: AccountShells(self._cluster, lambda _: self._shell)},
        )
        followers = Followers(self._database, self._house.blobs, clusters, shells, renderer=RENDERER, grace_s=86_400.0)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(Listener(self._database, self._house.cache).step())
            group.create_task(supervision.run(followers.loops(), Pulse(), stop))
            try:
                yield self
            finally:
                stop.set()
                listening.cancel()
        await asyncio.to_thread(followers.close)
        await self._shell.close()

    async def shown(self) -> Row:
        """Write one file after the other, at any moment of a tick, and wait for each."""
        taken_s = []
        for number in range(FILES):
            await asyncio.sleep(random.uniform(0, TICK_S))
            taken_s.append(await self._wait_for(f"plot-{number}.png"))
        worst_s, limit_s = max(taken_s), TICK_S + _MOST_S
        return Row(
            what=f"written → shown by the API, {FILES} files, {self._count} running",
            ours=f"worst {worst_s:.2f} s, median {statistics.median(taken_s):.2f} s",
            peer=f"tick {TICK_S:g} s + {_MOST_S:g} s",
            ratio=worst_s / limit_s,
            target="≤ 1",
        )

    async def trips(self) -> Row:
        """Count the commands of some ticks in which every item has changed."""
        before = self._shell.commands_run
        for _ in range(LOOKS):
            for number in range(self._count):
                self._place(self._output_dir(number) / "steps.txt", random.randbytes(100))
            await asyncio.sleep(TICK_S)
        commands = self._shell.commands_run - before
        return Row(
            what=f"commands of {LOOKS} ticks, all of {self._count} running changed",
            ours=str(commands),
            peer=f"ticks: {LOOKS}",
            ratio=commands / LOOKS,
            target="≤ 1.25",
        )

    async def _wait_for(self, name: str) -> float:
        content = random.randbytes(FILE_BYTES)
        self._place(self._output_dir(0) / name, content)
        written_at = time.perf_counter()
        url = f"/runs/{tasks.RUN}/tasks/t0/outputs/file/{name}"
        async with self._house.client("root") as client:
            while (answer := await client.get(url)).content != content or answer.status_code != 200:  # noqa: ASYNC110  an answer sets no event
                await asyncio.sleep(_LOOK_EVERY_S)
        return time.perf_counter() - written_at

    def _place(self, path: Path, content: bytes) -> None:
        """Let a file be there whole, and its owner's."""
        waiting = self._folder / "waiting"
        waiting.write_bytes(content)
        owner = pwd.getpwnam(ALICE)
        os.chown(waiting, owner.pw_uid, owner.pw_gid)
        waiting.rename(path)

    def _output_dir(self, number: int) -> Path:
        return Path(layout.output_dir(str(self._folder), tasks.RUN, f"t{number}"))

    def _write(self) -> None:
        for number in range(self._count):
            self._output_dir(number).mkdir(parents=True)
            (self._output_dir(number) / "begun").write_bytes(b"%d" % number)
        tasks.give_to_alice(self._folder)

    async def _watch(self) -> None:
        items = [
            tasks.item(str(self._folder), f"t{number}", number) | {"state": ItemState.RUNNING, "outputs_state": "none"}
            for number in range(self._count)
        ]
        async with self._database.transaction() as connection:
            for table in (RUNS, FOLLOWERS):
                await connection.execute(delete(table))
            await connection.execute(insert(RUNS).values(run_id=tasks.RUN, name="b", cluster=tasks.CLUSTER, owner="b"))
            await connection.execute(insert(ITEMS), items)
            until = func.now() + func.make_interval(0, 0, 0, 0, 1)
            await connection.execute(insert(WATCHED).values(run_id=tasks.RUN, until=until))
