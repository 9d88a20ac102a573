"""PostgreSQL and RabbitMQ from containers, for machines where their packages cannot be installed."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer

from tests.testbed.processes import ServerError, wait_until
from tests.testbed.vhosts import Vhosts

# The image is there by then.
_FIRST_START_S = 120
_POSTGRES = os.environ.get("SCRIPTHUT_TEST_POSTGRES_IMAGE", "postgres:18")
_RABBITMQ = os.environ.get("SCRIPTHUT_TEST_RABBITMQ_IMAGE", "rabbitmq:4-management")


class NoDockerError(Exception):
    """There is no Docker to ask for a container."""


@contextmanager
def postgres_container() -> Iterator[str]:
    """Give the URI of a fresh PostgreSQL.

    Raises:
        NoDockerError: Docker does not answer.
    """
    password = secrets.token_hex(16)
    with _started(_POSTGRES, 5432, POSTGRES_PASSWORD=password) as container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(5432)
        uri = f"postgresql://postgres:{password}@{host}:{port}/postgres"
        _wait(container, lambda: _connects(uri), "the PostgreSQL container")
        yield uri


@contextmanager
def rabbitmq_container() -> Iterator[Vhosts]:
    """Give the virtual hosts of a fresh RabbitMQ.

    Raises:
        NoDockerError: Docker does not answer.
    """
    password = secrets.token_hex(16)
    login = {"RABBITMQ_DEFAULT_USER": "testbed", "RABBITMQ_DEFAULT_PASS": password}
    with _started(_RABBITMQ, 5672, 15672, **login) as container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(5672)
        vhosts = Vhosts(f"amqp://testbed:{password}@{host}:{port}/", container.get_exposed_port(15672))
        _wait(container, lambda: _is_up(vhosts), "the RabbitMQ container")
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


def _wait(container: DockerContainer, is_up: Callable[[], bool], what: str) -> None:
    """Wait until the server answers.

    Raises:
        ServerError: its container has ended, or it does not answer in time; with what the container said last.
    """
    try:
        wait_until(lambda: is_up() or not _is_running(container), what, _FIRST_START_S, every_s=0.2)
    except ServerError as error:
        raise ServerError(f"{error}\n{_tail(container)}") from None
    if not _is_running(container):
        raise ServerError(f"{what} has ended\n{_tail(container)}")


def _is_running(container: DockerContainer) -> bool:
    inner = container.get_wrapped_container()
    inner.reload()
    return bool(inner.status == "running")


def _tail(container: DockerContainer) -> str:
    said: bytes = container.get_wrapped_container().logs(tail=20)
    return said.decode(errors="replace")


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
