"""What a person or a unit file starts: `run` and `migrate`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from scripthut_common.errors import Error

from . import migrate, run


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; returns the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.command == "run":
            asyncio.run(run.run(os.environ))
        else:
            asyncio.run(migrate.migrate(os.environ, asked.direction, asked.revision))
    except Error as error:
        print(f"scripthut-poller: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripthut_poller", description="Watches clusters.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="serve until SIGTERM or SIGINT")
    migration = commands.add_parser("migrate", help="bring the schema to the newest version, or to another one")
    migration.add_argument("direction", nargs="?", choices=("up", "down"), default="up")
    migration.add_argument("revision", nargs="?", help="a revision's id; up: the newest, down: an empty schema")
    return parser
