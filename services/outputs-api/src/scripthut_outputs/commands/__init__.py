"""What a person or a unit file starts: `api`, `collect`, `migrate`, `login-url`, `dead-letters`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from scripthut_common import disposing
from scripthut_common.errors import Error
from scripthut_outputs.wiring import Role

from . import dead_letters, login, migrate, run


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; returns the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        match asked.command:
            case "api":
                asyncio.run(run.run(os.environ, Role.API))
            case "collect":
                asyncio.run(run.run(os.environ, Role.COLLECTOR))
            case "dead-letters":
                return asyncio.run(dead_letters.dead_letters(os.environ, asked))
            case "login-url":
                asyncio.run(login.login_url(os.environ, asked.actor))
            case _:
                asyncio.run(migrate.migrate(os.environ, asked.direction, asked.revision))
    except Error as error:
        print(f"scripthut-outputs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def console() -> NoReturn:
    """Be the program `scripthut-outputs`."""
    sys.exit(main(sys.argv[1:]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripthut-outputs", description="Collects and serves outputs.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("api", help="take events and answer HTTP until SIGTERM or SIGINT")
    commands.add_parser("collect", help="fetch outputs and render documents until SIGTERM or SIGINT")
    login_link = commands.add_parser("login-url", help="print an address that logs a browser in once")
    login_link.add_argument("--actor", help="a name of the tokens file; without it, the first")
    disposing.add_command(commands)
    migration = commands.add_parser("migrate", help="bring the schema to the newest version, or to another one")
    migration.add_argument("direction", nargs="?", choices=("up", "down"), default="up")
    migration.add_argument("revision", nargs="?", help="a revision's id; up: the newest, down: an empty schema")
    return parser
