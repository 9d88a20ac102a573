"""`scripthut-outputs api` as it runs in production, without a broker: what it serves comes from the catalog."""

import re
import sys

import httpx

from tests.integration.outputs.house import TOKENS
from tests.integration.outputs.running import CLUSTERS
from tests.testbed.ports import reserve_port
from tests.testbed.processes import Daemon
from tests.testbed.workspaces import Server

HOST = "127.0.0.1"


class Api(Server):
    """A process that serves a database which somebody else fills; several may serve one.

    Attributes:
        daemon: the process.
        url: where it listens.
    """

    def __init__(self, database_url: str, *, logs: str = "auto", **settings: object) -> None:
        self._logs = {"SCRIPTHUT_LOG_FORMAT": logs, "SCRIPTHUT_LOG_LEVEL": "info" if logs == "auto" else "debug"}
        self._given = {"database_url": database_url} | settings
        self.port = reserve_port()
        self.url = f"http://{HOST}:{self.port}"
        super().__init__("api")

    def client(self, actor: str = "ada") -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=None)
        headers = {"authorization": f"Bearer {TOKENS[actor]}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60, limits=limits)

    def counted(self, metric: str) -> float:
        """A metric's value; 0 while it has none."""
        answer = httpx.get(f"{self.url}/metrics", headers={"authorization": f"Bearer {TOKENS['root']}"})
        found = re.search(rf"^{re.escape(metric)} (\S+)$", answer.text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def _start(self) -> None:
        lines = [f"{name} {'admin' if name == 'root' else 'user'} {token}\n" for name, token in TOKENS.items()]
        settings = {
            "amqp_url": f"amqp://{HOST}:{reserve_port()}/",
            "clusters_file": self._workspace.write("clusters.toml", CLUSTERS),
            "tokens_file": self._workspace.write("tokens", "".join(lines), 0o600),
            "blobs_url": self._workspace.directory("blobs"),
            "listen_port": self.port,
            "health_port": reserve_port(),
            **self._given,
        }
        self.daemon = Daemon(
            [sys.executable, "-m", "scripthut_outputs", "api"],
            self._workspace,
            name="api",
            is_ready=self._answers,
            environment=self._logs
            | {f"SCRIPTHUT_OUTPUTS_{name.upper()}": str(value) for name, value in settings.items()},
        ).start()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/live").is_success
        except httpx.TransportError:
            return False
