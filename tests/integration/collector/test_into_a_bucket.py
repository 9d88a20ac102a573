"""Collecting into an S3-compatible store: the same ledger and bytes, and honest waiting while it is away."""

import os
from pathlib import Path

import pytest
from sqlalchemy import select

from scripthut_common.errors import StoreUnavailable
from scripthut_outputs.tables import BLOBS
from tests.contract.shelves import S3Shelf, listed
from tests.integration.collector.scene import Scene
from tests.testbed.s3 import S3Server

MIB = 1024 * 1024


@pytest.fixture
async def shelf(scene: Scene, s3_server: S3Server, tmp_path: Path) -> S3Shelf:
    shelf = S3Shelf(s3_server, tmp_path, timeout_s=1.0)
    scene.blobs = shelf.open()
    scene.reopen()
    return shelf


async def _known(scene: Scene) -> set[str]:
    async with scene.database.transaction() as connection:
        return set((await connection.execute(select(BLOBS.c.sha256))).scalars())


async def test_files_of_all_sizes_are_collected(scene: Scene, shelf: S3Shelf) -> None:
    files = {b"empty": b"", b"small": b"x", b"again": b"x", b"large": os.urandom(9 * MIB)}
    await scene.task("t1", files)
    for number in range(2, 30):
        await scene.task(f"t{number}", {b"own": b"%d" % number, b"common": b"x"})

    await scene.collect()

    assert await scene.stored("t1") == files
    assert await scene.stored("t29") == {b"own": b"29", b"common": b"x"}
    assert set(await listed(scene.blobs)) == await _known(scene)
    assert shelf.leftovers() == []


async def test_a_store_that_is_away_costs_no_attempt_and_collecting_goes_on_when_it_is_back(
    scene: Scene, shelf: S3Shelf, s3_server: S3Server
) -> None:
    await scene.task("t1", {b"a": b"x"})
    s3_server.daemon.pause()

    with pytest.raises(StoreUnavailable, match=r"the blob store s3://.* does not answer"):
        await scene.step()

    collection = await scene.collection("t1")
    assert (collection.failures, collection.lease) == (0, None)
    assert "does not answer" in str(await scene.cluster_error())
    assert shelf.leftovers() == []
    s3_server.daemon.resume()
    await scene.collect()
    assert await scene.stored("t1") == {b"a": b"x"}
    assert await scene.cluster_error() is None
