"""An S3-compatible store that is away, slow, full of faults or wrongly named: told in words, in bounded time."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from scripthut_common.errors import StoreUnavailable
from scripthut_outputs.blobs import BlobStore, open_store
from scripthut_outputs.settings import S3Settings
from tests.contract.shelves import S3Shelf, listed, store
from tests.eventually import eventually
from tests.testbed.authorities import authority
from tests.testbed.delay import DelayedPort
from tests.testbed.s3 import KEYS, S3Server, faulty

MIB = 1024 * 1024
Use = Callable[[BlobStore], Awaitable[object]]

USES: dict[str, Use] = {
    "storing": lambda blobs: asyncio.to_thread(store, blobs, b"new", b"x" * 9 * MIB),
    "reading": lambda blobs: blobs.read("0" * 64),
    "removing": lambda blobs: blobs.remove("0" * 64),
    "listing": listed,
}


@pytest.fixture
def shelf(s3_server: S3Server, tmp_path: Path) -> S3Shelf:
    return S3Shelf(s3_server, tmp_path, timeout_s=0.3)


@pytest.fixture
def keys_file(tmp_path: Path) -> str:
    file = tmp_path / "keys"
    file.write_text(KEYS)
    return str(file)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_a_store_that_is_down_is_away_for_everyone(s3_server: S3Server, shelf: S3Shelf, use: Use) -> None:
    s3_server.daemon.kill()

    with pytest.raises(
        StoreUnavailable, match=rf"the blob store {shelf.url} at http://127.* does not answer \(Connection refused\)"
    ):
        await use(shelf.open())


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_a_store_that_hangs_does_not_hang_us(s3_server: S3Server, shelf: S3Shelf, use: Use) -> None:
    s3_server.daemon.pause()
    started = time.monotonic()

    with pytest.raises(StoreUnavailable, match=r"does not answer \(it took too long\)"):
        await use(shelf.open())

    assert time.monotonic() - started < 10


async def test_a_store_that_goes_away_in_the_middle_of_a_batch_gets_the_rest_later(
    s3_server: S3Server, tmp_path: Path
) -> None:
    shelf = S3Shelf(s3_server, tmp_path, timeout_s=2.0)
    blobs = shelf.open()
    bodies = [b"%d" % number for number in range(300)]
    storing = asyncio.create_task(asyncio.to_thread(store, blobs, *bodies))
    await eventually(lambda: shelf.written() >= 50)
    s3_server.daemon.pause()

    with pytest.raises(StoreUnavailable):
        await storing

    s3_server.daemon.resume()
    assert 50 <= len(await listed(blobs)) < 300
    assert shelf.leftovers() == []
    await asyncio.to_thread(store, blobs, *bodies)
    assert len(await listed(blobs)) == 300


async def test_a_large_blob_that_is_cut_off_has_no_name(s3_server: S3Server, shelf: S3Shelf) -> None:
    blobs = shelf.open()
    storing = asyncio.create_task(asyncio.to_thread(store, blobs, bytes(200 * MIB)))
    await eventually(lambda: bool(s3_server.asked("PUT", shelf.bucket)))
    s3_server.daemon.pause()

    with pytest.raises(StoreUnavailable):
        await storing

    s3_server.daemon.resume()
    assert await listed(blobs) == {}


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (500, "InternalError", "answers 500 InternalError: so it is"),
        (503, "SlowDown", "answers 503 SlowDown: so it is"),
        (507, "XMinioStorageFull", "answers 507 XMinioStorageFull: so it is"),
        (400, "AuthorizationHeaderMalformed", "answers 400 AuthorizationHeaderMalformed: so it is"),
        (403, "InvalidAccessKeyId", "refuses us (403 InvalidAccessKeyId: so it is): correct the keys in SCRIPTHUT_"),
        (403, "AccessDenied", "or allow them to read, write, list and delete there"),
    ],
)
@pytest.mark.parametrize("use", [USES["storing"], USES["listing"]], ids=["storing", "listing"])
async def test_what_a_store_answers_is_passed_on_with_what_to_do(
    tmp_path: Path, keys_file: str, status: int, code: str, words: str, use: Use
) -> None:
    with faulty(status, code) as server:
        settings = S3Settings(
            endpoint=server.endpoint, credentials_file=keys_file, spool_dir=str(tmp_path), timeout_s=0.3
        )
        blobs = open_store("s3://bucket", settings)

        with pytest.raises(StoreUnavailable) as caught:
            await use(blobs)

        fault = str(await blobs.fault())
    # A HEAD has no body to say more.
    assert words in (str(caught.value) if use is listed else fault)
    assert str(status) in str(caught.value)


async def test_a_bucket_that_is_not_there_is_named(s3_server: S3Server, shelf: S3Shelf) -> None:
    blobs = open_store("s3://nobody-made-this/x", shelf.settings)

    with pytest.raises(StoreUnavailable) as caught:
        store(blobs, b"x")
    for fault in (str(caught.value), str(await blobs.fault())):
        assert fault == (
            f"the blob store s3://nobody-made-this/x at {s3_server.endpoint}: there is no bucket 'nobody-made-this': "
            "create it, or correct SCRIPTHUT_OUTPUTS_BLOBS_URL"
        )


async def test_a_missing_folder_for_waiting_is_a_fault_too(shelf: S3Shelf, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(shelf.settings, spool_dir=str(tmp_path / "gone"))
    blobs = open_store(shelf.url, settings)

    assert str(await blobs.fault()) == (
        f"the folder {tmp_path}/gone, where bytes wait for the blob store, does not work: No such file or directory"
    )


async def test_a_name_that_nobody_knows_is_told_as_such(keys_file: str) -> None:
    settings = S3Settings(endpoint="http://no.such.host.invalid", credentials_file=keys_file, timeout_s=0.3)

    fault = str(await open_store("s3://bucket", settings).fault())

    assert "at http://no.such.host.invalid does not answer (failed to lookup address information" in fault


async def test_many_small_blobs_do_not_wait_for_one_another(s3_server: S3Server, shelf: S3Shelf) -> None:
    with DelayedPort(s3_server.port, 50) as far:
        settings = msgspec.structs.replace(shelf.settings, endpoint=f"http://127.0.0.1:{far.port}", timeout_s=30.0)
        blobs = open_store(shelf.url, settings)
        started = time.monotonic()
        await asyncio.to_thread(store, blobs, *(b"%d" % number for number in range(160)))
        took_s = time.monotonic() - started

    assert len(await listed(shelf.open())) == 160
    # One after the other they would take two round trips of 0.1 s each.
    assert took_s < 16


async def test_requests_are_signed_with_the_keys_and_for_the_region_that_are_set(keys_file: str) -> None:
    with faulty(403, "AccessDenied") as server:
        settings = S3Settings(endpoint=server.endpoint, region="eu-west-9", credentials_file=keys_file)
        await open_store("s3://bucket", settings).fault()

    assert "Credential=AKIATESTBED/" in server.signatures[0]
    assert "/eu-west-9/s3/" in server.signatures[0]


async def test_keys_that_are_gone_or_never_were_are_named(
    s3_server: S3Server, keys_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    # The machine's own keys are looked for at an address that exists on machines of AWS alone.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1/169.254.169.254")
    without = open_store("s3://bucket", S3Settings(endpoint=s3_server.endpoint, timeout_s=0.3))
    gone = open_store("s3://bucket", S3Settings(endpoint=s3_server.endpoint, credentials_file=keys_file))
    Path(keys_file).unlink()  # noqa: ASYNC240  a microsecond

    where = f"the blob store s3://bucket at {s3_server.endpoint}"
    setting = "SCRIPTHUT_OUTPUTS_S3_CREDENTIALS_FILE"
    assert await without.fault() == f"{where}: no keys are set: name a file in {setting}"
    assert await gone.fault() == f"{where}: {setting}: {keys_file}: No such file or directory"


async def test_a_certificate_counts_only_if_somebody_trusted_made_it(keys_file: str, tmp_path: Path) -> None:
    ca_file, context = authority(tmp_path)
    with faulty(503, "SlowDown", tls=context) as server:
        settings = S3Settings(endpoint=server.endpoint, credentials_file=keys_file, timeout_s=0.5)
        stranger = await open_store("s3://bucket", settings).fault()
        trusted = await open_store("s3://bucket", msgspec.structs.replace(settings, ca_file=str(ca_file))).fault()

    assert str(stranger).endswith(
        "does not answer (its certificate is not trusted, UnknownIssuer: "
        "name who made it in SCRIPTHUT_OUTPUTS_S3_CA_FILE)"
    )
    assert "answers 503 SlowDown" in str(trusted)


def test_bytes_that_change_while_they_wait_get_no_name(shelf: S3Shelf) -> None:
    blobs = shelf.open()
    for size_bytes in (2 * MIB, 9 * MIB):
        batch = blobs.batch()
        blob = batch.begin()
        blob.write(bytes(size_bytes))
        blob.finish()
        os.pwrite(_waiting_in(shelf.waiting_room), b"x", MIB)

        with pytest.raises(StoreUnavailable, match="does not give back what it took"):
            batch.settle()
        batch.abandon()

    assert asyncio.run(listed(blobs)) == {}


def _waiting_in(folder: Path) -> int:
    """Find our descriptor of the file without a name in a folder."""
    links = {int(link.name): str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    return next(number for number, target in links.items() if target.startswith(f"{folder}/"))
