"""Make the secrets of the production shape, each in a file of its own: make_secrets.py FOLDER.

What is there already stays as it is; so to renew one, remove its file (and those made of it, as said below). Nobody but
you may enter the folder: one that others may enter is refused. The files themselves may be read, since Compose hands
each alone to the containers that need it, whose accounts are other ones.

    postgres-password           → database-url
    NAME-amqp-password for each of poller, outputs, collector
                                → NAME-amqp-url, and together rabbitmq-definitions.json
"""

import json
import os
import secrets
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rabbitmq_rights import definitions, services, topology
from scripthut_common.errors import SettingsError

DATABASE, BROKER, VHOST = "postgres/scripthut", "rabbitmq:5672/%2F", "/"


def make(folder: Path) -> list[str]:
    """Make what is missing; return its names.

    Raises:
        SettingsError: others may enter the folder; nothing was written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_private(folder)
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


def _check_private(folder: Path) -> None:
    """Refuse a folder that is not ours alone. It is not changed: it may be one that others need, as `.` or /tmp."""
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise SettingsError(f"{folder} belongs to uid {found.st_uid}, not to you: name a folder of your own")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise SettingsError(
            f"others may look into {folder} (mode {mode:04o}), and its files may be read: name a folder for secrets "
            f"alone, or close this one: chmod 700 {folder}"
        )


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
    except SettingsError as error:
        print(f"make_secrets: {error}", file=sys.stderr)
        return 1
    print("\n".join(made) or "everything is there already")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
