"""A small storm, whose seed is printed; `make chaos` lets a large one pass."""

import os
import random

import pytest

from tests.chaos.scene import Servers
from tests.chaos.storm import Storm, rage
from tests.testbed.postgres import PostgresServer
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

_SEED = "SCRIPTHUT_CHAOS_SEED"


@pytest.mark.timeout(900)
def test_nothing_is_lost_doubled_or_left_open_whatever_breaks(
    slurm: SlurmCluster,
    sshd: Sshd,
    rabbitmq: RabbitMq,
    postgres: PostgresServer,
    database_uri: str,
    amqp_uri: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed = int(os.environ.get(_SEED, random.randrange(10**9)))
    servers = Servers(
        slurm=slurm, sshd=sshd, rabbitmq=rabbitmq, postgres=postgres, database_uri=database_uri, amqp_uri=amqp_uri
    )
    with capsys.disabled():
        print(f"\nseed of this chaos: {seed}; {_SEED}={seed} repeats it")
        print(rage(Storm(seed=seed, items=40, breaking_s=20, tremors=1), servers))
