"""What is asked of a preview, and what it answers. Pure."""

from enum import StrEnum

import msgspec

PREVIEWS = "2"
"""Version of everything that decides how a preview looks."""

HEAD_BYTES = 4096
"""So many bytes of a file decide what it is."""


class Format(StrEnum):
    """How a file is shown."""

    IMAGE = "image"
    DRAWING = "drawing"
    PDF = "pdf"
    MARKDOWN = "markdown"
    TABLE = "table"
    JSON = "json"
    JSON_LINES = "json_lines"
    NOTEBOOK = "notebook"
    CODE = "code"
    TEXT = "text"
    BINARY = "binary"
    EMPTY = "empty"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What a file is. `note` says it where its name claims something else; `magic` names what its bytes are."""

    format: Format
    note: str = ""
    magic: str = ""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Which bytes of a file a preview wants."""

    start: int = 0
    length: int


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One preview of one file.

    Args:
        path: its name, any bytes.
        size_bytes: of all of it that we hold.
        sha256: of the same.
        choice: what it is.
        span: which bytes the preview is made of.
        url: of its page, for links to other views of it.
        run_id: whose task wrote it.
        task_id: of that task.
        page: of a table, from 1.
        sort: the column by which a table is sorted, from 1; 0 leaves it as it is.
        is_descending: from the largest down.
        is_source: show the text that it is written in.
        is_fragment: it stands in a page among others: it has no anchors, and is short.
        first_line: number of the first line of what is given; 0 when nobody knows.
    """

    path: bytes
    size_bytes: int
    sha256: str
    choice: Choice
    span: Span
    url: str
    run_id: str
    task_id: str
    page: int = 1
    sort: int = 0
    is_descending: bool = False
    is_source: bool = False
    is_fragment: bool = False
    first_line: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether the preview is made of all bytes."""
        return self.span.start == 0 and self.span.length >= self.size_bytes


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """Safe HTML; `reason` says why it is only the escaped text, `None` when it is what was asked for."""

    html: str
    reason: str | None = None
