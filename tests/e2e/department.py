"""A department, set up from the examples of `deploy/`: one cluster, jobs that run as their owners, three people.

with opened("sudo", slurm, postgres, rabbitmq, oidc_providers) as department:
    gina = department.people["gina"]
"""

import json
import pwd
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import msgspec

from scripthut_common import layout
from scripthut_outputs.access.oidc_login import CALLBACK
from tests.e2e import running
from tests.testbed import examples, ports, sudoers
from tests.testbed.accounts import GINA, HUGO, INES, SERVICE
from tests.testbed.oidc import OidcProvider
from tests.testbed.postgres import PostgresServer
from tests.testbed.processes import run
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.services import Pair
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

CLUSTER = "daint"
ACCOUNTS = {"gina": GINA, "hugo": HUGO, "ines": INES}
# Gina and Hugo work together.
GROUP = "lattice"


class Person(msgspec.Struct, kw_only=True):
    """Somebody, their account on the cluster, and their run there.

    Attributes:
        headers: how they come to the service when they may do all that is theirs to do.
        token: what their programs have.
        shown: what their task showed them while it ran.
        told: the names of the events of their live stream from then on.
    """

    name: str
    account: str
    run_id: str
    output_dir: Path
    headers: Mapping[str, str] = {}
    token: str = ""
    shown: str = ""
    told: Sequence[str] = ()

    @property
    def secret(self) -> str:
        """What stands in their file and is nobody else's to read."""
        return f"what only {self.name} knows"

    @property
    def gate(self) -> Path:
        """What their task waits for."""
        return Path(pwd.getpwnam(self.account).pw_dir, f"gate-{self.run_id}")


class Department(msgspec.Struct, frozen=True, kw_only=True):
    """The running services, the cluster, and who is there.

    Attributes:
        etc: what the operator has written.
        proxy: what a reverse proxy says to vouch for somebody, but for whom.
    """

    pair: Pair
    slurm: SlurmCluster
    login: Sshd
    database_uri: str
    amqp_uri: str
    people: Mapping[str, Person]
    etc: Path
    proxy: Mapping[str, str]

    @property
    def open_file(self) -> Path:
        """A file that everybody on the cluster may read, and that is in nobody's outputs."""
        return self.login.directory / "open.txt"

    def asking(self, headers: Mapping[str, str]) -> httpx.Client:
        """Ask the service with these headers."""
        return httpx.Client(base_url=self.pair.url, headers=dict(headers), timeout=60)

    def http(self, headers: Mapping[str, str]) -> httpx.AsyncClient:
        """Ask it as a program that does several things at once."""
        return httpx.AsyncClient(base_url=self.pair.url, headers=dict(headers), timeout=60)

    def others(self, person: Person) -> list[Person]:
        """Everybody else, beginning with the next."""
        everybody = list(self.people.values())
        place = everybody.index(person)
        return [*everybody[place + 1 :], *everybody[:place]]

    def check(self, account: str) -> str:
        """Ask, as the operator does, whether everything is set up to be this account."""
        asked = [sys.executable, "-m", "scripthut_poller", "check", CLUSTER, "--account", account]
        return run(asked, environment={"SCRIPTHUT_POLLER_CLUSTERS_FILE": str(self.etc / "clusters.toml")})

    def dead(self, service: str) -> list[str]:
        """Ask, as the operator does, why messages of a service's queues were put aside."""
        lines = self.pair.command(f"scripthut_{service}", "dead-letters", "list", "--json").splitlines()
        return [json.loads(line)["reason"] for line in lines]

    def logged(self, name: str) -> list[dict[str, Any]]:
        """Read the log of a process, in which every line is an object."""
        return [json.loads(line) for line in self.pair.daemons[name].log.read_text().split("\n") if line]

    def terminal(self, token: str, *words: str) -> str:
        """Have somebody type a command at a terminal of theirs."""
        environment = {"SCRIPTHUT_URL": self.pair.url, "SCRIPTHUT_TOKEN": token, "PYTHONUTF8": "1"}
        return run([sys.executable, "-m", "scripthut_outputs", *words], environment=environment)


@contextmanager
def opened(
    how: str,
    slurm: SlurmCluster,
    postgres: PostgresServer,
    rabbitmq: RabbitMq,
    providers: Callable[[str], OidcProvider],
) -> Iterator[Department]:
    """Set everything up for one way of being others on the cluster; in the end nothing of it is left."""
    mark = secrets.token_hex(4)
    with ExitStack() as stack:
        etc = Path(stack.enter_context(TemporaryDirectory(prefix="sh-etc-")))
        login = stack.enter_context(Sshd(slurm.environment))
        port = ports.reserve_port()
        provider = providers(f"http://127.0.0.1:{port}{CALLBACK}")
        provider.people(gina={"preferred_username": "gina"})
        people = {name: _person(name, account, mark) for name, account in ACCOUNTS.items()}
        stack.callback(_clean, slurm, mark, people)
        ways = _by_sudo(stack, slurm) if how == "sudo" else _by_certificate(login)
        (etc / "clusters.toml").write_text(_clusters(login, how, mark, ways))
        (etc / "access.toml").write_text(_access(etc, provider))
        (etc / "proxy-secret").write_text(f"{secrets.token_urlsafe()}\n")
        database_uri, amqp_uri = stack.enter_context(running.servers(postgres, rabbitmq))
        pair = Pair(
            database_uri=database_uri,
            amqp_uri=amqp_uri,
            clusters={},
            api_port=port,
            environment={
                "SCRIPTHUT_POLLER_CLUSTERS_FILE": str(etc / "clusters.toml"),
                "SCRIPTHUT_OUTPUTS_CLUSTERS_FILE": str(etc / "clusters.toml"),
                "SCRIPTHUT_OUTPUTS_ACCESS_FILE": str(etc / "access.toml"),
            },
        )
        stack.enter_context(pair)
        yield Department(
            pair=pair,
            slurm=slurm,
            login=login,
            database_uri=database_uri,
            amqp_uri=amqp_uri,
            people=people,
            etc=etc,
            proxy={"x-scripthut-proxy-secret": (etc / "proxy-secret").read_text().strip(), "origin": pair.url},
        )


def _person(name: str, account: str, mark: str) -> Person:
    """Somebody whose home nobody else may enter."""
    home = Path(pwd.getpwnam(account).pw_dir)
    home.chmod(0o700)
    run_id = f"{name}-{mark}"
    output_dir = layout.output_dir(str(home / _log_dir(mark)), run_id, "work")
    return Person(name=name, account=account, run_id=run_id, output_dir=Path(output_dir))


def _log_dir(mark: str) -> str:
    return f"scripthut-{mark}"


def _clean(slurm: SlurmCluster, mark: str, people: Mapping[str, Person]) -> None:
    for person in people.values():
        slurm.run("scancel", f"--user={person.account}")
        person.gate.unlink(missing_ok=True)
        shutil.rmtree(Path(pwd.getpwnam(person.account).pw_dir, _log_dir(mark)), ignore_errors=True)


def _clusters(login: Sshd, how: str, mark: str, ways: Mapping[str, str]) -> str:
    """Fill in the example but for its second cluster."""
    accounts = ", ".join(f"{name} = {json.dumps(account)}" for name, account in ACCOUNTS.items())
    text = (examples.DEPLOY / "clusters.toml.example").read_text().partition("\n[clusters.gadi]")[0]
    return examples.exchanged(
        text,
        {
            'host = "daint.example.org"': f'host = "{login.host}"\nport = {login.port}',
            'user = "outputs"': f'user = "{SERVICE}"',
            '"/etc/scripthut/id_ed25519"': json.dumps(str(login.key(SERVICE))),
            '"/etc/scripthut/known_hosts"': json.dumps(str(login.known_hosts)),
            '\nlog_dir = "~/scripthut"': f'\nlog_dir = "~/{_log_dir(mark)}"',
            'adopt_log_dir = "~/scripthut"': f'adopt_log_dir = "~/{_log_dir(mark)}"',
            "poll_interval_s = 10": "poll_interval_s = 1",
            "commands_per_minute = 60": "commands_per_minute = 600",
            'adopt = "off"': f"adopt = {json.dumps(list(ACCOUNTS.values()))}\nadopt_interval_s = 2",
            "follow_interval_s = 10": "follow_interval_s = 1",
            'as_whom = "service"': f'as_whom = "{how}"',
            'accounts = "same"': f"accounts = {{ {accounts} }}",
            **ways,
        },
    )


def _by_sudo(stack: ExitStack, slurm: SlurmCluster) -> Mapping[str, str]:
    """Install both programs, one to submit and one that only reads, each with its rule."""
    accounts = list(ACCOUNTS.values())
    submitting = stack.enter_context(sudoers.installed(SERVICE, accounts))
    submitting.set_environment(**slurm.environment)
    reading = stack.enter_context(sudoers.installed_to_read(SERVICE, accounts))
    programs = f"{json.dumps(str(submitting.program))}\nsudo_reader = {json.dumps(str(reading.program))}"
    return {'"/usr/local/libexec/scripthut/as-owner"': programs}


def _by_certificate(login: Sshd) -> Mapping[str, str]:
    """Let sshd trust a CA; nobody has a key of an owner."""
    for account in ACCOUNTS.values():
        login.key(account).unlink()
    return {'# ca_key_file = "/etc/scripthut/ca"': f"ca_key_file = {json.dumps(str(login.make_authority()))}"}


def _access(etc: Path, provider: OidcProvider) -> str:
    return examples.filled(
        "access.toml.example",
        {
            'lattice = ["ada", "ben"]': 'lattice = ["gina", "hugo"]',
            '"https://login.example.org/realms/physics"': json.dumps(provider.issuer),
            '"/etc/scripthut/oidc-secret"': json.dumps(str(provider.secret_file)),
            '"/etc/scripthut/proxy-secret"': json.dumps(str(etc / "proxy-secret")),
        },
    )
