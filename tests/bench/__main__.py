"""Run the benches named on the command line, or all of them, and print one table."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable

import structlog

from tests.bench import (
    authorised,
    bursting,
    collecting,
    following,
    large,
    lists,
    pages,
    polling,
    recording,
    serving,
    sharing,
    viewers,
    visibility,
)
from tests.bench.table import Row, render

BENCHES: dict[str, Callable[[], Awaitable[list[Row]]]] = {
    "serving": serving.measure,
    "authorised": authorised.measure,
    "lists": lists.measure,
    "pages": pages.measure,
    "collecting": collecting.measure,
    "large": large.measure,
    "bursting": bursting.measure,
    "sharing": sharing.measure,
    "visibility": visibility.measure,
    "following": following.measure,
    "viewers": viewers.measure,
    "polling": polling.measure,
    "recording": recording.measure,
}


async def main(names: list[str]) -> None:
    """Measure one after the other, so that none takes another's processor."""
    unknown = set(names) - set(BENCHES)
    if unknown:
        sys.exit(f"there is no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    rows: list[Row] = []
    for name in names or BENCHES:
        print(f"measuring: {name}…", file=sys.stderr)
        rows += await BENCHES[name]()
    print(render(rows))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(main(sys.argv[1:]))
