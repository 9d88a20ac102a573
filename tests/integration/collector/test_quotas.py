"""Quotas: of whoever has had their part nothing more is stored, every file says so, and failures stay readable."""

from sqlalchemy import delete, update

from scripthut_common.database import Database
from scripthut_outputs.catalog.changes import Cache
from scripthut_outputs.catalog.creating import Creating
from scripthut_outputs.catalog.quotas import Holdings, Quotas
from scripthut_outputs.choosing import BRIEF_TAIL_BYTES
from scripthut_outputs.ledger import Place
from scripthut_outputs.tables import FILES, RUNS
from tests.integration.collector.scene import Scene

KIB = 1024


async def test_what_goes_beyond_a_quota_is_left_out_with_the_reason(scene: Scene) -> None:
    scene.collector.limit(lambda owner: 10 * KIB if owner == "alice" else None)
    await scene.task("t1", {b"a": b"a" * 6 * KIB, b"b": b"b" * 6 * KIB, b"c": b"c" * 3 * KIB}, stdout=b"out\n")

    await scene.collect()

    rows = await scene.ledger("t1")
    assert {path: row.state for path, row in rows.items()} == {b"a": "stored", b"b": "over_quota", b"c": "stored"}
    assert rows[b"b"].reason.startswith("over quota: alice holds 0 B of 10 KiB;")
    assert (await scene.item("t1")).outputs_state == "incomplete"


async def test_items_of_one_batch_share_the_room_of_their_owner(scene: Scene) -> None:
    scene.collector.limit(lambda _: 10 * KIB)
    for number in range(5):
        await scene.task(f"t{number}", {b"a": bytes([number]) * 4 * KIB})

    await scene.collect()

    states = [(await scene.states(f"t{number}"))[b"a"] for number in range(5)]
    assert sorted(states) == ["over_quota"] * 3 + ["stored"] * 2


async def test_of_others_everything_is_stored(scene: Scene) -> None:
    scene.collector.limit(lambda owner: 0 if owner == "alice" else None)
    await scene.task("t1", {b"a": b"a"})
    await scene.task("t1", {b"a": b"b"}, run_id="r2")
    async with scene.database.transaction() as connection:
        await connection.execute(update(RUNS).where(RUNS.c.run_id == "r2").values(owner="bob"))

    await scene.collect()

    assert await scene.states("t1") == {b"a": "over_quota"}
    assert await scene.states("t1", "r2") == {b"a": "stored"}


async def test_the_end_of_logs_and_small_summaries_are_taken_all_the_same(scene: Scene) -> None:
    scene.collector.limit(lambda _: 0)
    log = b"".join(b"line %07d\n" % number for number in range(50_000))
    summary, long = b"# it failed\n", b"x" * 300 * KIB
    await scene.task("t1", {b"task-summary.md": summary, b"a": b"a"}, fragment=b"- failed\n", stderr=log)
    await scene.task("t2", {b"task-summary.md": long})

    await scene.collect()

    assert await scene.states("t1") == {b"task-summary.md": "stored", b"a": "over_quota"}
    assert await scene.states("t2") == {b"task-summary.md": "over_quota"}
    assert list((await scene.stored("t1", Place.RUN_SUMMARY)).values()) == [b"- failed\n"]
    assert list((await scene.stored("t1", Place.STDERR)).values()) == [log[-BRIEF_TAIL_BYTES:]]


async def test_after_room_was_made_it_is_collected_again(scene: Scene) -> None:
    scene.collector.limit(lambda _: 10 * KIB)
    await scene.task("t1", {b"a": b"a" * 8 * KIB})
    await scene.collect()
    await scene.task("t2", {b"b": b"b" * 8 * KIB})
    await scene.collect()
    assert await scene.states("t2") == {b"b": "over_quota"}

    scene.collector.limit(lambda _: 20 * KIB)
    assert await Creating(scene.database, Cache()).collect_run_again("r1") == 1
    await scene.collect()

    assert await scene.states("t2") == {b"b": "stored"}
    assert (await scene.item("t2")).outputs_state == "collected"


async def test_what_is_stored_already_takes_no_room_when_it_is_collected_again(scene: Scene) -> None:
    scene.collector.limit(lambda _: 10 * KIB)
    await scene.task("t1", {b"a": b"a" * 8 * KIB}, stdout=b"o" * 200 * KIB)
    await scene.collect()

    await scene.want("r1", "t1")
    await scene.collect()

    assert await scene.states("t1") == {b"a": "stored"}
    assert len(next(iter((await scene.stored("t1", Place.STDOUT)).values()))) == 64 * KIB


async def test_what_is_stored_stays_when_its_newer_form_does_not_fit(scene: Scene) -> None:
    scene.collector.limit(lambda _: 10 * KIB)
    folder = await scene.task("t1", {b"a": b"a" * 8 * KIB})
    await scene.collect()
    scene.write(folder, b"a", b"A" * 20 * KIB)

    await scene.want("r1", "t1")
    await scene.collect()

    assert await scene.stored("t1") == {b"a": b"a" * 8 * KIB}
    assert (await scene.ledger("t1"))[b"a"].reason.startswith("over quota: alice")


async def test_a_log_that_is_held_never_gets_shorter(scene: Scene) -> None:
    log = b"o" * 200 * KIB
    await scene.task("t1", {}, stdout=log)
    await scene.collect()

    scene.collector.limit(lambda _: 0)
    await scene.want("r1", "t1")
    await scene.collect()

    assert list((await scene.stored("t1", Place.STDOUT)).values()) == [log]


async def test_equal_content_counts_once(database: Database, scene: Scene) -> None:
    for number in range(3):
        await scene.task(f"t{number}", {b"a": b"a" * 4 * KIB}, stdout=None, stderr=None)
    await scene.collect()

    assert await Holdings(database).measure("alice") == (4 * KIB, True)


async def test_what_was_removed_makes_room_at_once(scene: Scene) -> None:
    scene.collector.limit(lambda _: 10 * KIB)
    await scene.task("t1", {b"a": b"a" * 8 * KIB})
    await scene.collect()
    async with scene.database.transaction() as connection:
        await connection.execute(delete(FILES))
    scene.reopen()
    scene.collector.limit(lambda _: 10 * KIB)

    await scene.task("t2", {b"b": b"b" * 8 * KIB})
    await scene.collect()

    assert await scene.states("t2") == {b"b": "stored"}


async def test_a_batch_far_from_its_quota_measures_nothing_again(database: Database) -> None:
    seconds = [0.0]
    quotas = Quotas(database, clock=lambda: seconds[0])
    quotas.limit(lambda _: 10 * KIB)
    measured: list[str] = []
    measure = quotas._holdings.measure

    async def counted(owner: str, *, max_age_s: float = 0.0) -> tuple[int, bool]:
        measured.append(owner)
        return await measure(owner, max_age_s=max_age_s)

    quotas._holdings.measure = counted  # type: ignore[method-assign]
    counts = []
    for seconds[0], wanted in ((0.0, KIB), (59.0, KIB), (61.0, KIB), (61.5, 20 * KIB), (64.0, 20 * KIB)):
        await quotas.allow({"alice": wanted})
        counts.append(len(measured))

    assert counts == [1, 1, 2, 2, 3]


async def test_everybody_is_measured_in_time(scene: Scene, database: Database) -> None:
    await scene.task("t1", {b"a": b"a" * KIB}, stdout=None, stderr=None)
    await scene.collect()
    async with database.transaction() as connection:
        await connection.execute(RUNS.insert().values(run_id="r9", name="r9", cluster="c", owner="bob"))

    await Quotas(database).look()

    assert [(one.owner, one.files, one.stored_bytes) for one in await Holdings(database).read()] == [
        ("alice", 1, KIB),
        ("bob", 0, 0),
    ]


async def test_of_an_account_behind_ssh_nothing_is_stored_beyond_its_quota(far_scene: Scene) -> None:
    far_scene.collector.limit(lambda _: 10 * KIB)
    await far_scene.task("t1", {b"a": b"a" * 8 * KIB, b"b": b"b" * 8 * KIB}, stderr=b"why\n")

    await far_scene.collect()

    assert await far_scene.states("t1") == {b"a": "stored", b"b": "over_quota"}
    assert list((await far_scene.stored("t1", Place.STDERR)).values()) == [b"why\n"]
