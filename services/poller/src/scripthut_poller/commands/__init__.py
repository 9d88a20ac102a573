"""What a person or a unit file starts: `run`, `migrate`, `check` and `dead-letters`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from scripthut_common import disposing
from scripthut_common.errors import Error

from . import check, dead_letters, migrate, run


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; returns the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.command == "run":
            asyncio.run(run.run(os.environ))
        elif asked.command == "dead-letters":
            return asyncio.run(dead_letters.dead_letters(os.environ, asked))
        elif asked.command == "check":
            return asyncio.run(check.check(os.environ, asked.clusters, is_json=asked.json, account=asked.account))
        else:
            asyncio.run(migrate.migrate(os.environ, asked.direction, asked.revision))
    except Error as error:
        print(f"scripthut-poller: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def console() -> NoReturn:
    """Be the program `scripthut-poller`."""
    sys.exit(main(sys.argv[1:]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripthut-poller", description="Watches clusters.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="serve until SIGTERM or SIGINT")
    migration = commands.add_parser("migrate", help="bring the schema to the newest version, or to another one")
    migration.add_argument("direction", nargs="?", choices=("up", "down"), default="up")
    migration.add_argument("revision", nargs="?", help="a revision's id; up: the newest, down: an empty schema")
    disposing.add_command(commands)
    checking = commands.add_parser("check", help="say what works on a cluster, what does not, and what to do")
    checking.add_argument("clusters", nargs="*", metavar="CLUSTER", help="as the clusters file names it; none: all")
    checking.add_argument("--json", action="store_true", help="for scripts; the exit status is 1 when something fails")
    checking.add_argument("--account", help="of somebody whose jobs run as them: try to be them")
    return parser
