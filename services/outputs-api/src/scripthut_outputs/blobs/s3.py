"""The blob store in an S3-compatible bucket: `sha256/ab/cdef…` below a prefix, the same names as on disk.

Bytes wait in one nameless file of this machine until their hash is known, and are then put under their final name in
one step each. So nothing else ever lies in the bucket but the parts of large uploads that a crash cut off, which
are no objects; a rule of the bucket removes them.
"""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError

from scripthut_common.errors import NotFound, StoreUnavailable

from .bucket import Bucket, is_past_the_end
from .ports import ListedBlob
from .spooling import SpooledBatch
from .uploading import FOLDER, key_of, name_of, upload

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult

_PROBE = "probe"
_ASIDE = "damaged"
# Less than a check of health may take, so that it is told what is wrong.
_PROBE_S = 4.0
_PIECE_BYTES = 256 * 1024
_LISTED_AT_ONCE = 1000


class S3Blobs:
    """A `BlobStore` in a bucket; nothing is asked when it is made.

    Args:
        bucket: where blobs lie.
        spool: the folder of this machine in which a batch waits.
    """

    def __init__(self, bucket: Bucket, spool: str) -> None:
        self._bucket = bucket
        self._spool = spool

    def local_path(self, sha256: str) -> str | None:  # noqa: ARG002  the port's signature
        """Tell that no blob lies on this machine."""
        return None

    async def read(self, sha256: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Read a blob or a range of it.

        Raises:
            NotFound: there is no such blob.
            StoreUnavailable: the store does not answer.
        """
        return b"".join([piece async for piece in self.stream(sha256, start=start, length=length)])

    async def stream(self, sha256: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Yield a blob or a range of it as it comes; raises as `read` does."""
        try:
            with self._bucket.translating():
                found = await self._get(sha256, start, length)
                if found is not None:
                    async for piece in found.stream(min_chunk_size=_PIECE_BYTES):
                        yield bytes(piece)
        except FileNotFoundError as error:
            raise NotFound(f"there is no blob {sha256}") from error

    def batch(self) -> SpooledBatch:
        """Begin a batch of blobs that become durable together. Blocks; for a thread.

        Raises:
            StoreUnavailable: the folder in which they wait is missing, full or read-only.
        """
        return SpooledBatch(self._spool, partial(upload, self._bucket))

    async def fault(self) -> str | None:
        """Say why nothing can be stored just now, and what to do; `None` when it can."""
        try:
            async with asyncio.timeout(_PROBE_S):
                with self._bucket.translating():
                    await obstore.put_async(self._bucket.client, _PROBE, b"\n", use_multipart=False)
            batch = await asyncio.to_thread(self.batch)
            await asyncio.to_thread(batch.abandon)
        except StoreUnavailable as error:
            return str(error)
        except TimeoutError:
            return f"{self._bucket.where} does not answer within {_PROBE_S:g} s"
        return None

    async def size(self, sha256: str) -> int:
        """Tell how many bytes a blob has; raises as `read` does."""
        try:
            with self._bucket.translating():
                return (await obstore.head_async(self._bucket.client, key_of(sha256)))["size"]
        except FileNotFoundError as error:
            raise NotFound(f"there is no blob {sha256}") from error

    async def remove(self, sha256: str) -> None:
        """Remove a blob that may be gone already.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        try:
            with self._bucket.translating():
                await obstore.delete_async(self._bucket.client, key_of(sha256))
        except FileNotFoundError:
            return

    async def set_aside(self, sha256: str) -> None:
        """Move a damaged blob to `damaged/`; raises as `remove` does.

        The store copies it, which S3 does up to 5 GiB.
        """
        try:
            with self._bucket.translating():
                await obstore.rename_async(self._bucket.client, key_of(sha256), f"{_ASIDE}/{sha256}")
        except FileNotFoundError:
            return

    async def list_blobs(self) -> AsyncIterator[ListedBlob]:
        """Yield every blob; what is named like none is left out.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        with self._bucket.translating():
            async for objects in obstore.list(self._bucket.client, FOLDER, chunk_size=_LISTED_AT_ONCE):
                for found in objects:
                    sha256 = name_of(found["path"])
                    if sha256 is not None:
                        yield ListedBlob(sha256=sha256, size_bytes=found["size"], modified_at=found["last_modified"])

    async def _get(self, sha256: str, start: int, length: int | None) -> "GetResult | None":
        """Begin to read; `None` where nothing is left of a blob that exists."""
        key = key_of(sha256)
        if length == 0:
            await obstore.head_async(self._bucket.client, key)
            return None
        options: GetOptions = {}
        if length is not None:
            options["range"] = (start, start + length)
        elif start:
            options["range"] = {"offset": start}
        try:
            return await obstore.get_async(self._bucket.client, key, options=options)
        except BaseError as error:
            if is_past_the_end(error):
                return None
            raise
