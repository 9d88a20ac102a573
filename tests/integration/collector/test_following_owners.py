"""Following running tasks as the owners of their runs, whose homes are closed to the service."""

import pytest

from tests.integration.collector.department import Department
from tests.testbed.accounts import ACCOUNTS, ALICE, BOB

SECRETS = {b"secret": b"bob's own"}


async def test_what_each_owner_s_task_writes_is_shown_while_it_runs(department: Department) -> None:
    for account in ACCOUNTS:
        folder = await department.of(account).runs("t1", {b"mine": account.encode()}, run_id=f"r-{account}")
    await department.look()
    before = {account: await department.of(account).stored("t1", run_id=f"r-{account}") for account in ACCOUNTS}
    (folder / "mine").write_bytes(b"more of it")

    await department.look()

    assert before == {account: {b"mine": account.encode()} for account in ACCOUNTS}
    last = ACCOUNTS[-1]
    assert await department.of(last).stored("t1", run_id=f"r-{last}") == {b"mine": b"more of it"}
    assert department.shells.commands_run == 2 * len(ACCOUNTS)


async def test_one_command_looks_for_all_where_one_account_reads(shared: Department) -> None:
    for account in ACCOUNTS:
        owner = shared.of(account).announced()
        await owner.runs("t1", {b"mine": account.encode()}, run_id=f"r-{account}")
        owner.close_home(0o755)

    await shared.look()

    for account in ACCOUNTS:
        assert await shared.of(account).stored("t1", run_id=f"r-{account}") == {b"mine": account.encode()}
    assert shared.shells.commands_run == 1


@pytest.mark.parametrize("mode", [0o700, 0o755])
async def test_a_running_item_announced_with_another_s_directory_shows_nothing(
    whichever: Department, mode: int
) -> None:
    alice, bob = whichever.of(ALICE), whichever.of(BOB)
    bob.leave("r-alice", "t1", SECRETS, b"fragment", b"log", b"log")
    bob.close_home(mode)
    theirs = bob.item_of("r-alice", "t1")
    await alice.announced().runs(
        "t1", run_id="r-alice", output_dir=theirs["output_dir"], stdout_path=theirs["stdout_path"]
    )

    await whichever.look()

    assert await alice.states("t1", "r-alice") in ({}, {b".": "unreadable"})
    assert await alice.item("t1", "r-alice")


async def test_what_was_shown_stays_when_the_directory_is_somebody_else_s_by_now(whichever: Department) -> None:
    alice, bob = whichever.of(ALICE), whichever.of(BOB)
    folder = await alice.announced().runs("t1", {b"mine": b"x"}, run_id="r-alice")
    for owner in (alice, bob):
        owner.close_home(0o755)
    await whichever.look()
    (bob.log_dir / "theirs").mkdir()
    bob.give_away()
    folder.rename(folder.with_name("away"))
    (bob.log_dir / "theirs").rename(folder)

    await whichever.look()

    assert await alice.stored("t1", run_id="r-alice") == {b"mine": b"x"}


async def test_an_account_that_is_closed_keeps_no_other_from_being_followed(department: Department) -> None:
    for account in (ALICE, BOB):
        await department.of(account).runs("t1", {b"mine": b"x"}, run_id=f"r-{account}")
    department.shut(ALICE)

    await department.look()

    assert await department.of(ALICE).stored("t1", run_id=f"r-{ALICE}") == {}
    assert await department.of(BOB).stored("t1", run_id=f"r-{BOB}") == {b"mine": b"x"}
