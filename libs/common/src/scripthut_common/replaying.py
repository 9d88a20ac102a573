"""Say a run's events again, to one queue alone: the same command of both services."""

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from . import layout
from .errors import Error, InvalidInput, NotFound

if TYPE_CHECKING:  # a terminal's commands start without broker and database
    from .bus.amqp import AmqpBus
    from .database import Database
    from .outbox import Outbox


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", what: str) -> None:
    """Add `replay` to a program's commands; `what` it says again."""
    replaying = commands.add_parser("replay", help=f"say {what} again, to one queue alone")
    replaying.add_argument("run", metavar="RUN")
    replaying.add_argument("--queue", required=True, help="which; it must be there")
    since = "only what was said since, as 2026-03-01T12:00:00Z; without a zone: UTC"
    replaying.add_argument("--since", type=moment, metavar="TIME", help=since)


def moment(text: str) -> datetime:
    """Read a moment of the command line.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time as 2026-03-01T12:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


async def replay(bus: "AmqpBus", database: "Database", outbox: "Outbox", asked: argparse.Namespace) -> int:
    """Do what the command line asks; returns how many events were said again.

    Raises:
        InvalidInput: a run cannot be called so.
        NotFound: there is no such queue, or the outbox holds no such event.
        Unroutable: the queue was deleted meanwhile.
        BusUnavailable: the broker went away; what had arrived until then was said on standard error.
        DatabaseUnavailable: the same of the database.
    """
    if not layout.is_id(asked.run):
        raise InvalidInput(f"{asked.run!r} is no run: a run's id is {layout.ID_RULE}")
    count = 0
    try:
        async for arrived in bus.replay(asked.queue, outbox.of_run(database, asked.run, since=asked.since)):
            count = arrived
    except Error:
        sys.stderr.write(f"{count} events were said again before this:\n")
        raise
    if not count:
        when = f" since {asked.since.isoformat()}" if asked.since else ""
        raise NotFound(f"the outbox holds no event of run {asked.run}{when}; it keeps them for 30 days")
    return count
