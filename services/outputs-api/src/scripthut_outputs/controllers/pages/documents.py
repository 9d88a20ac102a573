"""Show what authors wrote: a task's documents, and the sections of a run's summary. Pure."""

import re
from collections.abc import Mapping, Sequence

import msgspec

from scripthut_common import text
from scripthut_outputs.catalog.views import Contribution, Item, OutputFile, Panel
from scripthut_outputs.controllers.inlining import Allowance
from scripthut_outputs.rendering import fill, for_our_pages

from . import addresses

_PICTURE = re.compile(r'(<img [^>]*?\bsrc=")([^"]+)(?=")')


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A Markdown file; `html` is `None` while it waits, or where the page has no room for it (`is_long`).

    `url` is of a page that has all of it.
    """

    name: str
    url: str
    html: str | None
    is_long: bool

    @property
    def is_waiting(self) -> bool:
        """Whether it is to be rendered yet."""
        return self.html is None and not self.is_long


def of_file(item: Item, file: OutputFile, found: Panel, allowance: Allowance, sources: Mapping[str, str]) -> Document:
    """Show a task's document, as far as the page takes it; `sources` as in `with_sources`."""
    path = file.row.path
    name, url = text.name(path), addresses.of_file(item.run_id, item.task_id, path)
    if path in found.too_long:
        return Document(name=name, url=url, html=None, is_long=True)
    html = on_our_page(file.rendered.html if file.rendered else None, item.run_id, item.task_id, path)
    return _document(name, url, html and with_sources(html, sources), allowance)


def sections(run_id: str, contributions: Sequence[Contribution], allowance: Allowance) -> tuple[Document, ...]:
    """Show the run summary: one section for each contributing task, named after it; its address is the task's page."""
    return tuple(
        _document(
            text.name(found.task_name),
            addresses.of_task(run_id, found.task_id),
            on_our_page(found.rendered.html, run_id, found.task_id, b""),
            allowance,
        )
        for found in contributions
    )


def on_our_page(html: str | None, run_id: str, task_id: str, path: bytes, **more: int) -> str | None:
    """Fit a document into a page of ours; `more` as `for_our_pages` takes it."""
    if html is None:
        return None
    filled = fill(html, run_id=run_id, task_id=task_id, path=path)
    return for_our_pages(filled, run_id=run_id, task_id=task_id, **more)


def with_sources(html: str, sources: Mapping[str, str]) -> str:
    """Load pictures from addresses that change with their content: `sources` names these by the plain ones."""
    return _PICTURE.sub(lambda found: found[1] + sources.get(found[2], found[2]), html)


def _document(name: str, url: str, html: str | None, allowance: Allowance) -> Document:
    is_long = html is not None and not allowance.takes(html)
    return Document(name=name, url=url, html=None if is_long else html, is_long=is_long)
