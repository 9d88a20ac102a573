"""Wait for what another task or program will do."""

import asyncio
from collections.abc import Callable


async def eventually(is_so: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Return once `is_so()`.

    Raises:
        TimeoutError: it did not become so.
    """
    async with asyncio.timeout(timeout_s):
        while not is_so():  # noqa: ASYNC110  what is waited for sets no event
            await asyncio.sleep(0.01)
