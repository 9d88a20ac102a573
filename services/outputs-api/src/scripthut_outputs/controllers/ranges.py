"""Which part of a file was asked for, and whether the asker has it already. Pure.

Source: RFC 9110, sections 13.1 and 14.2.
"""

import re

import msgspec
from litestar.exceptions import HTTPException

_ONE_RANGE = re.compile(rb"(?i:bytes)=\s*(\d{1,18})?\s*-\s*(\d{1,18})?\s*")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """`length` bytes from `start`."""

    start: int
    length: int


class Unsatisfiable(HTTPException):
    """The range lies outside of the file."""

    status_code = 416

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            detail=f"the file has {size_bytes} bytes; none of them lies in the range asked for",
            headers={"content-range": f"bytes */{size_bytes}"},
        )


class OtherContent(HTTPException):
    """The asker wants a part of something else than what is here now."""

    status_code = 412

    def __init__(self) -> None:
        super().__init__(detail="the file is not the one that `If-Match` names")


def require_match(if_match: bytes | None, etag: bytes) -> None:
    """Go on only if this is what the asker means.

    Raises:
        OtherContent: it is not.
    """
    if if_match is not None and not {etag, b"*"}.intersection(tag.strip() for tag in if_match.split(b",")):
        raise OtherContent


def choose(header: bytes | None, if_range: bytes | None, *, etag: bytes, size_bytes: int) -> Part | None:
    """The one part that was asked for; `None` means the whole file.

    Several ranges at once, other units and ranges that are none are passed over, as the standard allows.

    Raises:
        Unsatisfiable: nothing of the file lies in the range.
    """
    if header is None or (if_range is not None and if_range != etag):
        return None
    found = _ONE_RANGE.fullmatch(header)
    if found is None or found[1] is found[2] is None:
        return None
    if found[1] is None:
        start, end = max(0, size_bytes - int(found[2])), size_bytes
    else:
        start = int(found[1])
        end = size_bytes if found[2] is None else min(int(found[2]) + 1, size_bytes)
        if found[2] is not None and int(found[2]) < start:
            return None
    if start >= end:
        raise Unsatisfiable(size_bytes)
    return Part(start=start, length=end - start)


def is_held(if_none_match: bytes | None, etag: bytes) -> bool:
    """Answer whether the asker named what it would be sent."""
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")}
    return etag in tags or b"*" in tags
