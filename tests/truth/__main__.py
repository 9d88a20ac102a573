"""Print the truth table."""

import asyncio
import logging
import sys
import tempfile
from pathlib import Path

import structlog

from tests.testbed import needs
from tests.testbed.postgres import PostgresServer
from tests.truth.table import render
from tests.truth.telling import lacking_for_memory, tell


def main() -> None:
    """Start what is needed, print the table, and say what it lacks."""
    lacking = needs.lacking_for_slurm() or needs.lacking_for_postgres()
    if lacking:
        sys.exit(lacking)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder, PostgresServer() as postgres:
        rows = asyncio.run(tell(postgres.databases.create(), Path(folder)))
    print(render(rows))
    if lacking_for_memory():
        print(f"\nout of memory: not shown; {lacking_for_memory()}")


if __name__ == "__main__":
    main()
