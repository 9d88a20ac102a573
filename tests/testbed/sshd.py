"""A real OpenSSH server on a free loopback port, with its own host key and a client key for each test account."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.testbed import ports
from tests.testbed.accounts import SERVICE, USERS, ensure_accounts
from tests.testbed.processes import Daemon, run
from tests.testbed.workspaces import Server

PROGRAMS = (Path("/usr/sbin/sshd"), Path("/usr/bin/ssh-keygen"))
_NOTHING: Mapping[str, str] = MappingProxyType({})

_SSHD_CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys.%u
PidFile none
UsePAM no
UseDNS no
# The keys lie under /tmp, which everyone may write to.
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowUsers {users}
Subsystem sftp internal-sftp
"""


class Sshd(Server):
    """A running SSH server; `daemon` may be stopped, killed, paused and started again, which also cuts its sessions.

    Attributes:
        host, port: where it listens.
        known_hosts: the file with its host key as it was at the start.
    """

    def __init__(self, environment: Mapping[str, str] = _NOTHING, *, extra: str = "") -> None:
        """Start the server.

        Args:
            environment: what every session has in its environment, as `SLURM_CONF`.
            extra: more lines for sshd_config.
        """
        self.host = "127.0.0.1"
        self.port = ports.reserve_port()
        self._environment = environment
        self._extra = extra
        super().__init__("sshd")

    def close(self) -> None:
        """End the server and every session, and remove its directory."""
        self.daemon.kill()
        super().close()

    def key(self, user: str) -> Path:
        """Give the private key with which this account logs in."""
        return self.directory / f"key.{user}"

    def make_authority(self) -> Path:
        """Make the key of a CA whose certificates the server takes from then on, and give its path."""
        key = self.directory / "authority"
        self._make_key(key)
        self._workspace.write("authorities", key.with_name("authority.pub").read_text())
        config = self.directory / "sshd_config"
        config.write_text(f"{config.read_text()}TrustedUserCAKeys {self.directory}/authorities\n")
        self.daemon.restart()
        return key

    def let_in(self, user: str) -> None:
        """Let another account in, too."""
        config = self.directory / "sshd_config"
        config.write_text(config.read_text().replace("AllowUsers ", f"AllowUsers {user} "))
        self.daemon.restart()

    def change_host_key(self) -> None:
        """Be another host from the next connection on; `known_hosts` keeps the old key."""
        (self.directory / "host_key").unlink()
        self._make_key(self.directory / "host_key")
        self.daemon.restart()

    def trust_host_key(self) -> None:
        """Write the present host key to `known_hosts`."""
        public = (self.directory / "host_key.pub").read_text()
        self._workspace.write("known_hosts", f"[{self.host}]:{self.port} {public}")

    def command(self, user: str) -> list[str]:
        """Give OpenSSH's command line that runs the words after it as this account."""
        options = [f"UserKnownHostsFile={self.known_hosts}", "BatchMode=yes", "IdentitiesOnly=yes", "LogLevel=ERROR"]
        words = [word for option in options for word in ("-o", option)]
        return ["ssh", "-F", "none", "-i", str(self.key(user)), "-p", str(self.port), *words, f"{user}@{self.host}"]

    def run(self, user: str, command: str, stdin: str = "") -> str:
        """Run a command line by the account's login shell, through the ordinary ssh client."""
        return run([*self.command(user), command], stdin=stdin)

    def _start(self) -> None:
        ensure_accounts()
        # sshd's place for the unprivileged part of itself, which the package's service file would make.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.known_hosts = self.directory / "known_hosts"
        self._make_key(self.directory / "host_key")
        self.trust_host_key()
        for user in (*USERS, SERVICE):
            self._make_key(self.key(user))
            public = self.key(user).with_name(f"key.{user}.pub").read_text()
            self._workspace.write(f"authorized_keys.{user}", public)
        text = _SSHD_CONFIG.format(port=self.port, directory=self.directory, users=" ".join((*USERS, SERVICE)))
        pairs = " ".join(f'"{name}={setting}"' for name, setting in self._environment.items())
        text += (f"SetEnv {pairs}\n" if pairs else "") + self._extra
        config = self._workspace.write("sshd_config", text)
        self.daemon = Daemon(
            ["/usr/sbin/sshd", "-D", "-e", "-f", config],
            self._workspace,
            is_ready=lambda: ports.is_open(self.port),
        ).start()

    def _make_key(self, path: Path) -> None:
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path])
