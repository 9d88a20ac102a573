"""Which application answers a request: files, archives and streams are plain ASGI, everything else is Litestar's."""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from . import archives, files, live

# What is counted under, as the framework names its routes.
_FILE = "/runs/{run_id}/tasks/{task_id}/outputs/file/{path}"
_ARCHIVE = "/runs/{run_id}/archive"
_EVENTS = "/runs/{run_id}/events"
_DEFAULTS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"private, no-cache",
}


class Lanes:
    """Sends a request to the application that answers it; what that one says of caching and policy counts."""

    def __init__(
        self, litestar: ASGIApp, files_app: files.Files, archives_app: archives.Archives, live_app: live.Live
    ) -> None:
        self._litestar = litestar
        self._files = files_app
        self._archives = archives_app
        self._live = live_app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != ScopeType.HTTP:
            await self._litestar(scope, receive, send)
        elif files.is_file(scope["raw_path"]):
            scope["path_template"] = _FILE
            await self._files(scope, receive, send)
        elif archives.is_archive(scope["raw_path"]):
            scope["path_template"] = _ARCHIVE
            await self._archives(scope, receive, send)
        elif live.is_events(scope["raw_path"]):
            scope["path_template"] = _EVENTS
            await self._live(scope, receive, send)
        else:
            await self._litestar(scope, receive, _with_defaults(send))


def _with_defaults(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            said = {name.lower() for name, _ in message["headers"]}
            missing = [header for header in _DEFAULTS.items() if header[0] not in said]
            message = {**message, "headers": [*message["headers"], *missing]}
        await send(message)

    return sending
