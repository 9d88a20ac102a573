"""Everything that is called stored is in the store, or verify says what is not, and has it collected again."""

import hashlib
import signal
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scripthut_common.errors import NotFound
from scripthut_outputs.catalog.relying import Relied
from scripthut_outputs.catalog.verifying import Scope, Verified
from scripthut_outputs.retention.mending import Mender
from scripthut_outputs.verifying import Fault, Verifier, What
from tests.integration.outputs.house import House
from tests.integration.outputs.keeping import change, damage, ended_task, keep_files, keeper, let_grace_pass, listed
from tests.integration.outputs.test_commands import run
from tests.integration.outputs.test_sweep import die

FILES = {b"a.txt": b"first", b"b.txt": b"second", b"c.txt": b"third"}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
async def kept(house: House) -> dict[bytes, str]:
    """Two runs on two clusters: three files of one, and one of the other that equals one of them."""
    await ended_task(house)
    hashes = await keep_files(house, FILES)
    await ended_task(house, "t9", "r2")
    await keep_files(house, {b"same": b"first"}, "t9", "r2")
    await change(house, "UPDATE outputs.runs SET cluster = 'eiger' WHERE run_id = 'r2'")
    await change(house, "UPDATE outputs.collections SET due_at = NULL")
    return hashes


async def faults(house: House, scope: Scope | None = None, **options: Any) -> list[Fault]:
    verifier = Verifier(Verified(house.database), house.blobs, **options)
    return [fault async for fault in verifier.look(scope or Scope())]


async def rows(house: House, run_id: str = "r1") -> dict[bytes, Any]:
    found = await house.rows(f"SELECT * FROM outputs.files WHERE run_id = '{run_id}'")
    return {row.path: row for row in found}


async def wanted(house: House) -> set[str]:
    due = await house.rows("SELECT task_id FROM outputs.collections WHERE due_at IS NOT NULL")
    return {row.task_id for row in due}


def verify(house: House, uri: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return run("verify", *arguments, database_url=uri, blobs_url=store_of(house))


def set_aside(house: House) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(store_of(house), "damaged").iterdir()}


def store_of(house: House) -> str:
    return str(Path(str(house.blobs.local_path("0" * 64))).parents[2])


async def test_a_store_that_has_everything_is_fine(house: House, kept: dict[bytes, str]) -> None:
    verifier = Verifier(Verified(house.database), house.blobs)

    assert [fault async for fault in verifier.look(Scope())] == []
    assert (verifier.blobs_seen, verifier.bytes_read) == (3, 16)


async def test_what_is_missing_damaged_or_cut_is_found_with_its_files(house: House, kept: dict[bytes, str]) -> None:
    house.lose(kept[b"a.txt"])
    damage(house, kept[b"b.txt"], b"SECOND")
    damage(house, kept[b"c.txt"], b"thi")

    found = {fault.sha256: fault for fault in await faults(house)}

    assert {sha256: fault.what for sha256, fault in found.items()} == {
        sha(b"first"): What.MISSING,
        sha(b"second"): What.DAMAGED,
        sha(b"third"): What.DAMAGED,
    }
    missing, cut = found[sha(b"first")], found[sha(b"third")]
    assert (missing.files, missing.examples) == (2, ("r1/t0 a.txt", "r2/t9 same"))
    assert (cut.expected_bytes, cut.found_bytes, cut.is_repaired) == (5, 3, False)


async def test_fast_believes_sizes(house: House, kept: dict[bytes, str]) -> None:
    damage(house, kept[b"b.txt"], b"SECOND")
    damage(house, kept[b"c.txt"], b"thi")

    assert [(fault.what, fault.sha256) for fault in await faults(house, is_fast=True)] == [
        (What.DAMAGED, sha(b"third"))
    ]


async def test_a_wrong_size_in_the_ledger_is_no_damage_and_is_corrected(house: House, kept: dict[bytes, str]) -> None:
    await change(house, "UPDATE outputs.files SET stored_bytes = 77 WHERE path = 'a.txt'")

    found = await faults(house, is_fast=True, is_repairing=True)

    assert [(fault.what, fault.expected_bytes, fault.found_bytes) for fault in found] == [(What.SIZE_DIFFERS, 77, 5)]
    assert await faults(house) == []
    assert (await rows(house))[b"a.txt"].state == "stored"


async def test_one_cluster_or_one_run_can_be_looked_at(house: House, kept: dict[bytes, str]) -> None:
    house.lose(kept[b"a.txt"])
    house.lose(kept[b"b.txt"])

    assert {fault.sha256 for fault in await faults(house, Scope(cluster="eiger"))} == {sha(b"first")}
    assert {fault.sha256 for fault in await faults(house, Scope(run_id="r1"))} == {sha(b"first"), sha(b"second")}
    with pytest.raises(NotFound, match="nowhere"):
        await faults(house, Scope(cluster="nowhere"))


async def test_what_is_lost_is_given_up_and_wanted_again(house: House, kept: dict[bytes, str]) -> None:
    house.lose(kept[b"a.txt"])
    damage(house, kept[b"b.txt"], b"SECOND")
    version = (await house.reading.head("r2")).version

    assert all(fault.is_repaired for fault in await faults(house, is_repairing=True))

    ours, theirs = await rows(house), await rows(house, "r2")
    assert [ours[path].state for path in FILES] == ["purged", "purged", "stored"]
    assert theirs[b"same"].state == "purged"
    assert ours[b"b.txt"].reason.startswith("damaged in the store on 20")
    assert ours[b"a.txt"].reason.startswith("missing from the store on 20")
    assert ours[b"a.txt"].reason.endswith("; being collected again")
    assert await wanted(house) == {"t0", "t9"}
    assert (await house.reading.head("r2")).version > version
    assert set_aside(house) == {kept[b"b.txt"]: b"SECOND"}
    assert await listed(house) == {kept[b"c.txt"]}
    assert await faults(house) == []
    assert "being collected again" in (await house.get("/runs/r1/tasks/t0/outputs/file/b.txt")).json()["detail"]


async def test_a_task_that_lies_nowhere_cannot_be_collected_again(house: House, kept: dict[bytes, str]) -> None:
    await change(house, "UPDATE outputs.items SET output_dir = NULL WHERE run_id = 'r1'")
    house.lose(kept[b"b.txt"])

    await faults(house, is_repairing=True)

    reason = (await rows(house))[b"b.txt"].reason
    assert reason.startswith("missing from the store on 20")
    assert "collected again" not in reason
    assert await wanted(house) == set()


async def test_bytes_that_another_task_brings_back_heal_every_file_that_had_them(
    house: House, kept: dict[bytes, str]
) -> None:
    house.lose(kept[b"a.txt"])
    await faults(house, is_repairing=True)
    mender = Mender(Verified(house.database), Relied(house.database), house.blobs)
    assert await mender.mend() == 0
    await ended_task(house, "t1", "r3")
    await keep_files(house, {b"another copy": b"first"}, "t1", "r3")

    assert await mender.mend() == 2

    assert (await rows(house))[b"a.txt"].state == (await rows(house, "r2"))[b"same"].state == "stored"
    assert (await rows(house))[b"a.txt"].reason is None
    assert (await house.get("/runs/r1/tasks/t0/outputs/file/a.txt")).content == b"first"
    assert await faults(house) == []


async def test_nothing_is_healed_by_a_blob_that_is_not_there(house: House, kept: dict[bytes, str]) -> None:
    house.lose(kept[b"a.txt"])
    await change(house, "UPDATE outputs.files SET state = 'purged', removal = 'damage' WHERE run_id = 'r2'")

    assert await Mender(Verified(house.database), Relied(house.database), house.blobs).mend() == 0


async def test_what_retention_removed_is_not_healed(house: House, kept: dict[bytes, str]) -> None:
    await change(house, "UPDATE outputs.files SET state = 'purged', removal = 'age' WHERE run_id = 'r2'")

    assert await Mender(Verified(house.database), Relied(house.database), house.blobs).mend() == 0


async def test_blobs_that_nobody_knows_are_found_and_go_after_the_grace(house: House, kept: dict[bytes, str]) -> None:
    stranger = house.keep(b"left by a crash")
    folder = Path(str(house.blobs.local_path(stranger))).parent
    (folder / "not a blob").write_bytes(b"")

    assert [(fault.what, fault.sha256, fault.found_bytes) for fault in await faults(house)] == [
        (What.UNKNOWN, stranger, 15)
    ]
    await let_grace_pass(house)
    await keeper(house).work()
    assert stranger in await listed(house)

    await faults(house, is_repairing=True)
    assert await faults(house) == []
    await keeper(house).work()
    assert stranger in await listed(house)
    await let_grace_pass(house)
    await keeper(house).work()

    assert await listed(house) == set(kept.values())


@pytest.mark.parametrize(
    "step",
    [
        "before set_aside",
        "after set_aside",
        "before commit verifying.give_up",
        "after commit verifying.give_up",
        "before commit verifying.adopt",
    ],
)
async def test_killed_at_any_step_the_next_repair_ends_clean(
    house: House, kept: dict[bytes, str], migrated_uri: str, step: str
) -> None:
    damage(house, kept[b"a.txt"], b"FIRST")
    house.keep(b"left by a crash")

    assert die(migrated_uri, house, "verify", step) == -signal.SIGKILL
    await faults(house, is_repairing=True)

    assert await faults(house) == []
    assert (await rows(house))[b"a.txt"].state == (await rows(house, "r2"))[b"same"].state == "purged"
    assert await wanted(house) == {"t0", "t9"}


async def test_the_exit_status_can_be_trusted(house: House, kept: dict[bytes, str], migrated_uri: str) -> None:
    fine = verify(house, migrated_uri)
    house.lose(kept[b"a.txt"])
    wrong = verify(house, migrated_uri, "--fast")
    told = verify(house, migrated_uri, "--json")
    nowhere = verify(house, migrated_uri, "--run", "nowhere")
    away = verify(house, "postgresql://localhost:1/none")
    repaired = verify(house, migrated_uri, "--repair")
    again = verify(house, migrated_uri)

    assert (fine.returncode, fine.stdout) == (0, "3 blobs looked at (16 B read)\neverything is there\n")
    assert (wrong.returncode, "1 missing" in wrong.stdout, kept[b"a.txt"] in wrong.stdout) == (1, True, True)
    report = msgspec.json.decode(told.stdout)
    assert (told.returncode, report["is_fine"], report["counts"]) == (1, False, {"missing": 1})
    assert report["faults"][0]["examples"] == ["r1/t0 a.txt", "r2/t9 same"]
    assert (nowhere.returncode, away.returncode) == (2, 2)
    assert "not verified" in nowhere.stderr
    assert "not verified" in away.stderr
    assert (repaired.returncode, again.returncode) == (1, 0)


def test_the_help_tells_the_exit_statuses() -> None:
    assert "2 could not check" in " ".join(run("verify", "--help").stdout.split())


async def test_a_pass_can_be_done_and_tried_by_command(
    house: House, kept: dict[bytes, str], migrated_uri: str, tmp_path: Path
) -> None:
    clusters = tmp_path / "clusters.toml"
    clusters.write_text('[clusters.daint]\nscheduler = "localhost"\n[clusters.daint.retention]\nmax_age_days = 1\n')
    await change(house, "UPDATE outputs.items SET ended_at = now() - interval '2 days' WHERE run_id = 'r1'")
    await let_grace_pass(house)
    told = {"database_url": migrated_uri, "blobs_url": store_of(house), "clusters_file": str(clusters)}
    told["sweep_grace_s"] = "3600"

    pinned = run("pin", "r1", "--by", "grace", database_url=migrated_uri)
    kept_all = run("sweep", **told)
    unpinned = run("unpin", "r1", database_url=migrated_uri)
    tried = run("sweep", "--dry-run", **told)
    done = run("sweep", **told)
    nobody = run("pin", "nowhere", database_url=migrated_uri)

    assert (pinned.returncode, pinned.stdout) == (0, "r1 is pinned\n")
    assert kept_all.stdout == "removed: 0 files of 0 runs\nswept: 0 blobs, 0 B\n"
    assert (unpinned.returncode, unpinned.stdout) == (0, "r1 is no longer pinned\n")
    assert "would be removed: 3 files of 1 runs\n" in tried.stdout
    assert "removed: 3 files, 16 B of run r1 on daint (age)\n" in done.stdout
    assert "swept: 2 blobs, 11 B\n" in done.stdout
    assert nobody.returncode == 1
    assert await listed(house) == {kept[b"a.txt"]}


async def test_storage_says_who_holds_what(house: House, kept: dict[bytes, str], migrated_uri: str) -> None:
    await keep_files(house, {b"equal to a": b"first"})
    await change(house, "UPDATE outputs.runs SET owner = 'bob' WHERE run_id = 'r2'")

    told = run("storage", "--json", database_url=migrated_uri)
    table = run("storage", database_url=migrated_uri)

    ada = {"cluster": "daint", "owner": "ada", "runs": 1, "files": 4, "unique_bytes": 11, "shared_bytes": 5}
    bob = {"cluster": "eiger", "owner": "bob", "runs": 1, "files": 1, "unique_bytes": 0, "shared_bytes": 5}
    assert msgspec.json.decode(told.stdout) == {"shares": [ada, bob], "blobs": 3, "blob_bytes": 16}
    assert table.stdout.splitlines()[1].split() == ["daint", "ada", "1", "4", "11", "B", "5", "B"]
