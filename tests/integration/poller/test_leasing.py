"""Of several pollers one asks a cluster; when it dies another takes over, and the first writes nothing more."""

import asyncio
import subprocess
import sys

import msgspec
import pytest
from sqlalchemy import text

from scripthut_common.database import Database
from scripthut_common.errors import LeaseLost, Unreachable
from scripthut_poller.homes import Homes
from scripthut_poller.leasing import Leasing, holder_name, is_gone
from scripthut_poller.submitting import Submitting
from scripthut_poller.watching import Watching
from scripthut_poller.watchlist import leases
from tests.integration.poller.bench import Bench
from tests.integration.poller.told import events, rows


async def _pass_time(database: Database, seconds: float) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE poller.leases SET until = until - make_interval(secs => :s)"), {"s": seconds}
        )


def _other(bench: Bench) -> tuple[Leasing, Watching, Submitting]:
    """Make the loops of another poller on the same cluster."""
    lease = Leasing(bench.database, bench.site.name, "that poller")
    site = msgspec.structs.replace(bench.site, lease=lease)
    watching = Watching(bench.database, site)
    return lease, watching, Submitting(bench.database, site, Homes(bench.database, {"here": bench.shells}), watching)


async def test_a_cluster_has_one_holder(database: Database) -> None:
    mine = await leases.take(database, "here", "a", 20)
    assert await leases.take(database, "here", "b", 20) is None
    assert await leases.take(database, "here", "a", 20) == mine


async def test_a_dead_holder_is_followed_in_a_new_epoch(database: Database) -> None:
    first = await leases.take(database, "here", "a", 20)
    await _pass_time(database, 21)
    second = await leases.take(database, "here", "b", 20)

    assert first is not None
    assert second is not None
    assert second.epoch == first.epoch + 1
    assert await leases.take(database, "here", "a", 20) is None


async def test_a_released_cluster_is_free_at_once(database: Database) -> None:
    first = await leases.take(database, "here", "a", 20)
    assert first is not None
    await leases.release(database, first)
    assert await leases.take(database, "here", "b", 20) is not None


async def test_nothing_is_written_in_a_term_that_is_over(database: Database) -> None:
    first = await leases.take(database, "here", "a", 20)
    assert first is not None
    await _pass_time(database, 21)
    await leases.take(database, "here", "b", 20)

    async with database.transaction() as connection:
        with pytest.raises(LeaseLost, match="another poller"):
            await leases.require(connection, first)


async def test_who_does_not_hold_a_cluster_neither_submits_nor_looks(bench: Bench) -> None:
    await bench.ask([bench.task("a")])
    lease, watching, submitting = _other(bench)
    await lease.step()

    assert await submitting.step() is False
    await watching.step()

    assert not lease.is_held
    assert bench.shell.ran == []


async def test_a_round_that_outlives_its_lease_judges_nobody(bench: Bench, database_uri: str) -> None:
    await bench.ask([bench.task("a")])
    await bench.submitting.step()
    told = len(await events(bench.database))
    bench.shell.after["localhost queue"] = lambda: asyncio.run(_take_over(database_uri))

    with pytest.raises(LeaseLost):
        await bench.watching.round()

    assert (await rows(bench.database))["a"].state == "submitted"
    assert len(await events(bench.database)) == told


async def test_the_one_that_takes_over_goes_on_where_the_other_was(bench: Bench) -> None:
    await bench.ask([bench.task("a"), bench.task("b", "a")])
    bench.shell.cut.add("localhost submit")
    with pytest.raises(Unreachable):
        await bench.submitting.step()
    bench.shell.cut.clear()
    await bench.lease.release()
    lease, watching, submitting = _other(bench)
    await lease.step()

    await submitting.step()
    async with asyncio.timeout(60):
        while {row.state for row in (await rows(bench.database)).values()} != {"final"}:
            await submitting.step()
            await watching.round()
            await asyncio.sleep(0.1)

    assert bench.shell.ran.count("localhost submit") == 1
    assert {note.name: note.read_text() for note in bench.notes.iterdir()} == {"a": "ran\n", "b": "ran\n"}


def _name_of_one_that_ended() -> str:
    program = "from scripthut_poller import leasing; print(leasing.holder_name())"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.strip()


async def _take_over(database_uri: str) -> None:
    database = Database(database_uri)
    await _pass_time(database, 1000)
    await leases.take(database, "here", "that poller", 20)
    await database.close()


async def test_a_process_that_ended_on_this_machine_is_followed_at_once(database: Database) -> None:
    await leases.take(database, "here", _name_of_one_that_ended(), 20)
    lease = Leasing(database, "here", holder_name())

    await lease.step()

    assert lease.is_held
    assert lease.term.epoch == 2


@pytest.mark.parametrize("holder", ["", "b", "host/elsewhere.1/1/1/x", "host/elsewhere.1/4000000/1/x", "////"])
def test_nobody_is_taken_for_gone_who_may_be_there(holder: str) -> None:
    assert not is_gone(holder)


def test_this_process_is_not_gone() -> None:
    assert not is_gone(holder_name())
