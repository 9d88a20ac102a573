"""Small tables that panels show at once, without asking for them one by one."""

from scripthut_common import text
from scripthut_common.errors import StoreUnavailable
from scripthut_outputs.catalog.views import Item, Panel
from scripthut_outputs.controllers.inlining import Allowance
from scripthut_outputs.controllers.previewing import Previewer, subject
from scripthut_outputs.ledger import FileState, LedgerRow
from scripthut_outputs.rendering import previews
from scripthut_outputs.rendering.previews import Format

from . import addresses
from .showing import Glimpse

MAX_TABLES_A_PANEL = 3
MAX_TABLES_A_PAGE = 24
_MAX_BYTES = 16 * 1024


class Glimpses:
    """What one page shows of tables, as long as it has room for them."""

    def __init__(self, previewer: Previewer, allowance: Allowance) -> None:
        self._previewer = previewer
        self._allowance = allowance
        self._left = MAX_TABLES_A_PAGE

    async def of(self, item: Item, found: Panel) -> tuple[Glimpse, ...]:
        """Show the first small tables of a task."""
        rows = [file.row for file in found.files if _is_small_table(file.row)][: min(MAX_TABLES_A_PANEL, self._left)]
        self._left -= len(rows)
        glimpses = [await self._glimpse(item, row) for row in rows]
        return tuple(glimpse for glimpse in glimpses if glimpse is not None)

    async def _glimpse(self, item: Item, row: LedgerRow) -> Glimpse | None:
        url = addresses.of_file(item.run_id, item.task_id, row.path)
        try:
            html = await self._previewer.small_table(subject(item.run_id, item.task_id, row.path, url, row))
        except StoreUnavailable:
            return None
        if html is None or not self._allowance.takes(html):
            return None
        return Glimpse(
            id=addresses.id_of(row.path), content=row.sha256 or "", name=text.name(row.path), url=url, html=html
        )


def _is_small_table(row: LedgerRow) -> bool:
    is_small = row.state is FileState.STORED and 0 < (row.stored_bytes or 0) <= _MAX_BYTES
    return is_small and previews.claim(row.path) is Format.TABLE
