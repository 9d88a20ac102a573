"""What a person or a unit file starts: `api` and `collect`, commands for those who run it, and the terminal's.

A command imports what it needs when it is asked for: somebody who lists runs does not wait for the web framework.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from scripthut_common import disposing, replaying
from scripthut_common.errors import Error

from . import asking


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; returns the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.command in asking.COMMANDS:
            from . import client

            return client.run(asked)
        return _serve(asked)
    except Error as error:
        print(f"scripthut-outputs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def console() -> NoReturn:
    """Be the program `scripthut-outputs`."""
    sys.exit(main(sys.argv[1:]))


def _serve(asked: argparse.Namespace) -> int:
    """Do one of the commands of the service itself."""
    match asked.command:
        case "audit":
            from . import audit

            asyncio.run(audit.audit(os.environ, asked))
        case "api" | "collect":
            from scripthut_outputs.wiring import Role

            from . import run

            asyncio.run(run.run(os.environ, Role.API if asked.command == "api" else Role.COLLECTOR))
        case "dead-letters":
            from . import dead_letters

            return asyncio.run(dead_letters.dead_letters(os.environ, asked))
        case "login-url":
            from . import login

            asyncio.run(login.login_url(os.environ, asked.actor))
        case "unbind":
            from . import unbind

            asyncio.run(unbind.unbind(os.environ, asked.name))
        case "replay":
            from . import replay

            asyncio.run(replay.replay(os.environ, asked))
        case "migrate":
            from . import migrate

            asyncio.run(migrate.migrate(os.environ, asked.direction, asked.revision))
        case "reader-program":
            from scripthut_outputs.reader import installed

            print(installed.installed_text(), end="")
        case _:
            return asyncio.run(_keep(asked))
    return 0


async def _keep(asked: argparse.Namespace) -> int:
    """Do one of the commands about what is kept."""
    from scripthut_outputs.catalog.verifying import Scope

    from . import pin, storage, sweep, verify

    match asked.command:
        case "verify":
            scope = Scope(cluster=asked.cluster, run_id=asked.run)
            wanted = verify.Asked(scope=scope, is_repairing=asked.repair, is_fast=asked.fast, is_json=asked.json)
            return await verify.verify(os.environ, wanted)
        case "sweep":
            await sweep.sweep(os.environ, is_dry=asked.dry_run, is_json=asked.json)
        case "storage":
            await storage.storage(os.environ, is_json=asked.json)
        case _:
            by = asked.by if asked.command == "pin" else None
            await pin.pin(os.environ, asked.run, is_pinned=asked.command == "pin", by=by)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripthut-outputs", description="Collects and serves outputs, and shows them in a terminal."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("api", help="take events and answer HTTP until SIGTERM or SIGINT")
    commands.add_parser("collect", help="fetch outputs and render documents until SIGTERM or SIGINT")
    login_link = commands.add_parser("login-url", help="print an address that logs a browser in once")
    login_link.add_argument("--actor", help="a name of the tokens file; without it, the first")
    disposing.add_command(commands)
    replaying.add_command(commands, "which outputs of a run were collected")
    migration = commands.add_parser("migrate", help="bring the schema to the newest version, or to another one")
    migration.add_argument("direction", nargs="?", choices=("up", "down"), default="up")
    migration.add_argument("revision", nargs="?", help="a revision's id; up: the newest, down: an empty schema")
    commands.add_parser(
        "reader-program", help="print what deploy/read-as-owner runs on a cluster, to be installed there"
    )
    _add_keeping(commands)
    asking.add_commands(commands)
    return parser


def _add_keeping(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verifying = commands.add_parser(
        "verify",
        help="say whether everything that is called stored is in the store, whole",
        epilog="exit status: 0 everything is there, 1 something is not, 2 could not check",
    )
    verifying.add_argument("--cluster", help="files of this cluster alone")
    verifying.add_argument("--run", help="files of this run alone")
    verifying.add_argument("--repair", action="store_true", help="have what is lost collected again")
    verifying.add_argument("--fast", action="store_true", help="compare sizes, read nothing")
    verifying.add_argument("--json", action="store_true", help="for scripts")
    sweeping = commands.add_parser("sweep", help="remove what retention says and what nobody refers to, now")
    sweeping.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    sweeping.add_argument("--json", action="store_true", help="for scripts")
    storing = commands.add_parser("storage", help="say where the space went, by cluster and owner")
    storing.add_argument("--json", action="store_true", help="for scripts")
    auditing = commands.add_parser("audit", help="say who saw or changed what, newest first")
    auditing.add_argument("--run", help="of this run alone")
    auditing.add_argument("--actor", help="of this person alone")
    auditing.add_argument("--since", help="not before: 90m, 12h, 7d, or a time as 2026-11-26T10:00")
    auditing.add_argument("--limit", type=int, metavar="COUNT", help="at most so many; without it, all")
    auditing.add_argument("--json", action="store_true", help="for scripts, one line for each")
    pinning = commands.add_parser("pin", help="keep the files of a run whatever the retention says")
    pinning.add_argument("run", metavar="RUN")
    pinning.add_argument("--by", help="who wants it kept; without it, the account that runs this")
    unpinning = commands.add_parser("unpin", help="leave the files of a run to the retention again")
    unpinning.add_argument("run", metavar="RUN")
    unbinding = commands.add_parser("unbind", help="let another subject have a name that a provider or proxy has given")
    unbinding.add_argument("name", metavar="NAME")
