"""An OpenID provider that says what a test lets it say, true or not, on a loopback port."""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs

import msgspec


class Lying(msgspec.Struct, kw_only=True):
    """What it says: by path, a JSON document, or a status and the bytes of an answer.

    `asked` has the path of every request and the form that came with it. While `answering` is not set, requests wait.
    """

    issuer: str
    says: dict[str, Any]
    asked: list[tuple[str, Mapping[str, list[str]]]]
    answering: Event

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return [asked for asked, _ in self.asked].count(path)


@contextmanager
def lying(keys: Mapping[str, Any], tls: ssl.SSLContext | None = None) -> Iterator[Lying]:
    """Run such a provider; until told otherwise it says where its ends are and that these are its keys."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            found.asked.append((self.path, parse_qs(self.rfile.read(length).decode())))
            found.answering.wait()
            said = found.says.get(self.path, (404, b"{}"))
            status, body = said if isinstance(said, tuple) else (200, json.dumps(said).encode())
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  the base class's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        issuer = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
        ends = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "jwks"}
        metadata = {"issuer": issuer, **{name: f"{issuer}/{path}" for name, path in ends.items()}}
        says = {"/.well-known/openid-configuration": metadata, "/jwks": dict(keys)}
        found = Lying(issuer=issuer, says=says, asked=[], answering=Event())
        found.answering.set()
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            found.answering.set()
            server.shutdown()
            thread.join()
