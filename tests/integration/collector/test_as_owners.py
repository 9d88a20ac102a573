"""Reading as the owners of runs, whose homes are closed to the service: real accounts behind a real sshd."""

import os
import shutil

import pytest

from scripthut_common.clusters import AsWhom
from scripthut_outputs.ledger import Place
from tests.integration.collector.department import Department
from tests.testbed.accounts import ACCOUNTS, ALICE, BOB, CAROL, SERVICE
from tests.testbed.processes import ServerError
from tests.testbed.sshd import Sshd
from tests.testbed.sudoers import Installed

SECRET = b"bob's own"
SECRETS = {b"secret": SECRET}
REFUSALS = {
    AsWhom.SUDO: "sudo does not let sh-service run",
    AsWhom.CERTIFICATE: "it does not take our certificate for sh-alice",
}


async def test_each_owner_s_outputs_are_collected_though_the_service_cannot_read_them(
    department: Department, own_sshd: Sshd
) -> None:
    for account in ACCOUNTS:
        await department.of(account).task("t1", {b"mine": account.encode()}, run_id=f"r-{account}", stdout=b"log")

    await department.collect()

    for account in ACCOUNTS:
        owner, run_id = department.of(account), f"r-{account}"
        assert await owner.stored("t1", run_id=run_id) == {b"mine": account.encode()}
        assert await owner.stored("t1", Place.STDOUT, run_id) == {f"scripthut_{run_id}_t1.out".encode(): b"log"}
        with pytest.raises(ServerError):
            own_sshd.run(SERVICE, f"ls {owner.log_dir}")


async def test_a_portion_is_two_programs_for_each_owner(department: Department) -> None:
    for account in (ALICE, BOB):
        for number in range(5):
            await department.of(account).task(f"t{number}", {b"a": b"x"}, run_id=f"r-{account}")

    await department.collect()

    assert department.shells.commands_run == 4
    assert department.shells.of(ALICE).commands_run == 2


@pytest.mark.parametrize("mode", [0o700, 0o755])
async def test_a_link_into_another_s_home_gets_nothing(department: Department, mode: int) -> None:
    alice, bob = department.of(ALICE), department.of(BOB)
    theirs = await bob.task("t1", SECRETS, run_id="r-bob")
    bob.close_home(mode)
    folder = await alice.task("t1", {b"a": b"x"}, run_id="r-alice", stdout=None)
    (folder / "link").symlink_to(theirs)
    (folder / "file").symlink_to(theirs / "secret")
    (alice.log_dir / "scripthut_r-alice_t1.out").symlink_to(theirs / "secret")

    await department.collect()

    assert await alice.stored("t1", run_id="r-alice") == {b"a": b"x"}
    assert await alice.states("t1", "r-alice") == {b"a": "stored", b"link": "not_regular", b"file": "not_regular"}
    assert await alice.stored("t1", Place.STDOUT, "r-alice") == {}


async def test_a_hard_link_to_another_s_file_gets_nothing(department: Department) -> None:
    alice, bob = department.of(ALICE), department.of(BOB)
    theirs = await bob.task("t1", SECRETS, run_id="r-bob")
    bob.close_home(0o755)
    folder = await alice.task("t1", {b"a": b"x"}, run_id="r-alice", stdout=None)
    os.link(theirs / "secret", folder / "linked")
    os.link(theirs / "secret", alice.log_dir / "scripthut_r-alice_t1.out")

    await department.collect()

    assert await alice.states("t1", "r-alice") == {b"a": "stored", b"linked": "not_owned"}
    assert [row.state for row in (await alice.ledger("t1", Place.STDOUT, "r-alice")).values()] == ["not_owned"]


@pytest.mark.parametrize("mode", [0o700, 0o755])
async def test_a_run_announced_with_another_s_directory_gets_nothing(whichever: Department, mode: int) -> None:
    alice, bob = whichever.of(ALICE), whichever.of(BOB)
    bob.leave("r-alice", "t1", SECRETS, b"fragment", SECRET, SECRET)
    bob.record("t1", run_id="r-alice")
    bob.close_home(mode)
    theirs = bob.item_of("r-alice", "t1")
    alice.announced()

    await alice.want("r-alice", "t1", output_dir=theirs["output_dir"], stdout_path=theirs["stdout_path"])
    await whichever.collect()

    assert [await alice.stored("t1", place, "r-alice") for place in Place] == [{}, {}, {}, {}]
    item, collection = await alice.item("t1", "r-alice"), await alice.collection("t1", "r-alice")
    if mode == 0o755:
        assert item.outputs_state == "failed"
        assert f"belongs to the account {BOB}, but the run is {ALICE}'s" in collection.reason
        assert collection.due_at is not None
    assert await alice.cluster_error() is None


@pytest.mark.parametrize("place", ["stdout_path", "run_summary_path"])
async def test_a_log_of_another_s_beside_one_s_own_directory_gets_nothing(shared: Department, place: str) -> None:
    alice, bob = shared.of(ALICE), shared.of(BOB)
    theirs = bob.leave("r-bob", "t1", SECRETS, b"fragment", SECRET, None)
    bob.close_home(0o755)
    alice.leave("r-alice", "t1", {b"a": b"x"}, None, None, None)
    alice.close_home(0o755)
    alice.announced()

    logs = {name: str(theirs / "secret") if name == place else None for name in ("stdout_path", "run_summary_path")}
    own = alice.item_of("r-alice", "t1")["output_dir"]
    for task_id, output_dir in (("t1", own), ("gone", str(alice.home / "no/t"))):
        await alice.want(
            "r-alice",
            task_id,
            output_dir=output_dir,
            stdout_path=logs["stdout_path"],
            run_summary_path=logs["run_summary_path"],
        )
    await shared.collect()
    await alice.let_pass(10)
    await shared.collect()

    for task_id in ("t1", "gone"):
        found = [await alice.stored(task_id, where, "r-alice") for where in (Place.STDOUT, Place.RUN_SUMMARY)]
        assert found == [{}, {}]
    assert await alice.stored("t1", run_id="r-alice") == {b"a": b"x"}


async def test_an_event_that_names_another_account_is_not_believed(department: Department) -> None:
    alice, bob = department.of(ALICE), department.of(BOB)
    bob.leave("r-alice", "t1", SECRETS, None, None, None)
    alice.announced(account=BOB)

    await alice.want("r-alice", "t1", output_dir=bob.item_of("r-alice", "t1")["output_dir"])
    await department.collect()

    assert await alice.stored("t1", run_id="r-alice") == {}
    assert "its jobs ran as the account sh-bob" in (await alice.collection("t1", "r-alice")).reason
    assert department.shells.commands_run == 0


async def test_the_service_s_own_account_reads_what_it_ran_for_an_owner(shared: Department) -> None:
    own = shared.of(SERVICE)
    own.run_columns = {"owner": ALICE, "document_sha256": "asked here"}

    await own.task("t1", {b"a": b"x"}, run_id="r-alice")
    await shared.collect()

    assert await own.stored("t1", run_id="r-alice") == {b"a": b"x"}


async def test_what_the_service_ran_for_one_owner_is_not_another_s(shared: Department) -> None:
    own = shared.of(SERVICE)
    own.leave("r-bob", "t1", SECRETS, None, SECRET, None)
    own.run_columns = {"owner": ALICE}
    theirs = own.item_of("r-bob", "t1")

    await own.want("r-alice", "t1", output_dir=theirs["output_dir"], stdout_path=theirs["stdout_path"])
    own.leave("r-alice", "t2", {b"a": b"x"}, None, None, None)
    await own.want("r-alice", "t2", stdout_path=theirs["stdout_path"])
    await shared.collect()

    assert await own.stored("t1", run_id="r-alice") == {}
    assert await own.stored("t2", Place.STDOUT, "r-alice") == {}
    assert f"belongs to the account {SERVICE}" in (await own.collection("t1", "r-alice")).reason


async def test_an_account_that_is_closed_meanwhile_fails_its_own_items_and_holds_up_nobody(
    department: Department,
) -> None:
    for account in (ALICE, BOB):
        for number in range(3):
            await department.of(account).task(f"t{number}", {b"a": b"x"}, run_id=f"r-{account}")
    department.shut(ALICE)

    await department.collect()

    alice, bob = department.of(ALICE), department.of(BOB)
    for number in range(3):
        collection = await alice.collection(f"t{number}", f"r-{ALICE}")
        assert (await alice.item(f"t{number}", f"r-{ALICE}")).outputs_state == "failed"
        assert REFUSALS[department.cluster.as_whom] in collection.reason
        assert collection.due_at is not None
        assert collection.failures == 1
        assert await bob.stored(f"t{number}", run_id=f"r-{BOB}") == {b"a": b"x"}
    assert await alice.cluster_error() is None


async def test_what_an_operator_has_mended_is_collected_as_soon_as_somebody_asks(
    sudoing: Department, sudo: Installed
) -> None:
    alice = sudoing.of(ALICE)
    await alice.task("t1", {b"a": b"x"}, run_id="r-alice")
    sudo.rule.rename(sudo.rule.with_name(f"{sudo.rule.name}.new"))
    await sudoing.collect()
    assert (await alice.item("t1", "r-alice")).outputs_state == "failed"
    sudo.rule.with_name(f"{sudo.rule.name}.new").rename(sudo.rule)

    sudoing.change()
    await alice.want("r-alice", "t1")
    await sudoing.collect()

    assert await alice.stored("t1", run_id="r-alice") == {b"a": b"x"}
    assert (await alice.item("t1", "r-alice")).outputs_state == "collected"


async def test_an_account_that_the_cluster_does_not_have_is_said(whichever: Department) -> None:
    alice = whichever.of(ALICE)
    whichever.change(accounts={"ada@uni": "sh-nobody-such"})
    alice.run_columns = {"owner": "ada@uni"}

    alice.close_home(0o755)
    await alice.task("t1", {b"a": b"x"})
    alice.close_home(0o755)
    await whichever.collect()

    assert (await alice.item("t1")).outputs_state == "failed"
    assert "sh-nobody-such" in (await alice.collection("t1")).reason
    assert await alice.cluster_error() is None


async def test_a_home_that_was_removed_is_a_place_without_files(department: Department) -> None:
    alice, bob = department.of(ALICE), department.of(BOB)
    await alice.task("t1", {b"a": b"x"}, run_id="r-alice", is_recorded=False)
    await bob.task("t1", {b"b": b"x"}, run_id="r-bob")
    shutil.rmtree(alice.home)

    await department.collect()

    assert await bob.stored("t1", run_id="r-bob") == {b"b": b"x"}
    assert await alice.cluster_error() is None


async def test_carol_is_nobody_s_and_read_as_herself(department: Department) -> None:
    department.change(accounts={"ada@uni": ALICE})
    carol = department.of(CAROL)
    carol.run_columns = {"owner": f"uni:{CAROL}", "account": CAROL}

    await carol.task("t1", {b"a": b"x"}, run_id="r-carol")
    await department.collect()

    assert await carol.stored("t1", run_id="r-carol") == {b"a": b"x"}
