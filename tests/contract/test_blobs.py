"""The rules of `blobs.BlobStore`, held by a folder and by an S3-compatible bucket."""

import asyncio
import hashlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from scripthut_common.errors import NotFound, StoreUnavailable
from scripthut_outputs.blobs import BlobStore, StoredBlob
from tests.contract.shelves import DiskShelf, S3Shelf, Shelf, listed, store

MIB = 1024 * 1024


@pytest.fixture(params=["disk", "s3"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    if request.param == "disk":
        return DiskShelf(tmp_path)
    return S3Shelf(request.getfixturevalue("s3_server"), tmp_path)


@pytest.fixture
def blobs(shelf: Shelf) -> BlobStore:
    return shelf.open()


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("size_bytes", [0, 1, MIB, MIB + 1, 5 * MIB + 3, 8 * MIB, 20 * MIB + 1])
async def test_what_is_stored_is_read_back_by_its_hash(shelf: Shelf, blobs: BlobStore, size_bytes: int) -> None:
    body = os.urandom(size_bytes)

    (stored,) = store(blobs, body)

    assert stored == StoredBlob(sha256=sha256(body), size_bytes=size_bytes)
    assert await blobs.read(stored.sha256) == body
    assert await listed(shelf.open()) == {stored.sha256: size_bytes}
    assert shelf.leftovers() == []


async def test_ranges_and_pieces_are_read(blobs: BlobStore) -> None:
    body = os.urandom(3_000_000)
    (stored,) = store(blobs, body)

    assert await blobs.read(stored.sha256, start=100, length=50) == body[100:150]
    assert await blobs.read(stored.sha256, length=50) == body[:50]
    assert await blobs.read(stored.sha256, start=2_999_999) == body[-1:]
    assert await blobs.read(stored.sha256, start=2_999_990, length=50) == body[-10:]
    pieces = [piece async for piece in blobs.stream(stored.sha256)]
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) <= MIB


async def test_past_the_end_there_is_nothing(blobs: BlobStore) -> None:
    stored, empty = store(blobs, b"ten bytes!", b"")

    assert await blobs.read(stored.sha256, start=10) == b""
    assert await blobs.read(stored.sha256, start=5000, length=7) == b""
    assert await blobs.read(stored.sha256, start=3, length=0) == b""
    assert await blobs.read(empty.sha256) == b""
    assert await blobs.read(empty.sha256, length=100) == b""


async def test_an_unknown_blob_is_not_found(blobs: BlobStore) -> None:
    for length in (None, 0, 10):
        with pytest.raises(NotFound, match="there is no blob 000"):
            await blobs.read("0" * 64, length=length)


async def test_many_blobs_settle_together_and_equal_ones_are_one(shelf: Shelf, blobs: BlobStore) -> None:
    bodies = [b"%d" % (number % 40) for number in range(100)]

    stored = store(blobs, *bodies)

    assert [await blobs.read(blob.sha256) for blob in stored] == bodies
    assert await listed(blobs) == {sha256(body): len(body) for body in bodies}
    assert shelf.written() == 40


async def test_content_that_is_here_is_not_written_again(shelf: Shelf, blobs: BlobStore) -> None:
    store(blobs, b"same", b"x" * 9 * MIB)
    before = shelf.written()

    again = store(shelf.open(), b"same", b"x" * 9 * MIB)

    assert shelf.written() == before
    assert [await blobs.read(blob.sha256) for blob in again] == [b"same", b"x" * 9 * MIB]


async def test_what_a_batch_relies_on_is_known_before_anything_has_a_name(blobs: BlobStore) -> None:
    (known,) = store(blobs, b"known")
    batch = blobs.batch()
    for body in (b"known", b"new", b"x" * 2_000_000):
        blob = batch.begin()
        blob.write(body)
        blob.finish()

    sizes = dict(batch.sizes)

    assert sizes == {known.sha256: 5, sha256(b"new"): 3, sha256(b"x" * 2_000_000): 2_000_000}
    assert await listed(blobs) == {known.sha256: 5}
    batch.settle()
    assert await listed(blobs) == sizes


async def test_what_was_here_and_is_swept_meanwhile_is_never_relied_on(blobs: BlobStore) -> None:
    (known,) = store(blobs, b"known")
    batch = blobs.batch()
    blob = batch.begin()
    blob.write(b"known")
    blob.finish()
    await blobs.remove(known.sha256)

    try:
        batch.settle()
    except StoreUnavailable:
        batch.abandon()
        store(blobs, b"known")

    assert await blobs.read(known.sha256) == b"known"


async def test_what_is_abandoned_leaves_nothing(shelf: Shelf, blobs: BlobStore) -> None:
    batch = blobs.batch()
    for is_whole in (True, False):
        blob = batch.begin()
        blob.write(b"x" * 2_000_000)
        blob.finish() if is_whole else blob.abandon()

    batch.abandon()

    assert await listed(blobs) == {}
    assert shelf.leftovers() == []


async def test_one_that_is_abandoned_harms_no_other_of_its_batch(blobs: BlobStore) -> None:
    bodies = [os.urandom(size) for size in (10, 3 * MIB, 20)]
    batch = blobs.batch()
    for body in bodies:
        blob = batch.begin()
        blob.write(body)
        blob.finish()
        for size in (7, 2 * MIB):
            dropped = batch.begin()
            dropped.write(b"y" * size)
            dropped.abandon()

    batch.settle()

    assert [await blobs.read(sha256(body)) for body in bodies] == bodies
    assert len(await listed(blobs)) == 3


async def test_a_blob_is_removed_and_may_be_removed_again(blobs: BlobStore) -> None:
    kept, removed = store(blobs, b"kept", b"removed")

    for _ in range(2):
        await blobs.remove(removed.sha256)

    assert await listed(blobs) == {kept.sha256: 4}
    with pytest.raises(NotFound):
        await blobs.read(removed.sha256)


async def test_a_damaged_blob_is_set_aside_and_may_be_set_aside_again(shelf: Shelf, blobs: BlobStore) -> None:
    kept, damaged = store(blobs, b"kept", b"damaged")

    for _ in range(2):
        await blobs.set_aside(damaged.sha256)

    assert await listed(blobs) == {kept.sha256: 4}
    assert shelf.set_aside() == {damaged.sha256: b"damaged"}
    store(blobs, b"damaged")
    assert await blobs.read(damaged.sha256) == b"damaged"


async def test_a_blob_has_its_size_and_an_unknown_one_none(blobs: BlobStore) -> None:
    stored, empty = store(blobs, b"seven b", b"")

    assert (await blobs.size(stored.sha256), await blobs.size(empty.sha256)) == (7, 0)
    with pytest.raises(NotFound, match="there is no blob 000"):
        await blobs.size("0" * 64)


async def test_all_are_listed_with_their_times(blobs: BlobStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    bodies = [b"%d" % number for number in range(1100)]
    store(blobs, *bodies)

    found = [blob async for blob in blobs.list_blobs()]

    assert sorted(blob.sha256 for blob in found) == sorted(map(sha256, bodies))
    assert all(before <= blob.modified_at <= datetime.now(UTC) + timedelta(seconds=2) for blob in found)


async def test_an_empty_store_has_nothing_and_no_fault(blobs: BlobStore) -> None:
    assert await listed(blobs) == {}
    assert await blobs.fault() is None
    assert await listed(blobs) == {}


_BODIES = some.one_of(
    some.binary(max_size=40),
    some.sampled_from([b"same", b"", b"x" * MIB, b"y" * (MIB + 1), b"z" * (8 * MIB + 1)]),
)
_ARRIVING = some.lists(some.tuples(_BODIES, some.booleans(), some.integers(1, 700_000)), max_size=12)


@pytest.mark.parametrize("kind", ["disk", "s3"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=some.lists(some.tuples(_ARRIVING, some.booleans()), max_size=4))
def test_whatever_arrives_the_store_has_what_was_settled_and_nothing_else(
    batches: list[tuple[list[tuple[bytes, bool, int]], bool]],
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    shelf: Shelf = DiskShelf(folder) if kind == "disk" else S3Shelf(request.getfixturevalue("s3_server"), folder)
    blobs = shelf.open()
    expected: dict[str, bytes] = {}

    for arriving, is_settled in batches:
        batch = blobs.batch()
        arrived = {}
        for body, is_finished, piece_bytes in arriving:
            blob = batch.begin()
            # In a thousand pieces at most: of more nothing else would come.
            step = max(piece_bytes, len(body) // 1000)
            for start in range(0, len(body), step):
                blob.write(body[start : start + step])
            if is_finished:
                arrived[blob.finish().sha256] = body
            else:
                blob.abandon()
        assert batch.sizes == {name: len(body) for name, body in arrived.items()}
        if is_settled:
            batch.settle()
            expected |= arrived
        else:
            batch.abandon()

    async def held() -> dict[str, bytes]:
        return {name: await blobs.read(name) for name in await listed(blobs)}

    assert asyncio.run(held()) == expected
    assert all(sha256(body) == name for name, body in expected.items())
    assert shelf.leftovers() == []


_STORING = """
import sys, msgspec, random
from scripthut_outputs.blobs import open_store
from scripthut_outputs.settings import S3Settings
blobs = open_store(sys.argv[1], msgspec.json.decode(sys.argv[2], type=S3Settings))
chance = random.Random(int(sys.argv[3]))
print("ready", flush=True)
while True:
    batch = blobs.batch()
    for size in [*[chance.randrange(40_000) for _ in range(60)], 1_500_000, 9_000_000]:
        blob = batch.begin()
        blob.write(chance.randbytes(size))
        blob.finish()
    batch.settle()
"""


def _start(shelf: Shelf, program: str, *argv: str) -> subprocess.Popen[bytes]:
    told = [shelf.url, msgspec.json.encode(shelf.settings).decode(), *argv]
    return subprocess.Popen([sys.executable, "-c", program, *told], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def test_a_name_never_stands_for_part_of_a_blob_whenever_the_process_is_killed(shelf: Shelf) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    # A store or a machine that is slow has come to something when the last one is killed.
    for number, latest_s in enumerate((0.3, 0.6, 1.5, 6.0)):
        with _start(shelf, _STORING, str(seed + number)) as storing:
            assert storing.stdout is not None
            assert storing.stdout.readline() == b"ready\n"
            await asyncio.sleep(chance.uniform(latest_s / 6, latest_s))
            storing.send_signal(signal.SIGKILL)
    blobs = shelf.open()

    found = await listed(blobs)

    for name, size_bytes in found.items():
        body = await blobs.read(name)
        assert (sha256(body), len(body)) == (name, size_bytes)
    assert found, "none of the processes came to store anything"
    await asyncio.to_thread(blobs.batch)
    assert shelf.leftovers() == []


_WAITING = """
import sys, msgspec
from scripthut_outputs.blobs import open_store
from scripthut_outputs.settings import S3Settings
batch = open_store(sys.argv[1], msgspec.json.decode(sys.argv[2], type=S3Settings)).batch()
blob = batch.begin()
blob.write(b"x" * 2_000_000)
blob.finish()
print("ready", flush=True)
sys.stdin.read(1)
batch.settle()
"""


async def test_a_batch_of_the_living_is_left_alone_when_another_process_begins(shelf: Shelf) -> None:
    with _start(shelf, _WAITING) as living:
        assert living.stdin is not None
        assert living.stdout is not None
        assert living.stdout.readline() == b"ready\n"

        shelf.open().batch().abandon()

        living.stdin.write(b".")
        living.stdin.close()
        assert living.wait() == 0
    assert list(await listed(shelf.open())) == [sha256(b"x" * 2_000_000)]


@pytest.fixture
def small_disk(shelf: Shelf) -> Iterator[Path]:
    """A disk of two MiB where bytes wait."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    shelf.waiting_room.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", shelf.waiting_room], check=True)
    yield shelf.waiting_room
    # The store on disk keeps its lock until the process ends.
    subprocess.run(["umount", "--lazy", shelf.waiting_room], check=True)


async def test_a_full_disk_is_named_and_what_waited_there_goes(shelf: Shelf, small_disk: Path) -> None:
    blobs = shelf.open()
    batch = blobs.batch()
    blob = batch.begin()

    with pytest.raises(StoreUnavailable, match=rf"{small_disk}.* is full"):
        for _ in range(40):
            blob.write(os.urandom(100_000))

    blob.abandon()
    batch.abandon()
    assert shelf.leftovers() == []
    (stored,) = store(blobs, b"x" * 1_000_000)
    assert await listed(blobs) == {stored.sha256: 1_000_000}


_LARGE = r"""
import asyncio, hashlib, re, sys, msgspec
from pathlib import Path
from scripthut_outputs.blobs import open_store
from scripthut_outputs.settings import S3Settings

PIECE = bytes(range(256)) * 256

def resident_bytes(which):
    # Not getrusage: its peak is that of the process which started us, where that was larger.
    return int(re.search(which + r":\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024

async def stream(blobs, name):
    hashed = hashlib.sha256()
    async for piece in blobs.stream(name):
        hashed.update(piece)
    assert hashed.hexdigest() == name

blobs = open_store(sys.argv[1], msgspec.json.decode(sys.argv[2], type=S3Settings))
asyncio.run(blobs.fault())
before = resident_bytes("VmRSS")
batch = blobs.batch()
blob = batch.begin()
for number in range(300 * 16):
    blob.write(number.to_bytes(8, "big") + PIECE[8:])
stored = blob.finish()
batch.settle()
asyncio.run(stream(blobs, stored.sha256))
print(stored.size_bytes, resident_bytes("VmHWM") - before, flush=True)
"""


def test_three_hundred_mebibytes_come_and_go_with_flat_memory(shelf: Shelf) -> None:
    with _start(shelf, _LARGE) as passing:
        printed, _ = passing.communicate()

    assert passing.returncode == 0
    size_bytes, grown_bytes = map(int, printed.split())
    print(f"{size_bytes} bytes, resident memory grew by {grown_bytes / MIB:.1f} MiB")
    assert size_bytes == 300 * MIB
    assert grown_bytes <= 64 * MIB
