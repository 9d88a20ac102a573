"""What only the store on disk promises, and how stores are named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripthut_common.errors import SettingsError, StoreUnavailable
from scripthut_outputs.blobs import BlobStore, open_store
from scripthut_outputs.settings import S3Settings
from tests.contract.shelves import store


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return open_store(str(tmp_path / "blobs"))


def local(blobs: BlobStore, sha256: str) -> Path:
    return Path(str(blobs.local_path(sha256)))


def temporary_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("blobs/tmp/**/*") if path.is_file()]


def test_a_blob_is_a_file_of_this_machine(blobs: BlobStore) -> None:
    (stored,) = store(blobs, b"body")

    assert local(blobs, stored.sha256).read_bytes() == b"body"


def test_content_that_is_here_is_touched_and_not_written_again(blobs: BlobStore) -> None:
    (stored,) = store(blobs, b"same")
    path = local(blobs, stored.sha256)
    os.utime(path, (1, 1))
    inode = path.stat().st_ino

    store(blobs, b"same")

    assert path.stat().st_ino == inode
    assert path.stat().st_mtime > 1


async def test_what_is_no_blob_is_not_listed(blobs: BlobStore, tmp_path: Path) -> None:
    (stored,) = store(blobs, b"body")
    folder = local(blobs, stored.sha256).parent
    for path in (folder / "notes.txt", folder.parent / "lost+found", folder / ("A" * 62)):
        path.write_bytes(b"x")

    assert [blob.sha256 async for blob in blobs.list_blobs()] == [stored.sha256]


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


def test_what_a_crash_left_is_removed_and_what_is_alive_stays(blobs: BlobStore, tmp_path: Path) -> None:
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


def test_a_folder_is_named_by_its_path_or_its_url(tmp_path: Path) -> None:
    (stored,) = store(open_store(f"file://{tmp_path}/with%20space"), b"body")

    assert local(open_store(str(tmp_path / "with space")), stored.sha256).exists()


@pytest.mark.parametrize(
    "url", ["ftp://host/folder", "https://host/bucket", "file://host/folder", "file:///", "gs://bucket", "://"]
)
def test_an_address_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"SCRIPTHUT_OUTPUTS_BLOBS_URL: .* names no blob store: give a folder"):
        open_store(url)


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///prefix", "s3://Bucket", "s3://a", "s3://user@bucket/x", "s3://bucket?x=1"]
)
def test_an_address_that_names_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="is not s3://BUCKET"):
        open_store(url)


@pytest.mark.parametrize(
    "endpoint", ["minio.example.org", "minio:9000", "ftp://minio", "https://", "https://minio/bucket"]
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(SettingsError, match=r"SCRIPTHUT_OUTPUTS_S3_ENDPOINT: .* is not https://HOST"):
        open_store("s3://bucket", S3Settings(endpoint=endpoint))


@pytest.mark.parametrize(
    "written", ["", "[default]\n", "[default]\naws_access_key_id=x\n", "[other]\naws_access_key_id=x\n", "no section"]
)
def test_a_file_without_keys_is_refused(tmp_path: Path, written: str) -> None:
    file = tmp_path / "keys"
    file.write_text(written)

    with pytest.raises(SettingsError, match=rf"S3_CREDENTIALS_FILE: {file} needs a section \[default\]"):
        open_store("s3://bucket", S3Settings(credentials_file=str(file)))


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")

    with pytest.raises(SettingsError, match=f"S3_CREDENTIALS_FILE: {gone}: No such file"):
        open_store("s3://bucket", S3Settings(credentials_file=gone))
    with pytest.raises(SettingsError, match=f"S3_CA_FILE: {gone}: No such file"):
        open_store("s3://bucket", S3Settings(ca_file=gone))
