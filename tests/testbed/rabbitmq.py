"""A real RabbitMQ broker with its management interface, on free loopback ports."""

import shlex
from pathlib import Path

from tests.testbed import ports
from tests.testbed.processes import Daemon, wait_until
from tests.testbed.vhosts import Vhosts
from tests.testbed.workspaces import Server

# The wrapper in /usr/sbin changes the user and the directories.
PROGRAMS = (Path("/usr/lib/rabbitmq/bin/rabbitmq-server"),)
_CTL = "/usr/lib/rabbitmq/bin/rabbitmqctl"

_CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
loopback_users = none
management.tcp.ip = 127.0.0.1
management.tcp.port = {management_port}
log.file.level = warning
"""


class RabbitMq(Server):
    """A running broker; `daemon` may be stopped, killed, paused and started again on the same port and data.

    Attributes:
        uri: the default virtual host, as the administrator.
        vhosts: makes and deletes virtual hosts, and calls the management interface.
        management_url: that interface's page, user and password `guest`.
    """

    def __init__(self, more: str = "") -> None:
        """Start the broker, which takes several seconds of work; `more` are lines for its configuration."""
        self._more = more
        self.port, self.management_port = ports.reserve_port(), ports.reserve_port()
        self.uri = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self.vhosts = Vhosts(self.uri, self.management_port)
        self.management_url = f"http://127.0.0.1:{self.management_port}"
        self._epmd_port = ports.reserve_port()
        super().__init__("rabbitmq")

    @property
    def ctl(self) -> str:
        """The command that is `rabbitmqctl` for this broker."""
        words = {name: self._environment()[name] for name in ("HOME", "RABBITMQ_NODENAME", "ERL_EPMD_PORT")}
        return shlex.join(["env", *(f"{name}={value}" for name, value in words.items()), _CTL])

    def kill(self) -> None:
        """End the broker as a power cut would, as soon as its quorum queues would survive that.

        RabbitMQ 3.10 writes the register of quorum queues about a second after one is declared. Killed before,
        it has a queue without a leader for ever, and consumers get INTERNAL_ERROR after a minute.
        """
        wait_until(self._has_registered_queues, "RabbitMQ to register its quorum queues")
        self.daemon.kill()

    def _has_registered_queues(self) -> bool:
        queues = self.vhosts.manage("GET", "queues?columns=name,vhost,type")
        names = [
            f"{queue['vhost'].replace('/', '%2F')}_{queue['name']}" for queue in queues if queue["type"] == "quorum"
        ]
        registers = list(self.directory.glob("mnesia/*/quorum/*/names.dets"))
        written = b"".join(register.read_bytes() for register in registers)
        return all(name.encode() in written for name in names)

    def _start(self) -> None:
        config = _CONFIG.format(port=self.port, management_port=self.management_port)
        self._workspace.write("rabbitmq.conf", config + self._more)
        self._workspace.write("plugins", "[rabbitmq_management].\n")
        self.daemon = Daemon(
            PROGRAMS,
            self._workspace,
            is_ready=self._is_ready,
            environment=self._environment(),
        ).start()

    def _is_ready(self) -> bool:
        return ports.is_open(self.port) and ports.is_open(self.management_port)

    def _environment(self) -> dict[str, str]:
        directory = str(self.directory)
        return {
            "HOME": directory,
            "RABBITMQ_NODENAME": f"testbed-{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": f"{directory}/mnesia",
            "RABBITMQ_LOG_BASE": f"{directory}/log",
            "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/plugins",
            "RABBITMQ_DIST_PORT": str(ports.reserve_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            # The nodes' own port on loopback only; schedulers that do not spin while the machine has other work.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}"
            " +sbwt none +sbwtdcpu none +sbwtdio none",
        }
