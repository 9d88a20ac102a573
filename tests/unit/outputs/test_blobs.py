"""Bytes by SHA-256 on disk."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripthut_common.errors import NotFound, StoreUnavailable
from scripthut_outputs.blobs import DiskBlobs, StoredBlob, open_store


@pytest.fixture
def blobs(tmp_path: Path) -> DiskBlobs:
    return open_store(str(tmp_path / "blobs"))


def store(blobs: DiskBlobs, *bodies: bytes) -> list[StoredBlob]:
    batch = blobs.batch()
    stored = []
    for body in bodies:
        blob = batch.begin()
        for start in range(0, len(body), 300_000):
            blob.write(body[start : start + 300_000])
        stored.append(blob.finish())
    batch.settle()
    return stored


def local(blobs: DiskBlobs, stored: StoredBlob) -> Path:
    return Path(str(blobs.local_path(stored.sha256)))


def temporary_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("blobs/tmp/**/*") if path.is_file()]


@pytest.mark.parametrize("size_bytes", [0, 1, 1024 * 1024, 5 * 1024 * 1024 + 3])
async def test_what_is_stored_is_read_back_by_its_hash(blobs: DiskBlobs, tmp_path: Path, size_bytes: int) -> None:
    body = os.urandom(size_bytes)

    (stored,) = store(blobs, body)

    assert stored == StoredBlob(sha256=hashlib.sha256(body).hexdigest(), size_bytes=size_bytes)
    assert await blobs.read(stored.sha256) == body
    assert local(blobs, stored).read_bytes() == body
    assert temporary_files(tmp_path) == []


async def test_ranges_and_pieces_are_read(blobs: DiskBlobs) -> None:
    body = os.urandom(700_000)
    (stored,) = store(blobs, body)

    assert await blobs.read(stored.sha256, start=100, length=50) == body[100:150]
    assert await blobs.read(stored.sha256, start=699_999) == body[-1:]
    assert await blobs.read(stored.sha256, start=800_000) == b""
    pieces = [piece async for piece in blobs.stream(stored.sha256)]
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) <= 256 * 1024


async def test_many_blobs_settle_together_and_equal_ones_are_one(blobs: DiskBlobs, tmp_path: Path) -> None:
    bodies = [b"%d" % (number % 40) for number in range(100)]

    stored = store(blobs, *bodies)

    assert [await blobs.read(blob.sha256) for blob in stored] == bodies
    assert len([path for path in (tmp_path / "blobs/sha256").rglob("*") if path.is_file()]) == 40


def test_content_that_is_here_is_touched_and_not_written_again(blobs: DiskBlobs) -> None:
    (stored,) = store(blobs, b"same")
    path = local(blobs, stored)
    os.utime(path, (1, 1))
    inode = path.stat().st_ino

    store(blobs, b"same")

    assert path.stat().st_ino == inode
    assert path.stat().st_mtime > 1


async def test_a_blob_has_no_name_before_it_is_settled(blobs: DiskBlobs, tmp_path: Path) -> None:
    batch = blobs.batch()
    blob = batch.begin()
    blob.write(b"x" * 2_000_000)
    stored = blob.finish()

    with pytest.raises(NotFound):
        await blobs.read(stored.sha256)

    batch.abandon()
    assert temporary_files(tmp_path) == []


def test_a_blob_left_half_leaves_nothing(blobs: DiskBlobs, tmp_path: Path) -> None:
    blob = blobs.batch().begin()
    blob.write(b"x" * 2_000_000)
    assert len(temporary_files(tmp_path)) > 0

    blob.abandon()

    assert [path for path in temporary_files(tmp_path) if path.stat().st_size] == []


_DYING = """
import os, sys
from scripthut_outputs.blobs import open_store
blob = open_store(sys.argv[1]).batch().begin()
blob.write(b"x" * 2_000_000)
if sys.argv[2] == "die":
    os._exit(9)
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_a_crash_left_is_removed_and_what_is_alive_stays(blobs: DiskBlobs, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", _DYING, str(tmp_path / "blobs")]
    subprocess.run([*argv, "die"], check=False)
    with subprocess.Popen([*argv, "live"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as living:
        assert living.stdout is not None
        assert living.stdout.readline() == b"ready\n"

        blobs.batch()

        assert len(temporary_files(tmp_path)) == 1


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    blobs = open_store(str(tmp_path / "file"))

    with pytest.raises(StoreUnavailable, match=f"the blob store {tmp_path}/file does not work"):
        blobs.batch()
    assert str(await blobs.fault()).startswith(f"the blob store {tmp_path}/file does not work")


async def test_an_unknown_blob_is_not_found(blobs: DiskBlobs) -> None:
    with pytest.raises(NotFound):
        await blobs.read("0" * 64)
    assert await blobs.fault() is None
