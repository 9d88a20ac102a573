"""Make accounts on RabbitMQ that may do what they are for and nothing else.

    rabbitmq_accounts.py services                       poller, outputs service and collector, and what they use
    rabbitmq_accounts.py subscriber my-lab --types item.completed --clusters daint
    rabbitmq_accounts.py remove sub.my-lab

May be repeated: an account that is there gets these rights, and keeps its password unless a new one is given. A new
password is read from a file, or made and printed once. It reaches the broker as a salted hash on standard input.
"""

import argparse
import json
import os
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rabbitmq_rights import EVENT_TYPES, Rights, allowed_keys, definitions, own_queues, services, subscriber, topology
from scripthut_common.bus import EVENTS
from scripthut_common.layout import CLUSTER_NAME_PATTERN, CLUSTER_NAME_RULE

_SUBSCRIBER = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_SUBSCRIBER_RULE = "1 to 40 of a-z 0-9 - and beginning with a letter or digit"
_MIN_PASSWORD = 12


class Failed(Exception):
    """What went wrong, for the person at the terminal."""


class Broker:
    """The broker that `rabbitmqctl` reaches, wherever it runs."""

    def __init__(self, command: str, vhost: str) -> None:
        self._command = shlex.split(command)
        self.vhost = vhost

    def call(self, *arguments: str, said: str = "") -> str:
        """Run `rabbitmqctl`; what is secret goes on standard input.

        Raises:
            Failed: with its words.
        """
        argv = [*self._command, *arguments]
        try:
            done = subprocess.run(argv, input=said, capture_output=True, text=True, check=False, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Failed(f"{shlex.join(argv)}: {error}") from error
        if done.returncode != 0:
            words = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise Failed(f"{shlex.join(argv)} failed: {' '.join(words)[:1000]}")
        return done.stdout

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command that lists something."""
        answer = self.call("--quiet", *arguments, "--formatter", "json")
        found: list[dict[str, Any]] = json.loads(answer or "[]")
        return found

    def accounts(self) -> set[str]:
        """The accounts that are there."""
        return {row["user"] for row in self.listed("list_users")}

    def bring(self, imported: dict[str, Any]) -> None:
        """Have definitions imported; what is there already and is not named stays."""
        self.call("--quiet", "import_definitions", said=json.dumps(imported))

    def bound(self) -> list[tuple[str, str]]:
        """Every queue that is bound to events, with the key."""
        rows = self.listed("list_bindings", "-p", self.vhost, "source_name", "destination_name", "routing_key")
        return [(row["destination_name"], row["routing_key"]) for row in rows if row["source_name"] == EVENTS]

    def queues(self) -> list[str]:
        """The names of all queues."""
        return [row["name"] for row in self.listed("list_queues", "-p", self.vhost, "name")]


def make(
    broker: Broker, rights: Sequence[Rights], given: dict[str, str], more: dict[str, Any], *, is_renewing: bool
) -> None:
    """Bring accounts into being, with these passwords where they are given; say those that were made."""
    known = broker.accounts()
    wanting = [one.account for one in rights if one.account not in known or is_renewing]
    made = {account: secrets.token_urlsafe(24) for account in wanting if account not in given}
    broker.bring({**definitions(broker.vhost, rights, {**given, **made}), **more})
    for one in rights:
        print(one.account, *([made[one.account]] if one.account in made else []))


def remove(broker: Broker, account: str) -> None:
    """Take an account away with its queues and its policy."""
    found = re.fullmatch(rf"sub\.({_SUBSCRIBER.pattern})", account)
    if not found:
        raise Failed(f"{account!r} is no subscriber, as sub.my-lab; others: rabbitmqctl delete_user")
    if account in broker.accounts():
        broker.call("--quiet", "delete_user", account)
    for queue in broker.queues():
        if queue.startswith(f"{account}."):
            broker.call("--quiet", "delete_queue", "-p", broker.vhost, queue)
    for policy in (row["name"] for row in broker.listed("list_policies", "-p", broker.vhost)):
        if policy in {account, f"{account}.dead"}:
            broker.call("--quiet", "clear_policy", "-p", broker.vhost, policy)


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; returns the exit status."""
    asked = _parser().parse_args(arguments)
    broker = Broker(asked.rabbitmqctl, asked.vhost)
    try:
        match asked.command:
            case "services":
                given = _given_passwords(asked.passwords) if asked.passwords else {}
                make(broker, services(), given, topology(asked.vhost), is_renewing=asked.new_password)
            case "subscriber":
                _check(asked)
                rights = subscriber(asked.name, asked.types, asked.clusters, may_declare=asked.may_declare)
                given = {rights.account: _given_password(asked.password_file)} if asked.password_file else {}
                _check_bound(broker, asked)
                queues = own_queues(asked.vhost, asked.name, asked.types, asked.clusters)
                make(broker, [rights], given, queues, is_renewing=asked.new_password)
            case "definitions":
                given = _given_passwords(asked.passwords)
                booted = {**definitions(asked.vhost, services(), given), **topology(asked.vhost)}
                print(json.dumps(booted, indent=2))
            case _:
                remove(broker, asked.account)
    except Failed as error:
        print(f"rabbitmq_accounts: {error}", file=sys.stderr)
        return 1
    return 0


def _check_bound(broker: Broker, asked: argparse.Namespace) -> None:
    """Rights are asked for when a queue is bound: what it was bound to before would go on."""
    if asked.vhost not in (row["name"] for row in broker.listed("list_vhosts", "name")):
        return
    allowed = re.compile(allowed_keys(asked.types, asked.clusters))
    for queue, key in broker.bound():
        if queue.startswith(f"sub.{asked.name}.") and not allowed.fullmatch(key):
            raise Failed(f"{queue} is bound to {key!r}, which it may no more: unbind it, or `remove sub.{asked.name}`")


def _given_passwords(folder: Path) -> dict[str, str]:
    return {one.account: _given_password(folder / one.account) for one in services()}


def _check(asked: argparse.Namespace) -> None:
    if not _SUBSCRIBER.fullmatch(asked.name):
        raise Failed(f"{asked.name!r} must be {_SUBSCRIBER_RULE}")
    for kind in asked.types:
        if kind not in EVENT_TYPES:
            raise Failed(f"there is no event {kind!r}; there are {', '.join(EVENT_TYPES)}")
    for cluster in asked.clusters:
        if not CLUSTER_NAME_PATTERN.fullmatch(cluster):
            raise Failed(f"no cluster can be called {cluster!r}: {CLUSTER_NAME_RULE}")


def _given_password(file: Path) -> str:
    try:
        password = file.read_text("utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{file}: {getattr(error, 'strerror', None) or error}") from error
    if len(password) < _MIN_PASSWORD or not password.isprintable():
        raise Failed(f"{file}: a password has at least {_MIN_PASSWORD} characters on one line")
    return password


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rabbitmq_accounts", description="Accounts with least rights on RabbitMQ.")
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--vhost", default="/", help="the virtual host; / unless named")
    ctl = os.environ.get("RABBITMQCTL", "rabbitmqctl")
    how = "the command, as 'docker compose exec -T rabbitmq rabbitmqctl'; or in RABBITMQCTL"
    where.add_argument("--rabbitmqctl", default=ctl, metavar="COMMAND", help=how)
    password = argparse.ArgumentParser(add_help=False)
    password.add_argument("--new-password", action="store_true", help="also for an account that has one")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serving = commands.add_parser(
        "services", parents=[where, password], help="accounts, exchanges and queues of both services"
    )
    serving.add_argument(
        "--passwords", type=Path, metavar="FOLDER", help="with a file for each account; without, they are made"
    )
    adding = commands.add_parser("subscriber", parents=[where, password], help="an account that may only listen")
    adding.add_argument("--password-file", type=Path, metavar="FILE", help="its only line is the password")
    adding.add_argument(
        "name", metavar="NAME", help="the account is sub.NAME, its queues are sub.NAME.events, sub.NAME.dead"
    )
    adding.add_argument("--types", type=_words, default=[], help="of these events only, between commas")
    adding.add_argument("--clusters", type=_words, default=[], help="of these clusters only, between commas")
    adding.add_argument(
        "--may-declare",
        action="store_true",
        help="let it declare queues: whoever does can make one that is full, and then nobody's events are confirmed",
    )
    booting = commands.add_parser("definitions", parents=[where], help="print what a broker can load when it boots")
    booting.add_argument("passwords", type=Path, metavar="FOLDER", help="with a file for each account of the services")
    removing = commands.add_parser("remove", parents=[where], help="take a subscriber away with its queues")
    removing.add_argument("account", metavar="ACCOUNT", help="as sub.my-lab")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
