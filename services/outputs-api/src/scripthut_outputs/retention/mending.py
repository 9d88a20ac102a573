"""Let files whose blob was lost be stored again, once a collection has brought the same bytes back."""

from scripthut_common import supervision
from scripthut_outputs.blobs import Sized, is_there
from scripthut_outputs.catalog.relying import Relied
from scripthut_outputs.catalog.verifying import Verified


class Mender:
    """Heals what `verify --repair` gave up."""

    def __init__(self, verified: Verified, relied: Relied, blobs: Sized) -> None:
        self._verified = verified
        self._relied = relied
        self._blobs = blobs

    async def mend(self) -> int:
        """Heal what can be; say how many files."""
        after, files = "", 0
        while found := await self._verified.healable(after=after):
            # The row that proves a blob may go any moment: told first, no sweep takes the blob from us.
            await self._relied.touch(found)
            files += await self._verified.heal([sha256 for sha256 in found if await is_there(self._blobs, sha256)])
            after = max(found)
            supervision.beat()
        return files
