"""The production shape on real servers: poller, outputs API and collector, each a process of its own.

with Pair(database_uri=…, amqp_uri=…, clusters={"testbed": slurm_over(sshd, slurm)}) as pair:
    run_id = pair.client().submit(document)
    pair.poller.kill()
    pair.poller.start()
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from tests.testbed import ports
from tests.testbed.accounts import ALICE
from tests.testbed.clients import Client
from tests.testbed.processes import Daemon, run
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd
from tests.testbed.workspaces import Server

_NOTHING: Mapping[str, str] = MappingProxyType({})
_ALL_SERVE_ON = "127.0.0.1"
_NAMES = ("poller", "api")


def slurm_over(sshd: Sshd, slurm: SlurmCluster, user: str = ALICE, **changes: Any) -> dict[str, Any]:
    """Describe a Slurm cluster behind an SSH server as an operator does; `changes` are fields of `clusters.toml`."""
    described = {
        "scheduler": "slurm",
        "host": sshd.host,
        "port": sshd.port,
        "user": user,
        "key_file": str(sshd.key(user)),
        "known_hosts_file": str(sshd.known_hosts),
        "log_dir": str(slurm.directory_of(user) / "scripthut"),
        "poll_interval_s": 1,
        "commands_per_minute": 240,
    }
    return described | changes


class Pair(Server):
    """Both services as they run in production; each process may be stopped, killed, paused and started again.

    Attributes:
        poller, api, collector: the processes; `collectors` are all of that kind.
        blobs_dir: where the bytes of collected files lie.
    """

    def __init__(
        self,
        *,
        database_uri: str,
        amqp_uri: str,
        clusters: Mapping[str, Mapping[str, Any]],
        blobs_dir: Path | None = None,
        environment: Mapping[str, str] = _NOTHING,
        collectors: int = 1,
        of_collectors: Mapping[str, str] = _NOTHING,
        api_port: int | None = None,
    ) -> None:
        """Bring the schemas up and start the processes; return when all are ready.

        Args:
            database_uri: an empty database, or that of an earlier pair.
            amqp_uri: a virtual host.
            clusters: their descriptions by name.
            blobs_dir: another place for blobs than the pair's own directory.
            environment: more variables for every process, as `SCRIPTHUT_OUTPUTS_MAX_INLINE_HTML_BYTES`.
            collectors: how many; the second is called `collector-2`.
            of_collectors: variables that are other for these.
            api_port: where the API and the pages are, if somebody has to know before; reserved for it.
        """
        self._servers = (database_uri, amqp_uri)
        self._clusters = clusters
        self._given_blobs_dir = blobs_dir
        self._more = environment
        self._of_collectors = of_collectors
        self._api_port = api_port
        self._collector_names = ["collector", *(f"collector-{number}" for number in range(2, collectors + 1))]
        super().__init__("pair")

    @property
    def url(self) -> str:
        """Where the API and the pages are."""
        return f"http://{_ALL_SERVE_ON}:{self._ports['api']}"

    @property
    def token(self) -> str:
        """What the first line of the tokens file, made at the first start, lets in."""
        lines = (self.directory / "door" / "tokens").read_text().splitlines()
        return next(line for line in lines if not line.startswith("#")).split()[2]

    @property
    def daemons(self) -> dict[str, Daemon]:
        """The processes by name."""
        return {"poller": self.poller, "api": self.api, **self.collectors}

    def client(self) -> Client:
        """Call the API as the person who set the services up."""
        return Client(self.url, self.token)

    def login_url(self) -> str:
        """Have a link made that logs one browser in, once."""
        return self.command("scripthut_outputs", "login-url").split()[-1]

    def command(self, package: str, *words: str) -> str:
        """Run a service's command with the settings of its processes and give what it prints."""
        return run([sys.executable, "-m", package, *words], environment=self._environment)

    def migrate(self) -> None:
        """Bring both schemas to the newest version."""
        for package in ("scripthut_poller", "scripthut_outputs"):
            self.command(package, "migrate")

    def report(self, name: str) -> dict[str, str]:
        """Ask a process whether it is ready: what is wrong, by the name of loop or check; empty when it is ready.

        The API tells it in words to an admin alone, and to nobody while it cannot look up who that is.
        """
        answer = httpx.get(self._health(name, "ready"), headers={"authorization": f"Bearer {self.token}"}, timeout=30)
        return {fault["name"]: fault.get("fault", "") for fault in answer.json().get("faults", ())}

    def metrics(self, name: str) -> str:
        """Give what a process tells Prometheus."""
        return httpx.get(f"http://{_ALL_SERVE_ON}:{self._ports[name]}/metrics", timeout=30).text

    def logs(self) -> str:
        """Show the end of every process's log."""
        return "\n\n".join(daemon.tail(60) for daemon in self.daemons.values())

    def _start(self) -> None:
        self._ports = {name: ports.reserve_port() for name in (*_NAMES, *self._collector_names, "api's health")}
        self._ports["api"] = self._api_port or self._ports["api"]
        blobs_dir = self._given_blobs_dir
        self.blobs_dir = self._workspace.directory("blobs", 0o700) if blobs_dir is None else blobs_dir
        self._environment = self._settings()
        self.poller = self._process("poller", ["scripthut_poller", "run"])
        self.api = self._process("api", ["scripthut_outputs", "api"], health="api's health")
        collect = ["scripthut_outputs", "collect"]
        self.collectors = {name: self._process(name, collect, health=name) for name in self._collector_names}
        self.collector = self.collectors["collector"]
        self.migrate()
        for daemon in self.daemons.values():
            daemon.spawn()
        for daemon in self.daemons.values():
            daemon.wait_ready()

    def _settings(self) -> dict[str, str]:
        database_uri, amqp_uri = self._servers
        clusters_file = str(self._workspace.write("clusters.toml", _toml(self._clusters)))
        shared = {"DATABASE_URL": database_uri, "AMQP_URL": amqp_uri, "CLUSTERS_FILE": clusters_file}
        return {
            **{f"SCRIPTHUT_POLLER_{name}": value for name, value in shared.items()},
            **{f"SCRIPTHUT_OUTPUTS_{name}": value for name, value in shared.items()},
            "SCRIPTHUT_POLLER_HEALTH_PORT": str(self._ports["poller"]),
            "SCRIPTHUT_OUTPUTS_LISTEN_PORT": str(self._ports["api"]),
            "SCRIPTHUT_OUTPUTS_TOKENS_FILE": str(self.directory / "door" / "tokens"),
            "SCRIPTHUT_OUTPUTS_BLOBS_URL": str(self.blobs_dir),
            **self._more,
        }

    def _process(self, name: str, module: Sequence[str], health: str = "poller") -> Daemon:
        return Daemon(
            [sys.executable, "-m", *module],
            self._workspace,
            name=name,
            is_ready=lambda: _is_good(self._health(name, "ready")),
            environment={
                **self._environment,
                "SCRIPTHUT_OUTPUTS_HEALTH_PORT": str(self._ports[health]),
                **(self._of_collectors if name in self._collector_names else _NOTHING),
            },
        )

    def _health(self, name: str, word: str) -> str:
        return f"http://{_ALL_SERVE_ON}:{self._ports[name]}/health/{word}"


def _is_good(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).is_success
    except httpx.HTTPError:
        return False


def _toml(clusters: Mapping[str, Mapping[str, Any]]) -> str:
    """Write `clusters.toml`; JSON's texts, numbers and truths are TOML's too."""
    lines = []
    for name, fields in clusters.items():
        lines += [f"[clusters.{name}]", *(f"{field} = {_toml_value(value)}" for field, value in fields.items())]
    return "\n".join([*lines, ""])


def _toml_value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml_value(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)
