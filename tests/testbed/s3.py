"""An S3-compatible store, moto's server, on a free loopback port; and one that only ever answers with a fault."""

import itertools
import re
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import httpx
import msgspec

from scripthut_outputs.settings import S3Settings
from tests.testbed import ports
from tests.testbed.processes import Daemon
from tests.testbed.workspaces import Server

REGION = "eu-central-2"
KEYS = "[default]\naws_access_key_id = AKIATESTBED\naws_secret_access_key = only-for-tests\n"
# moto looks no closer at who makes a bucket.
_SIGNED = {
    "authorization": f"AWS4-HMAC-SHA256 Credential=AKIATESTBED/20260101/{REGION}/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
}


class S3Server(Server):
    """A running store; `daemon` may be stopped, killed, paused and started again, then empty.

    Attributes:
        endpoint: its address.
        keys_file: keys that it takes.
    """

    def __init__(self) -> None:
        """Start the server, which takes a second or two of work."""
        self.port = ports.reserve_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._numbers = itertools.count()
        super().__init__("s3")

    def variables(self, bucket: str) -> dict[str, str]:
        """The same in the variables of a process."""
        told = msgspec.structs.asdict(self.settings(spool=self._workspace.path))
        return {
            "SCRIPTHUT_OUTPUTS_BLOBS_URL": f"s3://{bucket}/blobs",
            **{f"SCRIPTHUT_OUTPUTS_S3_{name.upper()}": str(value) for name, value in told.items() if value is not None},
        }

    def settings(self, *, spool: Path | None = None, timeout_s: float = 30.0) -> S3Settings:
        """What a service is told of it."""
        return S3Settings(
            endpoint=self.endpoint,
            region=REGION,
            credentials_file=str(self.keys_file),
            spool_dir=None if spool is None else str(spool),
            timeout_s=timeout_s,
        )

    def create_bucket(self) -> str:
        """Make an empty bucket; give its name."""
        name = f"bucket-{next(self._numbers)}"
        location = f"<LocationConstraint>{REGION}</LocationConstraint>"
        body = f"<CreateBucketConfiguration>{location}</CreateBucketConfiguration>"
        httpx.put(f"{self.endpoint}/{name}", headers=_SIGNED, content=body).raise_for_status()
        return name

    def asked(self, method: str, bucket: str) -> list[str]:
        """The paths in a bucket of all requests by one method, in order."""
        start = f'"{method} /{bucket}/'
        lines = self.daemon.log.read_text(errors="replace").splitlines()
        return [line.split(start, 1)[1].split(" HTTP/", 1)[0] for line in lines if start in line]

    def objects(self, bucket: str, start: str) -> dict[str, bytes]:
        """The objects whose names have this start, by the rest of it."""
        url = f"{self.endpoint}/{bucket}"
        listing = httpx.get(url, params={"list-type": "2", "prefix": start}, headers=_SIGNED).raise_for_status().text
        keys = re.findall(r"<Key>([^<]+)</Key>", listing)
        return {key.removeprefix(start): httpx.get(f"{url}/{key}", headers=_SIGNED).content for key in keys}

    def _start(self) -> None:
        self.keys_file = self._workspace.write("keys", KEYS)
        self.daemon = Daemon(
            [Path(sys.executable), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            self._workspace,
            is_ready=lambda: ports.is_open(self.port),
            name="moto",
            # Large objects wait in files there.
            environment={"TMPDIR": str(self._workspace.directory("objects")), "NO_COLOR": "1"},
        ).start()


def lacking() -> str:
    """Say why no such store can be started here; empty when it can."""
    return "" if find_spec("moto") and find_spec("flask_cors") else "the S3 store needs moto: run `make venv`"


class Faulty(msgspec.Struct, frozen=True, kw_only=True):
    """A store that only ever answers with a fault: where it is, and how each request was signed."""

    endpoint: str
    signatures: list[str]


@contextmanager
def faulty(status: int, code: str, message: str = "so it is", tls: ssl.SSLContext | None = None) -> Iterator[Faulty]:
    """Run such a store."""
    signatures: list[str] = []
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            signatures.append(self.headers.get("authorization", ""))
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_DELETE = do_POST = do_PUT  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            scheme = "http" if tls is None else "https"
            yield Faulty(endpoint=f"{scheme}://127.0.0.1:{server.server_port}", signatures=signatures)
        finally:
            server.shutdown()
            thread.join()
