"""From a batch's waiting bytes to objects in the bucket: many small ones at once, a large one in parts."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import msgspec
import obstore

from scripthut_common.errors import StoreUnavailable

from .bucket import Bucket

FOLDER = "sha256"
_KEY = re.compile(rf"{FOLDER}/([0-9a-f]{{2}})/([0-9a-f]{{62}})")
_MIB = 1024 * 1024
# Up to this size at once: so many. What is in memory stays below 32 MiB.
_AT_ONCE = ((_MIB, 16), (8 * _MIB, 4))
_PART_BYTES = 8 * _MIB
_PARTS_AT_ONCE = 3
# S3 takes 10,000.
_MAX_PARTS = 9_000


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that wait to be uploaded; `pieces` reads them from the beginning, also from another thread."""

    size_bytes: int
    pieces: Callable[[], Iterator[bytes]]


def key_of(sha256: str) -> str:
    """The object that a blob is."""
    return f"{FOLDER}/{sha256[:2]}/{sha256[2:]}"


def name_of(key: str) -> str | None:
    """The blob that an object is; `None` when it is something else."""
    found = _KEY.fullmatch(key)
    return found.group(1) + found.group(2) if found else None


def upload(bucket: Bucket, waiting: Mapping[str, Waiting]) -> None:
    """Put everything under its name that is not there. Blocks; what is named is always whole.

    Raises:
        StoreUnavailable: the store is full or away; some of it may be there.
    """
    left = sorted(waiting, key=lambda sha256: waiting[sha256].size_bytes)
    for max_bytes, at_once in _AT_ONCE:
        lane = [sha256 for sha256 in left if waiting[sha256].size_bytes <= max_bytes]
        left = left[len(lane) :]
        _together([(bucket, sha256, waiting[sha256]) for sha256 in lane], at_once)
    for sha256 in left:
        _put(bucket, sha256, waiting[sha256])


def _together(lane: list[tuple[Bucket, str, Waiting]], at_once: int) -> None:
    """Put many; after the first fault none is begun any more."""
    with ThreadPoolExecutor(at_once, thread_name_prefix="uploading") as pool:
        begun = [pool.submit(_put, *each) for each in lane]
        done, _ = wait(begun, return_when=FIRST_EXCEPTION)
        pool.shutdown(wait=True, cancel_futures=True)
        for each in done:
            each.result()


def _put(bucket: Bucket, sha256: str, waiting: Waiting) -> None:
    key, checked = key_of(sha256), _checked(sha256, waiting)
    with bucket.translating():
        if _has(bucket, key, waiting.size_bytes):
            return
        if waiting.size_bytes <= _PART_BYTES:
            obstore.put(bucket.client, key, b"".join(checked), use_multipart=False)
            return
        part_bytes = max(_PART_BYTES, waiting.size_bytes // _MAX_PARTS + 1)
        obstore.put(
            bucket.client, key, checked, use_multipart=True, chunk_size=part_bytes, max_concurrency=_PARTS_AT_ONCE
        )


def _has(bucket: Bucket, key: str, size_bytes: int) -> bool:
    """Whether the object is there; one of another size is put again."""
    try:
        return obstore.head(bucket.client, key)["size"] == size_bytes
    except FileNotFoundError:
        return False


def _checked(sha256: str, waiting: Waiting) -> Iterator[bytes]:
    """Read what waits; a fault at its end keeps it from getting the name."""
    hashed = hashlib.sha256()
    for piece in waiting.pieces():
        hashed.update(piece)
        yield piece
    if hashed.hexdigest() != sha256:
        raise StoreUnavailable("the file in which bytes wait for the blob store does not give back what it took")
