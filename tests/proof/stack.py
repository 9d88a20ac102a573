"""The production shape on this machine, set up as docs/operators.md says, in a copy of this repository."""

import json
import os
import secrets
import shutil
import ssl
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from tests.proof import cluster
from tests.proof.commands import CommandFailed, call, say, show
from tests.testbed import ports
from tests.testbed.accounts import ALICE
from tests.testbed.clients import Client
from tests.testbed.processes import ServerError, wait_until

_ROOT = Path(__file__).parents[2]
_COPIED = ("Makefile", "docker-compose.yml", ".dockerignore", "deploy", "libs", "services", "requirements")
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.egg-info", "secrets")
_VERSION = 'version = "'
_CLUSTERS = f"""\
[clusters.testbed]
scheduler = "slurm"
host = "{cluster.HOST}"
user = "{ALICE}"
key_file = "/etc/scripthut/id_ed25519"
known_hosts_file = "/etc/scripthut/known_hosts"
log_dir = "{{work}}/scripthut"
poll_interval_s = 1
commands_per_minute = 240
"""
_NAMES = "subjectAltName=DNS:localhost"


class Stack:
    """A project of Compose with a cluster beside it; everything of it is gone in the end.

    Attributes:
        project: its name.
        folder: where the copy, the secrets and the cluster's files lie.
        work: where tasks write, by the same path here and on the cluster.
    """

    def __init__(self, images: dict[str, str], first_version: str) -> None:
        self.project = f"scripthut-proof-{secrets.token_hex(3)}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.project}-", dir="/tmp"))
        self.copy = self.folder / "scripthut"
        self.work = self.folder / "cluster" / cluster.WORK
        self.port, self._plain_port = ports.reserve_port(), ports.reserve_port()
        self._images = images
        self._stack = ExitStack()
        self._stack.callback(shutil.rmtree, self.folder)
        try:
            self._set_up(first_version)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        """Give the running stack."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and remove its containers, volumes, images and files."""
        self._stack.close()

    @property
    def url(self) -> str:
        """Where people find it."""
        return f"https://localhost:{self.port}"

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client needs to know of the certificate."""
        return ssl.create_default_context(cafile=str(self.folder / "secrets" / "tls-certificate.pem"))

    def client(self) -> Client:
        """Call the API through the proxy as the person who set the services up."""
        return Client(self.url, self.token(), trust=self.trust)

    def token(self) -> str:
        """What the first line of the tokens file, made at the first start, lets in."""
        text = self.inside("outputs-api", "cat", "/var/lib/scripthut/door/tokens")
        return next(line for line in text.splitlines() if not line.startswith("#")).split()[2]

    def compose(self, *words: str) -> str:
        """Run Compose, and say so."""
        return show(["docker", "compose", *words], cwd=self.copy, environment=self._environment)

    def make(self, *words: str) -> str:
        """Run make, and say so."""
        venv = Path(sys.executable).parent.parent
        return show(["make", *words, f"VENV={venv}"], cwd=self.copy, environment=self._environment)

    def shell(self, line: str) -> str:
        """Run a line of a shell, and say so."""
        return show(["sh", "-ec", line], cwd=self.copy, environment=self._environment)

    def inside(self, service: str, *words: str) -> str:
        """Run a command in a service's container."""
        argv = ["docker", "compose", "exec", "-T", service, *words]
        return call(argv, cwd=self.copy, environment=self._environment)

    def sql(self, query: str) -> list[list[str]]:
        """Ask the database, and give the rows as text."""
        options = ["-U", "scripthut", "-d", "scripthut", "-A", "-t", "-F", "\t"]
        answer = self.inside("postgres", "psql", *options, "-c", query)
        return [line.split("\t") for line in answer.splitlines() if line]

    def containers(self, service: str) -> list[str]:
        """The ids of the running containers of a service."""
        return call(
            ["docker", "compose", "ps", "--quiet", service], cwd=self.copy, environment=self._environment
        ).split()

    def images_of(self, service: str) -> list[str]:
        """The names of the images that run as a service."""
        ids = self.containers(service)
        return call(["docker", "inspect", "--format", "{{.Config.Image}}", *ids]).split() if ids else []

    def health(self, service: str) -> list[str]:
        """How the containers of a service are, by Docker's own word; `running` where it has no check."""
        form = "{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}"
        ids = self.containers(service)
        return call(["docker", "inspect", "--format", form, *ids]).split() if ids else []

    def logs(self) -> str:
        """Show the ends of all logs."""
        return call(
            ["docker", "compose", "logs", "--no-color", "--tail", "60"], cwd=self.copy, environment=self._environment
        )

    def release(self, version: str) -> None:
        """Have another version: in the copy, and in `.env`."""
        for pyproject in self.copy.glob("*/*/pyproject.toml"):
            lines = pyproject.read_text().splitlines(keepends=True)
            changed = [f'{_VERSION}{version}"\n' if line.startswith(_VERSION) else line for line in lines]
            pyproject.write_text("".join(changed))
        self._write_env(version)

    @property
    def _environment(self) -> dict[str, str]:
        """What Compose is told besides `.env`: nothing that an operator has to say."""
        return {"COMPOSE_PROJECT_NAME": self.project}

    def _set_up(self, version: str) -> None:
        self.copy.mkdir()
        for name in _COPIED:
            source = _ROOT / name
            if source.is_dir():
                shutil.copytree(source, self.copy / name, ignore=_NOT_COPIED)
            else:
                shutil.copy2(source, self.copy / name)
        login = self._start_cluster()
        config = self.folder / "config"
        shutil.copytree(login, config)
        os.chown(config / "id_ed25519", *[login.joinpath("id_ed25519").stat().st_uid] * 2)
        (config / "clusters.toml").write_text(_CLUSTERS.format(work=self.work))
        self._secrets()
        self.release(version)

    def _secrets(self) -> None:
        folder = self.folder / "secrets"
        self.make("secrets", f"DIR={folder}")
        certificate, key = folder / "tls-certificate.pem", folder / "tls-key.pem"
        making = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        call([*making, "-addext", _NAMES, "-keyout", key, "-out", certificate])
        key.chmod(0o444)

    def _write_env(self, version: str) -> None:
        told = {
            "SCRIPTHUT_SECRETS_DIR": self.folder / "secrets",
            "SCRIPTHUT_CONFIG_DIR": self.folder / "config",
            "SCRIPTHUT_ALLOWED_HOSTS": "localhost",
            "SCRIPTHUT_PUBLIC_URL": self.url,
            "SCRIPTHUT_HTTPS_PORT": f"127.0.0.1:{self.port}",
            "SCRIPTHUT_HTTP_PORT": f"127.0.0.1:{self._plain_port}",
            "SCRIPTHUT_IMAGE_PREFIX": self.project,
            "SCRIPTHUT_VERSION": version,
            "POSTGRES_IMAGE": self._images["postgres"],
            "RABBITMQ_IMAGE": self._images["rabbitmq"],
            "NGINX_IMAGE": self._images["nginx"],
            "PYTHON_IMAGE": self._images["python"],
        }
        (self.copy / ".env").write_text("".join(f"{name}={value}\n" for name, value in told.items()))

    def start(self) -> None:
        """Build, start, and let the containers reach the cluster."""
        self._stack.callback(self.remove)
        self.compose("config", "--quiet")
        self.compose("build")
        self.up()

    def up(self) -> None:
        """Start everything, and let the containers reach the cluster."""
        self.make("up")
        network, login = f"{self.project}_inside", f"{self.project}-login"
        call(["docker", "network", "connect", "--alias", cluster.HOST, network, login])

    def lose(self) -> None:
        """Lose every container and volume."""
        with suppress(CommandFailed):
            call(["docker", "network", "disconnect", "--force", f"{self.project}_inside", f"{self.project}-login"])
        self.compose("down", "--volumes", "--timeout", "30")

    def _start_cluster(self) -> Path:
        """Start the cluster's container; gives the folder with what a client needs."""
        name, folder = f"{self.project}-login", self.work.parent
        folder.mkdir()
        mounts = ["--volume", f"{_ROOT}/tests:/testbed/tests:ro", "--volume", f"{folder}:{folder}"]
        hosts = ["--hostname", "node", "--add-host", "node:127.0.0.1"]
        words = ["python3", "-m", "tests.proof.cluster", str(folder)]
        call(["docker", "run", "--detach", "--name", name, *hosts, *mounts, self._images["cluster"], *words])
        self._stack.callback(_stop_cluster, name)
        known = folder / cluster.LOGIN / "known_hosts"
        wait_until(known.exists, "the cluster to start", 120, every_s=0.2)
        say(f"a Slurm cluster runs in the container {name}")
        return known.parent

    def remove(self) -> None:
        """Remove containers, volumes and our images."""
        self.lose()
        found = call(["docker", "image", "ls", "--quiet", "--filter", f"reference={self.project}/*"]).split()
        if found:
            call(["docker", "image", "rm", "--force", *sorted(set(found))])


def _stop_cluster(name: str) -> None:
    call(["docker", "stop", "--time", "30", name])
    call(["docker", "rm", "--force", "--volumes", name])


def read_lines(text: str) -> list[dict[str, object]]:
    """Read what a command prints with `--json`: one object a line."""
    return [json.loads(line) for line in text.splitlines() if line]


def ready(stack: Stack, services: Sequence[str]) -> None:
    """Wait until every container of these services is healthy.

    Raises:
        ServerError: one is not, with the ends of the logs.
    """

    def is_well() -> bool:
        return all(word in {"healthy", "running"} for service in services for word in stack.health(service))

    try:
        wait_until(is_well, f"{', '.join(services)} to be healthy", 120, every_s=1)
    except ServerError as error:
        raise ServerError(f"{error}\n{stack.logs()}") from None
