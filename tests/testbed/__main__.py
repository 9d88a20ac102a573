"""Keep servers up for a person: Slurm with sshd, RabbitMQ and PostgreSQL, until Ctrl-C.

python -m tests.testbed               all of them
python -m tests.testbed slurm         only these; the words are slurm, rabbitmq, postgres
"""

import argparse
import signal
import threading
from contextlib import ExitStack

from tests.testbed.accounts import ACCOUNTS, ALICE
from tests.testbed.postgres import PostgresServer
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

_PARTS = ("slurm", "rabbitmq", "postgres")

_SLURM = """
Slurm, as root:    export SLURM_CONF={conf}; sinfo
logs:              {logs}
users:             {users}; each writes in {users_directory}/USER
ssh:               {ssh}
clusters.toml:
    [clusters.testbed]
    scheduler = "slurm"
    host = "{host}"
    port = {port}
    user = "{user}"
    key_file = "{key}"
    known_hosts_file = "{known_hosts}"
    log_dir = "{log_dir}"
    poll_interval_s = 1
    commands_per_minute = 240
"""

_RABBITMQ = """
RabbitMQ:          {uri}
management:        {url}  (guest, guest)
"""

_POSTGRES = """
PostgreSQL:        {uri}
"""


def describe_slurm(slurm: SlurmCluster, sshd: Sshd) -> str:
    """Say how to reach the cluster."""
    return _SLURM.format(
        conf=slurm.conf,
        logs=slurm.directory / "*.log",
        users=", ".join(ACCOUNTS),
        users_directory=slurm.directory_of(ALICE).parent,
        ssh=" ".join(sshd.command(ALICE)),
        host=sshd.host,
        port=sshd.port,
        user=ALICE,
        key=sshd.key(ALICE),
        known_hosts=sshd.known_hosts,
        log_dir=slurm.directory_of(ALICE) / "scripthut",
    )


def main() -> None:
    """Start what is asked for, say how to reach it, and wait."""
    parser = argparse.ArgumentParser(prog="python -m tests.testbed", description="Real servers to explore with.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one or more of: {', '.join(_PARTS)}; default: all")
    parts = parser.parse_args().parts or _PARTS
    if unknown := set(parts) - set(_PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(_PARTS)}")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    with ExitStack() as servers:
        if "slurm" in parts:
            slurm = servers.enter_context(SlurmCluster())
            print(describe_slurm(slurm, servers.enter_context(Sshd(slurm.environment))), flush=True)
        if "postgres" in parts:
            print(_POSTGRES.format(uri=servers.enter_context(PostgresServer()).uri), flush=True)
        if "rabbitmq" in parts:
            broker = servers.enter_context(RabbitMq())
            print(_RABBITMQ.format(uri=broker.uri, url=broker.management_url), flush=True)
        print("Up. Ctrl-C ends all and removes their files.", flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
