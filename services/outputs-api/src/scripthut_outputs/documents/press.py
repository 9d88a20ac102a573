"""Render documents out of this process; what cannot be rendered is escaped."""

from scripthut_outputs.rendering import Rendered, escape, render

from .workers import MIB, Overran, Workers


class Press:
    """Renders documents, as many at a time as it has workers; never fails: what cannot be rendered is escaped.

    Args:
        workers: processes; they start when first needed.
        timeout_s: one document may take so long.
        memory_bytes: one document may need so much.
        max_bytes: so much of a document is shown.
    """

    def __init__(
        self, *, workers: int = 1, timeout_s: float = 30.0, memory_bytes: int = 512 * MIB, max_bytes: int = MIB
    ) -> None:
        self.workers = workers
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s
        self._pool = Workers(count=workers, timeout_s=timeout_s, memory_bytes=memory_bytes)

    async def render(self, document: bytes, *, size_bytes: int) -> Rendered:
        """Render the first bytes of a document that has `size_bytes` in all."""
        try:
            return await self._pool.run(render, document, size_bytes=size_bytes, max_bytes=self.max_bytes)
        except Overran as error:
            return escape(document, size_bytes=size_bytes, max_bytes=self.max_bytes, reason=str(error))

    def close(self) -> None:
        """Stop every worker."""
        self._pool.close()
