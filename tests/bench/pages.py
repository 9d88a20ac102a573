"""The page of a run against the same bytes from memory, kept and made anew, and how long one of 10,000 tasks takes."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import psycopg

from tests.bench import served, serving
from tests.bench.table import REPETITIONS, Row
from tests.integration.outputs.house import TOKENS
from tests.testbed.postgres import PostgresServer

LIMIT_S = 2.0
_HEARD_S = 0.3
_VIEWS = {
    "": "as submitted",
    "?sort=state": "failures first",
    "?under=sim.7.": "one group",
    "?q=99": "searched through",
}


async def measure() -> list[Row]:
    """Serve a page of 100 tasks to many, make it anew for one, and make pages of 10,000 tasks for the first reader."""
    return await asyncio.to_thread(_measure)


def _measure() -> list[Row]:
    client, server = serving.cores()
    with tempfile.TemporaryDirectory() as folder, PostgresServer() as postgres:
        uri = postgres.databases.create()
        with serving.ours(uri, Path(folder), server) as url, psycopg.connect(uri, autocommit=True) as connection:
            what = f"GET the page of a run with {served.PAGE_ITEMS} tasks, made once and kept; same bytes from memory"
            match = serving.Match(what=what, ours=url + served.PAGE, peer=f"{url}/memory/page", target="≥ 0.2")
            large = (_large(connection, url, *view) for view in _VIEWS.items())
            return [serving.row(match, client), _anew(connection, url), *large]


def _anew(connection: psycopg.Connection, url: str) -> Row:
    """One reader, for whom the page is made each time: what the first of all pays after a change."""
    with _reader() as client:
        taken_s = statistics.median(_time(client, connection, "page", url + served.PAGE) for _ in range(REPETITIONS))
        peer_s = statistics.median(_time(client, connection, "page", f"{url}/memory/page") for _ in range(REPETITIONS))
    what = "the same page, made anew for one reader after a change; same bytes from memory"
    ours, peer = f"{taken_s * 1000:,.0f} ms", f"{peer_s * 1000:,.1f} ms"
    return Row(what=what, ours=ours, peer=peer, ratio=peer_s / taken_s, target="none")


def _large(connection: psycopg.Connection, url: str, query: str, view: str) -> Row:
    address = f"{url}{served.LARGE_PAGE}{query}"
    with _reader() as client:
        taken_s = statistics.median(_time(client, connection, "large", address) for _ in range(REPETITIONS))
    what = f"make the page of a run with {served.LARGE_ITEMS:,} tasks, {view}"
    ours, peer = f"{taken_s * 1000:,.0f} ms", f"{LIMIT_S:g} s"
    return Row(what=what, ours=ours, peer=peer, ratio=LIMIT_S / taken_s, target="≥ 1")


def _reader() -> httpx.Client:
    return httpx.Client(headers={"authorization": f"Bearer {TOKENS['ada']}"}, timeout=60)


def _time(client: httpx.Client, connection: psycopg.Connection, run_id: str, address: str) -> float:
    """Seconds until the whole answer is there, once nothing is kept of the run."""
    connection.execute("SELECT pg_notify('outputs_runs', %s)", [run_id])
    time.sleep(_HEARD_S)
    began = time.perf_counter()
    client.get(address).raise_for_status()
    return time.perf_counter() - began
