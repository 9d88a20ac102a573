"""Accounts of least rights on the testbed's broker, and what they try there."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aiormq.exceptions import ChannelAccessRefused

import rabbitmq_accounts
from tests.testbed.rabbitmq import RabbitMq

PASSWORD = "correct horse battery"
Attempt = Callable[[AbstractChannel], Awaitable[object]]


class Accounts:
    """Makes accounts in one virtual host, by the script, and gives their addresses."""

    def __init__(self, rabbitmq: RabbitMq, uri: str, folder: Path) -> None:
        self._rabbitmq = rabbitmq
        self._where = urlsplit(uri)
        self._folder = folder
        self.vhost = self._where.path.removeprefix("/")

    def uri(self, account: str, password: str = PASSWORD) -> str:
        """The address for one account."""
        return self._where._replace(
            netloc=f"{account}:{password.replace(' ', '%20')}@127.0.0.1:{self._where.port}"
        ).geturl()

    def run(self, *arguments: str) -> int:
        """Run the script against this virtual host."""
        where = ["--vhost", self.vhost, "--rabbitmqctl", self._rabbitmq.ctl]
        return rabbitmq_accounts.main([arguments[0], *where, *arguments[1:]])

    def services(self) -> None:
        """Make those of the services."""
        folder = self._folder / "passwords"
        folder.mkdir(exist_ok=True)
        for name in ("scripthut-poller", "scripthut-outputs", "scripthut-collector"):
            (folder / name).write_text(f"{PASSWORD}\n")
        assert self.run("services", "--passwords", str(folder)) == 0

    def environment(self, service: str, account: str) -> dict[str, str]:
        """How a service is told its account: in a file."""
        file = self._folder / f"{account}.url"
        file.write_text(self.uri(account) + "\n")
        return {f"SCRIPTHUT_{service}_AMQP_URL": "", f"SCRIPTHUT_{service}_AMQP_URL_FILE": str(file)}

    def subscriber(self, name: str, *limits: str) -> str:
        """Make one; return its address."""
        file = self._folder / "password"
        file.write_text(f"{PASSWORD}\n")
        assert self.run("subscriber", name, "--password-file", str(file), *limits) == 0
        return self.uri(f"sub.{name}")


@asynccontextmanager
async def channel_of(uri: str) -> AsyncIterator[AbstractChannel]:
    """A channel of one account."""
    connection = await aio_pika.connect(uri)
    async with connection:
        yield await connection.channel()


async def require_refused(uri: str, attempt: Attempt) -> None:
    """See that the broker says no, because the account may not; not that something is missing."""
    async with channel_of(uri) as channel:
        with pytest.raises(ChannelAccessRefused, match="ACCESS_REFUSED"):
            await attempt(channel)


def publish(exchange: str, key: str) -> Attempt:
    """Try to publish."""

    async def attempt(channel: AbstractChannel) -> None:
        target = await channel.get_exchange(exchange, ensure=False)
        await target.publish(aio_pika.Message(b"{}"), key)

    return attempt


def read(queue: str) -> Attempt:
    """Try to take a message of a queue."""

    async def attempt(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).get(fail=False)

    return attempt


def consume(queue: str) -> Attempt:
    """Try to listen at a queue."""

    async def attempt(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).consume(_ignore)

    return attempt


async def _ignore(_: AbstractIncomingMessage) -> None:
    """Do nothing with what comes."""


def bind(queue: str, exchange: str, key: str) -> Attempt:
    """Try to have an exchange's messages come to a queue."""

    async def attempt(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).bind(exchange, key)

    return attempt


def declare(queue: str, arguments: dict[str, str | int] | None = None) -> Attempt:
    """Try to make a queue."""

    async def attempt(channel: AbstractChannel) -> None:
        await channel.declare_queue(queue, durable=True, arguments={**(arguments or {})})

    return attempt


def purge(queue: str) -> Attempt:
    """Try to empty a queue."""

    async def attempt(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).purge()

    return attempt


def delete_queue(queue: str) -> Attempt:
    """Try to remove a queue."""

    async def attempt(channel: AbstractChannel) -> None:
        await channel.queue_delete(queue)

    return attempt


def delete_exchange(exchange: str) -> Attempt:
    """Try to remove an exchange."""

    async def attempt(channel: AbstractChannel) -> None:
        await channel.exchange_delete(exchange)

    return attempt


def declare_exchange(exchange: str) -> Attempt:
    """Try to make an exchange."""

    async def attempt(channel: AbstractChannel) -> None:
        await channel.declare_exchange(exchange, "fanout", durable=True)

    return attempt


def feed(exchange: str, source: str) -> Attempt:
    """Try to have an exchange's messages come to another."""

    async def attempt(channel: AbstractChannel) -> None:
        target = await channel.get_exchange(exchange, ensure=False)
        await target.bind(source, "#")

    return attempt
