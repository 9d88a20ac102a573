"""The command lines of what is asked in a terminal, from `runs` to `preview`; imports nothing heavy."""

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias

from scripthut_outputs.client.exits import EPILOG

COMMANDS = frozenset({"runs", "show", "watch", "get", "open", "submit", "cancel", "tokens", "preview"})
_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  it has no other name
_WHERE = """the service and who you are:
  SCRIPTHUT_URL         its address, without --url; without both http://127.0.0.1:8470
  SCRIPTHUT_TOKEN       your token
  SCRIPTHUT_TOKEN_FILE  a file that holds it, alone or in lines `<name> <role> <token>`
  SCRIPTHUT_CA_FILE     the authority of its certificate, without --ca-file

"""


def add_commands(commands: _Commands) -> None:
    """Add them to a program's commands."""
    for add in (_runs, _show, _watch, _get, _open, _submit, _cancel, _tokens, _preview):
        add(commands)


def _asker(commands: _Commands, name: str, told: str, **more: Any) -> argparse.ArgumentParser:
    """A command that asks a service."""
    parser = _command(commands, name, told, _WHERE, **more)
    parser.add_argument("--url", help="the service's address")
    parser.add_argument("--token-file", metavar="FILE", help="a file that holds your token")
    parser.add_argument("--actor", metavar="NAME", help="whose line of that file; without it, the first")
    parser.add_argument("--ca-file", metavar="FILE", help="certificates of who vouches for the service")
    return parser


def _command(commands: _Commands, name: str, told: str, where: str = "", **more: Any) -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser(name, help=told, epilog=where + EPILOG, formatter_class=raw, **more)
    parser.add_argument("--json", action="store_true", help="for scripts: JSON on standard output and nothing else")
    return parser


def _runs(commands: _Commands) -> None:
    parser = _asker(commands, "runs", "list runs, newest first")
    parser.add_argument("--cluster", help="of this cluster alone")
    parser.add_argument("--owner", help="of this person alone")
    parser.add_argument(
        "--state", choices=("pending", "running", "succeeded", "failed", "unknown"), help="in this state"
    )
    parser.add_argument("--query", metavar="TEXT", help="whose name or id holds this")
    _add_limit(parser, 20, "runs")


def _show(commands: _Commands) -> None:
    parser = _asker(commands, "show", "show a run with its tasks, or one task with its files and its summary")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("task", metavar="TASK", nargs="?")
    parser.add_argument("--log", choices=("stdout", "stderr"), help="print what the task wrote there")
    parser.add_argument("--tail", type=_count, metavar="N", help="its last N lines only")
    _add_limit(parser, 200, "tasks")


def _watch(commands: _Commands) -> None:
    parser = _asker(
        commands, "watch", "follow a run until it ends; exits as the run did; --json: a line for each event"
    )
    parser.add_argument("run", metavar="RUN")
    _add_pace(parser)


def _get(commands: _Commands) -> None:
    parser = _asker(
        commands,
        "get",
        "download files; goes on where it was cut, and proves each by its hash",
        description="Download the files of a run into RUN/TASK/, or those of one task. What is here and right is not"
        " fetched again.",
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("task", metavar="TASK", nargs="?", help="an id, or a wildcard in quotes; without it, all")
    parser.add_argument("patterns", metavar="PATTERN", nargs="*", help="files whose path or name matches, as '*.csv'")
    parser.add_argument("--to", metavar="DIR", help="below this folder, those of one task without a folder of its name")
    parser.add_argument("--strict", action="store_true", help="exit with 4 when files are left out or still to come")


def _open(commands: _Commands) -> None:
    parser = _asker(commands, "open", "open the page of a run or a task in a browser")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("task", metavar="TASK", nargs="?")
    parser.add_argument("--print", dest="is_printed_only", action="store_true", help="only print its address")


def _submit(commands: _Commands) -> None:
    parser = _asker(commands, "submit", "create a run from a document in JSON or TOML; prints its id")
    parser.add_argument("file", metavar="FILE", help="- for standard input")
    parser.add_argument("--idempotency-key", metavar="KEY", help="submitted again with the same key, it is one run")
    parser.add_argument("--wait", action="store_true", help="then follow it until it ends, as watch does")
    _add_pace(parser)


def _cancel(commands: _Commands) -> None:
    parser = _asker(commands, "cancel", "cancel what is alive of a run")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _tokens(commands: _Commands) -> None:
    parser = commands.add_parser("tokens", help="list, make or revoke your personal tokens")
    acts = parser.add_subparsers(dest="act", required=True, metavar="list|create|revoke")
    listing = _asker(acts, "list", "list your tokens, newest first; what makes them tokens is nowhere kept")
    listing.add_argument("--owner", metavar="NAME", help="whose; for admins")
    creating = _asker(acts, "create", "make a token, and print it: it is shown once")
    creating.add_argument("label", metavar="LABEL", help="what it is for")
    creating.add_argument(
        "--scope",
        dest="scopes",
        action="append",
        required=True,
        choices=("read", "collect", "submit", "admin"),
        help="what it is good for; several times for more",
    )
    creating.add_argument("--days", type=_days, metavar="N", help="until it expires; without it, what is usual there")
    revoking = _asker(acts, "revoke", "end a token at once")
    revoking.add_argument("token_id", metavar="ID", help="as `tokens list` shows it")


def _preview(commands: _Commands) -> None:
    parser = _command(
        commands,
        "preview",
        "show a Markdown file as the service will, offline",
        description="Render a summary as the service will, without one, into a page that holds everything; say what"
        " would be taken out, what exceeds a limit, and which links lead to no file beside it.",
    )
    parser.add_argument("file", metavar="FILE.md")
    parser.add_argument("--output", metavar="FILE", help="the page; - for standard output, else beside FILE.md")
    parser.add_argument("--text", action="store_true", help="print it as text instead")
    parser.add_argument("--strict", action="store_true", help="exit with 4 when anything is wrong with it")


def _add_limit(parser: argparse.ArgumentParser, limit: int, what: str) -> None:
    number = parser.add_mutually_exclusive_group()
    number.add_argument("--limit", type=_count, default=limit, metavar="N", help=f"at most N {what} ({limit})")
    number.add_argument("--all", action="store_true", help=f"all {what}")


def _add_pace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--poll", type=_seconds, default=2.0, metavar="S", help="ask every S seconds where there is no live stream (2)"
    )


def _count(said: str) -> int:
    return int(_number(int, said, 1, 10_000_000))


def _seconds(said: str) -> float:
    return _number(float, said, 0.1, 3600)


def _days(said: str) -> float:
    return _number(float, said, 0.01, 366)


def _number(kind: Callable[[str], float], said: str, least: float, most: float) -> float:
    value = kind(said)
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"must be from {least:g} to {most:g}")
    return value
