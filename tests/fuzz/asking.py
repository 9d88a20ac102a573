"""Send one case of Schemathesis through the door, as a client would that listens for a moment to what has no end."""

import asyncio
from typing import Any, cast
from urllib.parse import unquote_to_bytes, urlsplit

import msgspec
import requests
from schemathesis import Response

from scripthut_outputs.controllers.live import MEDIA_TYPE
from tests.fuzz.cases import AnyCase
from tests.integration.outputs.house import ORIGIN, House

_LISTENS_S = 0.02
_PEER = "192.0.2.1"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What goes over the wire, and what it was made of."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    prepared: requests.PreparedRequest


def prepare(case: AnyCase, headers: dict[str, str]) -> Request | None:
    """Write a case as a client would; `None`: no client can."""
    try:
        written = case.as_transport_kwargs(base_url=ORIGIN)
        # Who asks is not for the generator to say: a made-up header would be the only one that counts.
        made_up = {name: value for name, value in written["headers"].items() if name.lower() != "authorization"}
        written["headers"] = {**made_up, **headers}
        prepared = requests.Request(**written).prepare()
    except (requests.RequestException, UnicodeError, ValueError):
        return None
    parts = urlsplit(prepared.url or "")
    sent = {"host": "localhost:8080", **prepared.headers}
    body: Any = prepared.body or b""
    return Request(
        method=str(prepared.method),
        target=f"{parts.path}?{parts.query}" if parts.query else parts.path,
        headers=[(_raw(name).lower(), _raw(value)) for name, value in sent.items()],
        body=body if isinstance(body, bytes) else body.encode(),
        prepared=prepared,
    )


async def ask(house: House, request: Request) -> Response:
    """Send it; gives the answer as Schemathesis reads answers."""
    path, _, query = request.target.partition("?")
    gone, messages = asyncio.Event(), list[Any]()
    coming: list[Any] = [{"type": "http.request", "body": request.body, "more_body": False}]

    async def receive() -> Any:
        if coming:
            return coming.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        messages.append(message)
        if is_stream(messages[0]):
            asyncio.get_running_loop().call_later(_LISTENS_S, gone.set)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": request.method,
        "raw_path": path.encode(),
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "server": ("localhost", 8080),
        "client": (_PEER, 1),
        "headers": request.headers,
    }
    await cast("Any", house.app)(scope, receive, send)
    return _answer(request, messages)


def is_stream(start: Any) -> bool:
    """Whether an answer goes on for as long as somebody listens."""
    return (b"content-type", MEDIA_TYPE.encode()) in start["headers"]


def _answer(request: Request, messages: list[Any]) -> Response:
    start, *bodies = messages
    headers: dict[str, list[str]] = {}
    for name, value in start["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return Response(
        status_code=int(start["status"]),
        headers=headers,
        content=b"".join(message.get("body", b"") for message in bodies),
        request=request.prepared,
        elapsed=0.0,
        verify=False,
        stream_cut_short=is_stream(start),
    )


def _raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
