"""The sweep removes what nobody refers to, whoever collects or dies meanwhile, and never anything else."""

import asyncio
import hashlib
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert

from scripthut_common.database import Database
from scripthut_common.errors import StoreUnavailable
from scripthut_outputs.blobs import Batch, open_store
from scripthut_outputs.catalog.relying import Relied
from scripthut_outputs.catalog.sweeping import Sweep
from scripthut_outputs.ledger import FileState, Kind, Place
from scripthut_outputs.tables import FILES
from tests.integration.outputs.house import House
from tests.integration.outputs.keeping import (
    GRACE_S,
    change,
    ended_task,
    keep_files,
    keeper,
    let_grace_pass,
    listed,
    states,
)


async def forget(house: House, path: bytes) -> None:
    """Let a file be removed as retention does."""
    purge = update(FILES).where(FILES.c.path == path).values(state=FileState.PURGED, removal="age")
    async with house.database.transaction() as connection:
        await connection.execute(purge)


async def known(house: House) -> set[str]:
    return {row.sha256 for row in await house.rows("SELECT sha256 FROM outputs.blobs")}


async def test_what_nobody_refers_to_goes_with_its_rendering_and_nothing_else_does(house: House) -> None:
    await ended_task(house)
    kept = await keep_files(house, {b"gone.md": b"# gone", b"stays.md": b"# stays", b"twice": b"2", b"again": b"2"})
    await forget(house, b"gone.md")
    await forget(house, b"twice")
    await let_grace_pass(house)

    done = await keeper(house).work()

    stay = {kept[b"stays.md"], kept[b"again"]}
    assert done is not None
    assert (done.swept_blobs, done.swept_bytes) == (1, 6)
    assert await listed(house) == await known(house) == stay
    assert {row.sha256 for row in await house.rows("SELECT sha256 FROM outputs.documents")} == {kept[b"stays.md"]}


async def test_what_a_collection_touched_of_late_stays(house: House) -> None:
    await ended_task(house)
    kept = await keep_files(house, {b"a": b"a"})
    await forget(house, b"a")

    await keeper(house).work()
    assert await listed(house) == {kept[b"a"]}

    await let_grace_pass(house)
    await keeper(house).work()
    assert await listed(house) == set()


async def test_a_blob_that_is_gone_already_is_forgotten(house: House) -> None:
    await Relied(house.database).touch({"0" * 64: 1})
    await let_grace_pass(house)

    await keeper(house).work()

    assert await known(house) == set()


async def test_a_store_that_does_not_answer_loses_no_row(house: House, tmp_path: Path) -> None:
    kept = await keep_files(house, {}) | {b"a": house.keep(b"a")}
    await Relied(house.database).touch({kept[b"a"]: 1})
    await let_grace_pass(house)

    async def refuse(sha256: str) -> None:
        raise StoreUnavailable(f"no answer for {sha256}")

    with pytest.raises(StoreUnavailable):
        await Sweep(house.database, grace_s=GRACE_S).sweep(refuse)

    assert await known(house) == {kept[b"a"]}


async def test_many_blobs_are_swept_in_portions(house: House) -> None:
    sizes = {hashlib.sha256(b"%d" % number).hexdigest(): 1 for number in range(450)}
    await Relied(house.database).touch(sizes)
    await let_grace_pass(house)
    portions: list[int] = []
    sweep, after = Sweep(house.database, grace_s=GRACE_S), ""

    while (portion := await sweep.sweep(house.blobs.remove, after=after)).next is not None:
        portions.append(portion.blobs)
        after = portion.next

    assert (sum(portions), max(portions)) == (450, 100)
    assert await known(house) == set()


async def test_old_idempotency_keys_are_forgotten(house: House) -> None:
    row = "INSERT INTO outputs.idempotency_keys (owner, key, run_id, document_sha256, created_at) VALUES"
    await change(house, f"{row} ('ada', 'old', 'r1', '', now() - interval '31 days'), ('ada', 'new', 'r1', '', now())")

    await keeper(house).work()

    assert [key.key for key in await house.rows("SELECT key FROM outputs.idempotency_keys")] == ["new"]


async def test_a_collector_that_comes_upon_a_blob_being_removed_waits_and_then_knows_it_is_gone(house: House) -> None:
    kept = {b"a": house.keep(b"a")}
    await Relied(house.database).touch({kept[b"a"]: 1})
    await let_grace_pass(house)
    at_work, go_on = asyncio.Event(), asyncio.Event()

    async def remove_slowly(sha256: str) -> None:
        at_work.set()
        await go_on.wait()
        await house.blobs.remove(sha256)

    async with asyncio.TaskGroup() as group:
        group.create_task(Sweep(house.database, grace_s=GRACE_S).sweep(remove_slowly))
        await at_work.wait()
        batch = house.blobs.batch()
        arrive(batch, b"a")
        touching = group.create_task(Relied(house.database).touch(batch.sizes))
        await asyncio.wait([touching], timeout=0.3)
        assert not touching.done()
        go_on.set()

    with pytest.raises(StoreUnavailable):
        batch.settle()
    assert await known(house) == {kept[b"a"]}


@pytest.mark.parametrize(
    "step",
    [
        "before commit retention.remove",
        "after commit retention.remove",
        "before remove",
        "after remove",
        "before commit sweeping.sweep",
        "after commit sweeping.sweep",
    ],
)
async def test_killed_at_any_step_the_next_pass_ends_clean(house: House, migrated_uri: str, step: str) -> None:
    await ended_task(house, days_ago=100)
    await ended_task(house, "t1")
    kept = await keep_files(house, {b"old-%d.md" % number: b"# %d" % number for number in range(3)})
    young = await keep_files(house, {b"young": b"young", b"shared.md": b"# 0"}, "t1")
    await let_grace_pass(house)

    assert die(migrated_uri, house, "sweep", step) == -signal.SIGKILL

    here = await listed(house)
    stored = await house.rows("SELECT DISTINCT sha256 FROM outputs.files WHERE state = 'stored'")
    if "retention" in step:
        assert {row.sha256 for row in stored} <= here
    assert set(young.values()) <= here
    assert await keeper(house, max_age_days=90).work() is not None
    assert await listed(house) == await known(house) == set(young.values())
    assert {row.sha256 for row in await house.rows("SELECT sha256 FROM outputs.documents")} == {kept[b"old-0.md"]}
    assert sorted((await states(house)).values()) == ["purged"] * 3 + ["stored"] * 2


def die(uri: str, house: House, work: str, step: str) -> int:
    """Work in a process that is killed at a step."""
    store = str(Path(str(house.blobs.local_path("0" * 64))).parents[2])
    command = [sys.executable, "-m", "tests.integration.outputs.dying", uri, store, work, step]
    return subprocess.run(command, timeout=60, check=False).returncode


def arrive(batch: Batch, content: bytes) -> str:
    """Let one blob arrive."""
    blob = batch.begin()
    blob.write(content)
    return blob.finish().sha256


class Race:
    """Collectors and sweeps that come upon the same blobs at the same time, round by round.

    Before each round every content is in the store, forgotten and old: a sweep may take it, unless a collector that
    relies on it was faster.
    """

    def __init__(self, database: Database, folder: Path, seed: int) -> None:
        self.database = database
        self.blobs = open_store(str(folder))
        self.relied = Relied(database)
        self.random = random.Random(seed)
        self.contents = [b"content %d" % number for number in range(5)]
        self.swept = self.refused = 0

    async def play(self) -> None:
        """Play one round; everything that a collector has written is there at its end."""
        async with asyncio.TaskGroup() as group:
            for number, content in enumerate(self.contents * 2):
                group.create_task(self.collect_until_kept(b"%d" % number, content))
            for _ in range(2):
                group.create_task(self.sweep())

    async def collect_until_kept(self, path: bytes, content: bytes) -> None:
        while True:
            await self.dawdle()
            try:
                await self.collect(path, content)
            except StoreUnavailable:
                self.refused += 1
            else:
                return

    async def collect(self, path: bytes, content: bytes) -> None:
        batch = await asyncio.to_thread(self.blobs.batch)
        sha256 = await asyncio.to_thread(arrive, batch, content)
        await self.dawdle()
        await self.relied.touch(batch.sizes)
        await self.dawdle()
        try:
            await asyncio.to_thread(batch.settle)
        except StoreUnavailable:
            batch.abandon()
            raise
        await self.dawdle()
        row = {"run_id": "r1", "task_id": "t0", "place": Place.OUTPUT, "path": path, "kind": Kind.OTHER, "attempt": 1}
        row |= {"state": FileState.STORED, "sha256": sha256, "stored_bytes": len(content)}
        async with self.database.transaction() as connection:
            added = insert(FILES).values(row)
            await connection.execute(added.on_conflict_do_update(index_elements=FILES.primary_key, set_=row))

    async def sweep(self) -> None:
        for _ in range(4):
            await self.dawdle()
            self.swept += (await Sweep(self.database, grace_s=GRACE_S).sweep(self.remove)).blobs

    async def remove(self, sha256: str) -> None:
        await self.dawdle()
        await self.blobs.remove(sha256)
        await self.dawdle()

    async def dawdle(self) -> None:
        await asyncio.sleep(self.random.choice((0, 0, 0.002, 0.01)))


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_sweep_takes_a_blob_from_a_collector(
    house: House, migrated_uri: str, tmp_path: Path, seed: int
) -> None:
    await ended_task(house)
    database = Database(migrated_uri, pool_size=12)
    race = Race(database, tmp_path / "store", seed)

    try:
        for _ in range(12):
            await race.play()

            stored = await house.rows("SELECT sha256 FROM outputs.files WHERE state = 'stored'")
            here = {blob.sha256 async for blob in race.blobs.list_blobs()}
            assert {row.sha256 for row in stored} == here <= await known(house)
            await change(house, "UPDATE outputs.files SET state = 'purged'")
            await let_grace_pass(house)
    finally:
        await database.close()

    assert min(race.swept, race.refused) > 5, (race.swept, race.refused)
