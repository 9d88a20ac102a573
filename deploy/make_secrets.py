"""Make the secrets of the production shape, each in a file of its own: make_secrets.py FOLDER.

What is there already stays as it is; so to renew one, remove its file (and those made of it, as said below). Nobody but
you may enter the folder; the files themselves may be read, since Compose hands each alone to the containers that
need it, whose accounts are other ones.

    postgres-password           → database-url
    NAME-amqp-password for each of poller, outputs, collector
                                → NAME-amqp-url, and together rabbitmq-definitions.json
"""

import json
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rabbitmq_rights import definitions, services, topology

DATABASE, BROKER, VHOST = "postgres/scripthut", "rabbitmq:5672/%2F", "/"


def make(folder: Path) -> list[str]:
    """Make what is missing; return its names."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made: list[str] = []

    def file(name: str, content: Callable[[], str]) -> str:
        path = folder / name
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(f"{content()}\n", "utf-8")
            path.chmod(0o444)
            made.append(name)
        return path.read_text("utf-8").removesuffix("\n")

    def password() -> str:
        return secrets.token_urlsafe(24)

    of_database = file("postgres-password", password)
    file("database-url", lambda: f"postgresql://scripthut:{of_database}@{DATABASE}")
    passwords = {}
    for rights in services():
        name = rights.account.removeprefix("scripthut-")
        passwords[rights.account] = own = file(f"{name}-amqp-password", password)
        file(f"{name}-amqp-url", lambda account=rights.account, own=own: f"amqp://{account}:{own}@{BROKER}")  # type: ignore[misc]
    booted = {**definitions(VHOST, services(), passwords), **topology(VHOST)}
    file("rabbitmq-definitions.json", lambda: json.dumps(booted, indent=2))
    return made


def main(arguments: Sequence[str]) -> int:
    """Make them, and say which; returns the exit status."""
    if len(arguments) != 1:
        print("make_secrets.py FOLDER: where the secrets shall lie", file=sys.stderr)
        return 2
    try:
        made = make(Path(arguments[0]))
    except OSError as error:
        print(f"make_secrets: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    print("\n".join(made) or "everything is there already")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
