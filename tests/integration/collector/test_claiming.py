"""Whose turn it is when more is due than one claim takes."""

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import func, text, update

from scripthut_common.database import Database
from scripthut_outputs.catalog import claiming
from scripthut_outputs.catalog.claims import Claim
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.catalog.keeping import Keeping, Result
from scripthut_outputs.ledger import OutputsState
from scripthut_outputs.tables import COLLECTIONS
from tests.integration.collector.crowds import due
from tests.integration.collector.scene import CLUSTER


def by_run(claims: Iterable[Claim]) -> Counter[str]:
    return Counter(claim.run_id for claim in claims)


async def test_a_run_with_three_items_does_not_wait_for_ten_thousand_of_another(database: Database) -> None:
    await due(database, {"many": 10_000})
    await due(database, {"few": 3})

    claims = await Collections(database).claim_due(CLUSTER, limit=200, lease_s=60)

    assert by_run(claims) == {"many": 197, "few": 3}


async def test_runs_share_what_one_claim_takes(database: Database) -> None:
    await due(database, {"a": 500, "b": 500, "c": 20})

    claims = await Collections(database).claim_due(CLUSTER, limit=90, lease_s=60)

    assert by_run(claims) == {"a": 35, "b": 35, "c": 20}


async def test_more_runs_than_one_claim_takes_have_their_turn_one_after_the_other(database: Database) -> None:
    await due(database, {f"r{number:02}": 5 for number in range(30)})
    collections = Collections(database)

    claims = [await collections.claim_due(CLUSTER, limit=10, lease_s=60) for _ in range(6)]

    assert all(by_run([*claims[n], *claims[n + 1], *claims[n + 2]]).total() == 30 for n in (0, 3))
    assert set(by_run(claims[0] + claims[1] + claims[2]).values()) == {1}
    assert set(by_run(claims[3] + claims[4] + claims[5]).values()) == {1}


async def test_what_is_looked_at_again_every_moment_goes_behind_what_waits_longer(database: Database) -> None:
    await due(database, {"many": 10_000})
    await due(database, {"few": 3})
    collections, keeping = Collections(database), Keeping(database, "test-1")
    async with database.transaction() as connection:
        await connection.execute(update(COLLECTIONS).values(due_at=func.now() - timedelta(hours=1)))

    taken = Counter[tuple[str, str]]()
    for _ in range(10):
        claims = await collections.claim_due(CLUSTER, limit=200, lease_s=60)
        taken.update(claim.key for claim in claims)
        await keeping.finish(
            [Result(claim=claim, state=OutputsState.PARTIAL, reason="again", again_s=0.0) for claim in claims]
        )

    # The three of the other run are due again at once and have their turn each time; nothing else was taken twice.
    assert sum(run_id == "few" for run_id, _ in taken) == 3
    assert {count for (run_id, _), count in taken.items() if run_id == "many"} == {1}
    assert taken.total() == 2000


async def test_failures_come_first_of_what_is_due_of_a_run(database: Database) -> None:
    await due(database, {"a": 20})
    async with database.transaction() as connection:
        failed = COLLECTIONS.c.task_id.in_(["t3", "t17"])
        await connection.execute(update(COLLECTIONS).values(due_at=func.now() - timedelta(hours=1)))
        await connection.execute(update(COLLECTIONS).where(failed).values(succeeded=False, due_at=func.now()))

    claims = await Collections(database).claim_due(CLUSTER, limit=2, lease_s=60)

    assert {claim.task_id for claim in claims} == {"t3", "t17"}


async def test_failures_of_one_run_come_before_successes_of_another(database: Database) -> None:
    await due(database, {f"s{number}": 1 for number in range(8)})
    await due(database, {"f1": 1, "f2": 1}, succeeded=False)

    claims = await Collections(database).claim_due(CLUSTER, limit=10, lease_s=60)

    assert [claim.run_id for claim in claims[:2]] == ["f1", "f2"]


async def test_what_is_collected_alone_comes_one_run_after_the_other_too(database: Database) -> None:
    await due(database, {"many": 5, "few": 1}, is_alone=True)
    collections = Collections(database)

    assert await collections.claim_due(CLUSTER, limit=10, lease_s=60) == []
    taken = [
        claim.run_id
        for _ in range(3)
        for claim in await collections.claim_due(CLUSTER, limit=1, lease_s=60, is_alone=True)
    ]
    assert Counter(taken) == {"few": 1, "many": 2}
    assert "few" in taken[:2]


async def test_a_run_that_stalls_can_be_left_out(database: Database) -> None:
    await due(database, {"stalls": 5, "fine": 5})

    claims = await Collections(database).claim_due(CLUSTER, limit=10, lease_s=60, skipped_runs=["stalls"])

    assert by_run(claims) == {"fine": 5}


async def test_a_claim_reads_a_bounded_part_of_fifty_thousand_due_items(database: Database) -> None:
    await due(database, {f"r{number}": 10_000 for number in range(5)})
    query = claiming.pick(
        claiming.Lane(cluster=CLUSTER, is_alone=False), runs=200, items=200, after="", with_leased=False
    )
    async with database.transaction() as connection:
        await connection.execute(text("ANALYZE outputs.collections"))
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
    async with database.transaction() as connection:
        before = await connection.scalar(_READ)
        await connection.execute(query)
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
    async with database.transaction() as connection:
        read = (await connection.scalar(_READ)) - before

    assert 200 <= read <= 2000


_READ = text("SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_user_tables WHERE relname = 'collections'")


async def test_the_items_of_a_claim_lie_within_their_runs_order(database: Database) -> None:
    await due(database, {"b": 3, "a": 3})

    claims = await Collections(database).claim_due(CLUSTER, limit=10, lease_s=60)

    assert [claim.key for claim in claims] == sorted(claim.key for claim in claims)
