"""Let files whose blob was lost be stored again, once a collection has brought the same bytes back."""

from typing import Protocol

from scripthut_common import supervision
from scripthut_common.errors import NotFound
from scripthut_outputs.catalog.relying import Relied
from scripthut_outputs.catalog.verifying import Verified


class Sizes(Protocol):
    """What mending asks of the blob store."""

    async def size(self, sha256: str) -> int:
        """The size of a blob in bytes.

        Raises:
            NotFound: there is no such blob.
        """


class Mender:
    """Heals what `verify --repair` gave up."""

    def __init__(self, verified: Verified, relied: Relied, blobs: Sizes) -> None:
        self._verified = verified
        self._relied = relied
        self._blobs = blobs

    async def mend(self) -> int:
        """Heal what can be; say how many files."""
        after, files = "", 0
        while found := await self._verified.healable(after=after):
            # The row that proves a blob may go any moment: told first, no sweep takes the blob from us.
            await self._relied.touch(found)
            files += await self._verified.heal([sha256 for sha256 in found if await self._is_here(sha256)])
            after = max(found)
            supervision.beat()
        return files

    async def _is_here(self, sha256: str) -> bool:
        try:
            await self._blobs.size(sha256)
        except NotFound:
            return False
        return True
