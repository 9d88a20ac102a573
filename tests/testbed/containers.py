"""PostgreSQL and RabbitMQ from containers, for machines where their packages cannot be installed."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer

from tests.testbed.processes import ServerError, wait_until
from tests.testbed.vhosts import Vhosts

_FIRST_START_S = 300


class NoDockerError(Exception):
    """There is no Docker to ask for a container."""


@contextmanager
def postgres_container() -> Iterator[str]:
    """Give the URI of a fresh PostgreSQL.

    Raises:
        NoDockerError: Docker does not answer.
    """
    password = secrets.token_hex(16)
    with _started("postgres:18", 5432, POSTGRES_PASSWORD=password) as container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(5432)
        uri = f"postgresql://postgres:{password}@{host}:{port}/postgres"
        wait_until(lambda: _connects(uri), "the PostgreSQL container", _FIRST_START_S, every_s=0.2)
        yield uri


@contextmanager
def rabbitmq_container() -> Iterator[Vhosts]:
    """Give the virtual hosts of a fresh RabbitMQ.

    Raises:
        NoDockerError: Docker does not answer.
    """
    password = secrets.token_hex(16)
    login = {"RABBITMQ_DEFAULT_USER": "testbed", "RABBITMQ_DEFAULT_PASS": password}
    with _started("rabbitmq:4-management", 5672, 15672, **login) as container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(5672)
        vhosts = Vhosts(f"amqp://testbed:{password}@{host}:{port}/", container.get_exposed_port(15672))
        wait_until(lambda: _is_up(vhosts), "the RabbitMQ container", _FIRST_START_S, every_s=0.2)
        yield vhosts


@contextmanager
def _started(image: str, *ports: int, **environment: str) -> Iterator[DockerContainer]:
    try:
        container = DockerContainer(image).with_exposed_ports(*ports).with_envs(**environment).start()
    except DockerException as error:
        raise NoDockerError(f"no container of {image}: {error}") from error
    try:
        yield container
    finally:
        container.stop()


def _connects(uri: str) -> bool:
    try:
        psycopg.connect(uri, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _is_up(vhosts: Vhosts) -> bool:
    try:
        vhosts.manage("GET", "health/checks/local-alarms")
    except (OSError, ServerError):
        return False
    return True
