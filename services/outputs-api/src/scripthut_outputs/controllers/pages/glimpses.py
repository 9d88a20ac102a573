"""Small tables that panels show at once, without asking for them one by one."""

from scripthut_common import text
from scripthut_common.errors import NotFound, StoreUnavailable
from scripthut_outputs.catalog.views import Item, Panel
from scripthut_outputs.controllers.inlining import Allowance
from scripthut_outputs.controllers.small import Blobs
from scripthut_outputs.ledger import FileState, LedgerRow
from scripthut_outputs.rendering import previews
from scripthut_outputs.rendering.previews import Asked, Format, Span

from . import addresses
from .showing import Glimpse

MAX_TABLES_A_PANEL = 3
MAX_TABLES_A_PAGE = 24
_MAX_BYTES = 16 * 1024


class Glimpses:
    """What one page shows of tables, as long as it has room for them."""

    def __init__(self, blobs: Blobs, allowance: Allowance) -> None:
        self._blobs = blobs
        self._allowance = allowance
        self._left = MAX_TABLES_A_PAGE

    async def of(self, item: Item, found: Panel) -> tuple[Glimpse, ...]:
        """Show the first small tables of a task."""
        rows = [file.row for file in found.files if _is_small_table(file.row)][: min(MAX_TABLES_A_PANEL, self._left)]
        self._left -= len(rows)
        glimpses = [await self._glimpse(item, row) for row in rows]
        return tuple(glimpse for glimpse in glimpses if glimpse is not None)

    async def _glimpse(self, item: Item, row: LedgerRow) -> Glimpse | None:
        try:
            content = await self._blobs.read(row.sha256 or "")
        except (NotFound, StoreUnavailable):
            return None
        choice = previews.choose(row.path, content[: previews.HEAD_BYTES], size_bytes=len(content))
        if choice.format is not Format.TABLE:
            return None
        url = addresses.of_file(item.run_id, item.task_id, row.path)
        preview = previews.make(
            Asked(
                path=row.path,
                size_bytes=len(content),
                sha256=row.sha256 or "",
                choice=choice,
                span=Span(length=len(content)),
                url=url,
                run_id=item.run_id,
                task_id=item.task_id,
                is_fragment=True,
            ),
            content,
        )
        if preview.reason is not None or not self._allowance.takes(preview.html):
            return None
        return Glimpse(name=text.name(row.path), url=url, html=preview.html)


def _is_small_table(row: LedgerRow) -> bool:
    is_small = row.state is FileState.STORED and 0 < (row.stored_bytes or 0) <= _MAX_BYTES
    return is_small and previews.claim(row.path) is Format.TABLE
