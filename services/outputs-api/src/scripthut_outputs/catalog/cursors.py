"""Where a page of a list ends: an opaque word that a client hands back for the next page."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TypeVar

import msgspec

from scripthut_common.errors import InvalidInput, Problem

T = TypeVar("T")


def write(*position: object) -> str:
    """Turn the sort key of the last row of a page into a cursor."""
    return urlsafe_b64encode(msgspec.json.encode(position)).decode("ascii").rstrip("=")


def read(cursor: str, type_: type[T]) -> T:
    """Give the sort key that a cursor was made of.

    Raises:
        InvalidInput: it is not a cursor of this list.
    """
    message = "must be the `next` of the page before"
    problem = InvalidInput("cursor: not a cursor of this list", [Problem(field="cursor", message=message)])
    try:
        written = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        position = msgspec.json.decode(written, type=type_)
    except (ValueError, msgspec.MsgspecError) as error:
        raise problem from error
    # No text that a column holds has one.
    if rb"\u0000" in written:
        raise problem
    return position
