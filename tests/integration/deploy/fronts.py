"""The example proxies as they stand, in front of a service that tells what it was asked; only names are exchanged."""

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx

from tests.testbed import examples, ports
from tests.testbed.processes import Daemon
from tests.testbed.workspaces import Server

ROOT = Path(__file__).parents[3]
NGINX, CADDY = Path("/usr/sbin/nginx"), Path("/usr/bin/caddy")
_NGINX = """\
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/scripthut.conf;
}}
"""


class Front(Server):
    """One of the proxies with a certificate of its own making.

    Attributes:
        url: where it answers, by TLS.
        ca_file: whom to trust.
    """

    def __init__(self, kind: str, behind: str) -> None:
        """Start nginx or caddy in front of `behind`, a host and port."""
        self._kind, self._behind = kind, behind
        self._port, self._plain_port = ports.reserve_port(), ports.reserve_port()
        self.url = f"https://localhost:{self._port}"
        self.plain_url = f"http://localhost:{self._plain_port}"
        super().__init__(kind)

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client needs to know of the certificate."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def _start(self) -> None:
        self.ca_file, key = self._certificate()
        argv = self._nginx(key) if self._kind == "nginx" else self._caddy(key)
        self.daemon = Daemon(
            argv,
            self._workspace,
            is_ready=lambda: ports.is_open(self._port),
            environment={"HOME": str(self.directory), "XDG_DATA_HOME": str(self.directory)},
        ).start()

    def _nginx(self, key: Path) -> list[str | Path]:
        told = {
            "/run/secrets/tls-certificate": str(self.ca_file),
            "/run/secrets/tls-key": str(key),
            "set $scripthut outputs-api:8080": f"set $scripthut {self._behind}",
            "listen 80 default_server": f"listen 127.0.0.1:{self._plain_port} default_server",
            "listen 443 ssl": f"listen 127.0.0.1:{self._port} ssl",
        }
        self._workspace.write("scripthut.conf", examples.filled("nginx.conf.example", told))
        config = self._workspace.write("nginx.conf", _NGINX.format(directory=self.directory))
        return [NGINX, "-c", config, "-p", self.directory]

    def _caddy(self, key: Path) -> list[str | Path]:
        site = f"https://localhost:{self._port} {{\n\tbind 127.0.0.1\n\ttls {self.ca_file} {key}\n"
        told = {"outputs.example.org {\n": site, "reverse_proxy 127.0.0.1:8080": f"reverse_proxy {self._behind}"}
        globally = f"{{\n\tadmin off\n\tauto_https disable_redirects\n\thttp_port {self._plain_port}\n}}\n"
        config = self._workspace.write("Caddyfile", globally + examples.filled("Caddyfile.example", told))
        return [CADDY, "run", "--config", config, "--adapter", "caddyfile"]

    def _certificate(self) -> tuple[Path, Path]:
        certificate, key = self.directory / "certificate.pem", self.directory / "key.pem"
        making = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        names = ["-addext", "subjectAltName=DNS:localhost"]
        subprocess.run([*making, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        return certificate, key


class Behind:
    """A service on a port that answers with what it was asked, and counts what it was sent.

    `/stream` says a line for every `tell`; `/large` sends 64 MiB and notes how far it came.
    """

    large_bytes = 64 * 2**20

    def __init__(self) -> None:
        self.address = ""
        self.body_bytes = 0
        self.sent_bytes = 0
        self.tell: asyncio.Queue[str] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, and do not mind when it is cut."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        path = head[0].split()[1]
        length = int(headers.get("content-length", "0"))
        while length > 0 and (chunk := await reader.read(65536)):
            self.body_bytes += len(chunk)
            length -= len(chunk)
        if path == "/stream":
            await self._stream(writer)
        elif path == "/large":
            await self._large(writer)
        else:
            said = json.dumps(headers).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(said) + said)
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        while line := await self.tell.get():
            writer.write(f"data: {line}\n\n".encode())
            await writer.drain()

    async def _large(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % self.large_bytes)
        while self.sent_bytes < self.large_bytes:
            writer.write(b"x" * 65536)
            await writer.drain()
            self.sent_bytes += 65536


@asynccontextmanager
async def behind() -> AsyncIterator[Behind]:
    """Serve on a free port."""
    found = Behind()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()


def client(front: Front) -> httpx.AsyncClient:
    """A client that trusts the proxy's certificate."""
    return httpx.AsyncClient(base_url=front.url, verify=front.trust, timeout=60)
