"""Let a large storm pass: `python -m tests.chaos --seed 7 --items 300 --minutes 3`."""

import argparse
import random
import sys
from contextlib import ExitStack

from tests.chaos.scene import Servers
from tests.chaos.storm import Storm, rage
from tests.e2e import running
from tests.testbed import needs
from tests.testbed.postgres import PostgresServer
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd


def main() -> None:
    """Say the seed, start the servers, and let it pass."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break everything at random.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="repeats an earlier storm")
    parser.add_argument("--items", type=int, default=300, help="how many tasks, about (default: 300)")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long things break at most (default: 3)")
    asked = parser.parse_args()
    lacking = needs.lacking_for_slurm() or needs.lacking_for_rabbitmq() or needs.lacking_for_postgres()
    if lacking:
        sys.exit(lacking)
    print(f"seed of this chaos: {asked.seed}; --seed {asked.seed} repeats it", flush=True)
    with ExitStack() as stack:
        slurm = stack.enter_context(SlurmCluster(nodes=4))
        sshd = stack.enter_context(Sshd(slurm.environment))
        rabbitmq, postgres = stack.enter_context(RabbitMq()), stack.enter_context(PostgresServer())
        database_uri, amqp_uri = stack.enter_context(running.servers(postgres, rabbitmq))
        servers = Servers(
            slurm=slurm, sshd=sshd, rabbitmq=rabbitmq, postgres=postgres, database_uri=database_uri, amqp_uri=amqp_uri
        )
        print(rage(Storm(seed=asked.seed, items=asked.items, breaking_s=asked.minutes * 60), servers))


if __name__ == "__main__":
    main()
