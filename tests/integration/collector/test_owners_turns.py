"""Where owners are read as themselves they take turns, and none of them holds up another."""

import pwd
from pathlib import Path

import msgspec

from scripthut_common.clusters import AsWhom
from scripthut_common.database import Database
from scripthut_common.shell import RemoteShell
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.local import LocalShell
from scripthut_outputs.catalog import claiming
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.collector import Collector, Pace
from tests.integration.collector.crowds import due
from tests.integration.collector.scene import CLUSTER, Scene
from tests.integration.collector.test_fairness import collecting
from tests.integration.collector.trouble import hanging
from tests.testbed.accounts import ALICE, BOB, ensure_accounts


async def owners_of(
    collections: Collections, turns: int, *, limit: int = 200, skipped: tuple[str, ...] = ()
) -> list[str]:
    """Whose items so many claims give; each is of one owner."""
    found = []
    for _ in range(turns):
        claims = await collections.claim_of_one(CLUSTER, limit=limit, lease_s=30.0, skipped_owners=skipped)
        assert len({claim.owner for claim in claims}) <= 1
        found += [claims[0].owner if claims else "nobody"]
    return found


async def test_owners_take_turns_whatever_they_have(database: Database) -> None:
    await due(database, {"r1": 1000}, owner="ada")
    await due(database, {"r2": 3}, owner="ben")
    await due(database, {f"r3-{number}": 1 for number in range(50)}, owner="carl")

    assert await owners_of(Collections(database), 5, limit=20) == ["ada", "ben", "carl", "ada", "carl"]


async def test_an_owner_of_more_runs_than_one_look_sees_keeps_nobody_waiting_for_long(database: Database) -> None:
    runs = 2 * claiming.MAX_READ + 10
    await due(database, {f"a-{number:05}": 1 for number in range(runs)}, owner="ada")
    await due(database, {"z": 1}, owner="ben")

    assert "ben" in await owners_of(Collections(database), 4, limit=10)


async def test_what_is_an_owner_s_is_all_taken_in_the_end(database: Database) -> None:
    await due(database, {f"a-{number:04}": 1 for number in range(claiming.MAX_READ + 100)}, owner="ada")
    collections, taken = Collections(database), 0

    for _ in range(12):
        taken += len(await collections.claim_of_one(CLUSTER, limit=200, lease_s=30.0))

    assert taken == claiming.MAX_READ + 100


async def test_nothing_is_taken_of_those_who_are_skipped(database: Database) -> None:
    await due(database, {"r1": 3}, owner="ada")
    await due(database, {"r2": 3}, owner="ben")

    assert await owners_of(Collections(database), 2, skipped=("ada",)) == ["ben", "nobody"]


async def test_nothing_due_is_nobody_s_turn(database: Database) -> None:
    assert await owners_of(Collections(database), 2) == ["nobody", "nobody"]


async def test_two_collectors_never_take_the_same(database: Database) -> None:
    await due(database, {"r1": 300}, owner="ada")
    one, another = Collections(database), Collections(database)

    first = await one.claim_of_one(CLUSTER, limit=200, lease_s=30.0)
    second = await another.claim_of_one(CLUSTER, limit=200, lease_s=30.0)

    assert (len(first), len(second)) == (200, 100)
    assert not {claim.key for claim in first} & {claim.key for claim in second}


class Ways(AccountShells):
    """A cluster on which somebody's login hangs."""

    shells: dict[str, RemoteShell]

    def of(self, account: str | None) -> RemoteShell:
        """Give the way that was made for an account."""
        return self.shells[account or ""]


async def test_an_owner_whose_login_hangs_keeps_nobody_else_waiting(database: Database, tmp_path: Path) -> None:
    ensure_accounts()
    scenes = {account: Scene(database, tmp_path / account, LocalShell(), owner=account) for account in (ALICE, BOB)}
    for account, scene in scenes.items():
        scene.run_columns = {"owner": account}
        for number in range(3):
            await scene.task(f"t{number}", {b"a": b"x"}, run_id=f"r-{account}")
        assert scene.log_dir.stat().st_uid == pwd.getpwnam(account).pw_uid
    cluster = msgspec.structs.replace(scenes[BOB].cluster, as_whom=AsWhom.SUDO)
    ways = Ways(cluster, lambda _: LocalShell())
    ways.shells = {ALICE: hanging(tmp_path / "bin"), BOB: LocalShell()}
    collector = Collector(
        database, scenes[BOB].blobs, {CLUSTER: cluster}, {CLUSTER: ways}, renderer="test-1", pace=Pace()
    )

    async with collecting(collector):
        for number in range(3):
            await scenes[BOB].is_collected(f"t{number}", f"r-{BOB}")
        await scenes[BOB].task("later", {b"b": b"x"}, run_id=f"r-{BOB}")
        await scenes[BOB].is_collected("later", f"r-{BOB}")

    assert await scenes[ALICE].stored("t0", run_id=f"r-{ALICE}") == {}
    assert await scenes[BOB].cluster_error() is None
    collector.close()
    for scene in scenes.values():
        scene.collector.close()


async def test_an_owner_whose_login_hangs_has_items_that_fail_with_the_reason(
    database: Database, tmp_path: Path
) -> None:
    ensure_accounts()
    scene = Scene(database, tmp_path / "alice", LocalShell(), owner=ALICE)
    scene.run_columns = {"owner": ALICE}
    await scene.task("t1", {b"a": b"x"})
    cluster = msgspec.structs.replace(scene.cluster, as_whom=AsWhom.SUDO, command_timeout_s=0.5)
    ways = Ways(cluster, lambda _: LocalShell())
    ways.shells = {ALICE: hanging(tmp_path / "bin")}
    collector = Collector(database, scene.blobs, {CLUSTER: cluster}, {CLUSTER: ways}, renderer="test-1")

    await next(loop.step for loop in collector.loops() if loop.name.startswith("outputs.collect."))()

    assert (await scene.item("t1")).outputs_state == "failed"
    assert "was silent for 0.5 s" in (await scene.collection("t1")).reason
    assert await scene.cluster_error() is None
    collector.close()
    scene.collector.close()
