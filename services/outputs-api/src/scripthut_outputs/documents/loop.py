"""Take documents that wait, render them, note what they became; several processes may do so at once."""

import time
from collections.abc import Callable
from typing import Protocol

import structlog

from scripthut_common.errors import LeaseLost, NotFound, StoreUnavailable
from scripthut_common.retrying import Backoff
from scripthut_common.supervision import Loop
from scripthut_outputs.catalog.documents import Claimed, Documents
from scripthut_outputs.rendering import Rendered, escape

from .press import Press

log = structlog.get_logger()
_POSTPONING = Backoff(first_s=1.0, longest_s=300.0)
_LOOK_FOR_MISSING_S = 60.0


class Bytes(Protocol):
    """Where the documents' bytes are."""

    async def read(self, sha256: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Give at most `length` bytes of a blob.

        Raises:
            NotFound: there is no such blob.
            StoreUnavailable: it cannot be read now.
        """


class Renderer:
    """One portion is one document.

    Args:
        documents: what waits.
        blobs: where its bytes are.
        press: what renders it.
        clock: monotonic seconds.
    """

    def __init__(
        self, documents: Documents, blobs: Bytes, press: Press, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._documents = documents
        self._blobs = blobs
        self._press = press
        self._clock = clock
        self._look_at = clock()

    def loops(self) -> list[Loop]:
        """As many loops as the press renders documents at a time."""
        numbers = range(1, self._press.workers + 1)
        return [Loop(name=f"outputs.documents.{number}", step=self.step, interval_s=0.5) for number in numbers]

    async def step(self) -> bool:
        """Render the document that waits longest; answer whether there was one."""
        await self._look_for_missing()
        claimed = await self._documents.claim(lease_s=2 * self._press.timeout_s + 60)
        if claimed is None:
            return False
        try:
            await self._render(claimed)
        except StoreUnavailable as error:
            delay_s = _POSTPONING.delay_s(claimed.failures + 1)
            await self._documents.postpone(claimed, str(error), delay_s=delay_s)
        except LeaseLost as error:
            log.warning("document_lost", reason=str(error))
        return True

    async def _render(self, claimed: Claimed) -> None:
        try:
            head = await self._blobs.read(claimed.sha256, length=self._press.max_bytes + 1)
        except NotFound:
            rendered = self._gone()
        else:
            rendered = await self._press.render(head, size_bytes=max(claimed.size_bytes, len(head)))
        if rendered.reason:
            log.warning("document_escaped", sha256=claimed.sha256, reason=rendered.reason)
        await self._documents.keep(claimed, rendered.html, rendered.reason)

    def _gone(self) -> Rendered:
        reason = "its bytes are no longer in the store"
        return escape(b"", size_bytes=0, max_bytes=self._press.max_bytes, reason=reason)

    async def _look_for_missing(self) -> None:
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + _LOOK_FOR_MISSING_S
            count = await self._documents.want_missing()
            if count:
                log.info("documents_wanted", count=count)
