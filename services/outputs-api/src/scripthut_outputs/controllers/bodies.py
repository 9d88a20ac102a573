"""What a request brings: taken in before anything happens, and refused as soon as it is too much.

A handler that reads no body would do what it does whatever was sent along.
"""

import asyncio
from typing import cast

from litestar.exceptions import ClientException, HTTPException
from litestar.types import HTTPReceiveMessage, HTTPScope, Receive

from scripthut_common.errors import LimitExceeded
from scripthut_common.tasks import MAX_DOCUMENT_BYTES

MAX_BYTES = 64 * 1024
_WAIT_S = 30.0
# A run document is read by its own handler, which tells its sender of the limit; most send all before they listen.
_OWN = ("POST", "/runs")
MAX_IGNORED_BYTES = 4 * MAX_DOCUMENT_BYTES


class TooSlow(HTTPException):
    """A body did not come to its end."""

    status_code = 408


async def taken(scope: HTTPScope, headers: dict[bytes, bytes], receive: Receive, *, wait_s: float = _WAIT_S) -> Receive:
    """Take in the body of a request that changes something; gives what its handler receives from.

    Raises:
        LimitExceeded: it is too large; at most one piece beyond the limit was taken.
        ClientException: the sender went away before its end.
        TooSlow: it did not come in time.
    """
    is_own = (scope["method"], scope["path"].rstrip("/")) == _OWN
    limit_bytes = MAX_IGNORED_BYTES if is_own else MAX_BYTES
    promised = headers.get(b"content-length", b"")
    if promised.isdigit() and (len(promised) > 18 or int(promised) > limit_bytes):
        raise _too_large(is_own=is_own)
    if is_own:
        return receive
    try:
        async with asyncio.timeout(wait_s):
            body = await _whole(receive)
    except TimeoutError as error:
        raise TooSlow(detail=f"the body did not come to its end within {wait_s:g} s") from error
    return _again(body, receive)


async def _whole(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    size_bytes = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientException(detail="the body was cut: its sender went away")
        size_bytes += len(message["body"])
        if size_bytes > MAX_BYTES:
            raise _too_large(is_own=False)
        pieces.append(message["body"])
        if not message["more_body"]:
            return b"".join(pieces)


def _again(body: bytes, receive: Receive) -> Receive:
    """Give a body that was taken, once; then whatever comes, which is the sender's going."""
    first: list[HTTPReceiveMessage] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> HTTPReceiveMessage:
        return first.pop() if first else cast("HTTPReceiveMessage", await receive())

    return receiving


def _too_large(*, is_own: bool) -> LimitExceeded:
    limit, what = (MAX_DOCUMENT_BYTES, "a run document") if is_own else (MAX_BYTES, "what is sent here")
    return LimitExceeded(f"{what} has at most {limit} bytes; this has more")
