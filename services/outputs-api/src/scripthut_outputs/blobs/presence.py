"""Tell whether a store has a blob."""

from typing import Protocol

from scripthut_common.errors import NotFound


class Sized(Protocol):
    """A store that knows the sizes of its blobs."""

    async def size(self, sha256: str) -> int:
        """Tell how many bytes a blob has.

        Raises:
            NotFound: there is no such blob.
            StoreUnavailable: the store does not answer.
        """


async def is_there(blobs: Sized, sha256: str) -> bool:
    """Answer whether a blob has a name in the store.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    try:
        await blobs.size(sha256)
    except NotFound:
        return False
    return True
