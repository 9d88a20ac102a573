"""Fuzz the service as everybody, and print what was asked, answered and found."""

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

import structlog

from scripthut_outputs.migrations import MIGRATIONS
from tests.fuzz import reporting
from tests.fuzz.cases import Drawn, draw_all
from tests.fuzz.fuzzing import Fuzzing, Tally
from tests.fuzz.people import WHO
from tests.testbed import needs
from tests.testbed.databases import migrated
from tests.testbed.postgres import PostgresServer


def main() -> None:
    """Print the report; the exit status is 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="of each operation, for each who asks")
    parser.add_argument("--seed", type=int, default=0, help="of what is made up")
    parser.add_argument("--minutes", type=float, default=10.0, help="so many for all together, each an equal share")
    parser.add_argument("--role", choices=[*WHO], action="append", help="who asks; everybody by itself")
    asked = parser.parse_args()
    lacking = needs.lacking_for_postgres()
    if lacking:
        sys.exit(lacking)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    ends_at = time.monotonic() + asked.minutes * 60
    tallies: dict[str, Tally] = {}
    with PostgresServer() as postgres, migrated(postgres.databases, MIGRATIONS) as uri:
        drawn: list[list[Drawn]] = []
        roles = asked.role or list(WHO)
        for number, role in enumerate(roles):
            with tempfile.TemporaryDirectory() as folder, Fuzzing(uri, Path(folder), WHO[role]) as fuzzing:
                drawn = drawn or draw_all(fuzzing.document(), count=asked.examples, seed=asked.seed)
                share_s = (ends_at - time.monotonic()) / (len(roles) - number)
                tallies[role] = fuzzing.send_all(drawn, time.monotonic() + share_s)
    print(reporting.render(tallies, examples=asked.examples, seed=asked.seed))
    sys.exit(any(tally.findings for tally in tallies.values()))


if __name__ == "__main__":
    main()
