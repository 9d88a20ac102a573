"""Jobs that two people submit by hand to a real Slurm become runs, seen by one poller account through real sshd."""

import asyncio
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from scripthut_common import layout, migrating
from scripthut_common.clusters import Cluster, Patience, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import Evidence, ItemEvent, Outcome, Type
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.ssh import SshShell
from scripthut_poller.adopting import Adopting
from scripthut_poller.budget import Budget
from scripthut_poller.leasing import Leasing
from scripthut_poller.metrics import Metrics
from scripthut_poller.migrations import MIGRATIONS
from scripthut_poller.schedulers.slurm import Slurm
from scripthut_poller.schedulers.slurm.scans import SlurmScanner
from scripthut_poller.sites import Site
from scripthut_poller.watchlist import adoptions
from tests.integration.poller.house import House, running, write_clusters
from tests.integration.poller.told import rows, run_row
from tests.testbed.accounts import ALICE, BOB, CAROL
from tests.testbed.databases import Databases
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

SCRIPT = Path(__file__).parents[3] / "deploy" / "scripthut-env.sh"
STRICT = "#!/bin/bash\nset -euo pipefail\n"


class Lab:
    """A cluster that Alice's account watches, and a place that everyone may write to and read."""

    def __init__(self, slurm: SlurmCluster, login: Sshd, shared: Path) -> None:
        self.slurm = slurm
        self.shared = shared
        self.log_dir = shared / "logs"
        self.gate = shared / "gate"
        self.log_dir.mkdir(mode=0o777)
        self.script = shared / SCRIPT.name
        shutil.copy(SCRIPT, self.script)
        self.name = shared.name.replace("_", "-")
        for folder in (self.log_dir, self.log_dir / "outputs", self.log_dir / "announced"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o1777)
        self.cluster = Cluster(
            scheduler=SchedulerKind.SLURM,
            name="here",
            host=login.host,
            port=login.port,
            user=ALICE,
            key_file=str(login.key(ALICE)),
            known_hosts_file=str(login.known_hosts),
            log_dir=str(slurm.directory_of(ALICE) / self.name),
            adopt=(BOB,),
            adopt_log_dir=str(self.log_dir),
            adopt_interval_s=1.0,
            poll_interval_s=1.0,
            patience=Patience(young_s=1.0),
        )

    def submit(self, command: str, *options: str, user: str = BOB, log_dir: str | None = None) -> str:
        """Hand in a script of a user's own that has our one line in it."""
        text = f"{STRICT}export SCRIPTHUT_LOG_DIR={log_dir or self.log_dir}\nsource {self.script}\n{command}\n"
        return self.slurm.submit(text, *options, user=user)

    def open_gate(self) -> None:
        """Let jobs that wait for the gate go on."""
        self.gate.touch()

    def plain(self, command: str, *options: str, user: str = BOB) -> str:
        """Hand in a script that knows nothing of us."""
        return self.slurm.submit(f"#!/bin/bash\n{command}\n", *options, user=user)

    def tag(self, task_id: str, run: str = "run") -> str:
        return f"--comment=scripthut:{self.run(run)}/{task_id}"

    def run(self, name: str = "run") -> str:
        """Name a run that no other test has."""
        return f"{name}-{self.name}"


@pytest.fixture
def lab(slurm: SlurmCluster, sshd: Sshd) -> Iterator[Lab]:
    shared = Path(tempfile.mkdtemp(prefix="sh-lab-", dir="/tmp"))
    shared.chmod(0o755)
    lab = Lab(slurm, sshd, shared)
    yield lab
    slurm.run("scancel", f"--user={BOB}")
    slurm.run("scancel", f"--user={ALICE}")
    slurm.run("scancel", f"--user={CAROL}")
    shutil.rmtree(shared, ignore_errors=True)


@pytest.fixture
async def shell(lab: Lab) -> AsyncIterator[SshShell]:
    shell = SshShell(lab.cluster)
    yield shell
    await shell.close()


@pytest.fixture
async def adopting(database: Database, lab: Lab, shell: SshShell) -> Adopting:
    lease = Leasing(database, "here", "this poller", lease_s=600)
    await lease.step()
    cluster = msgspec.structs.replace(lab.cluster, adopt=(ALICE, BOB, CAROL))
    site = Site(
        cluster=cluster,
        scheduler=Slurm(),
        shells=AccountShells(cluster, lambda _: shell),
        lease=lease,
        budget=Budget(100_000),
        metrics=Metrics(CollectorRegistry()).of(cluster.name),
    )
    return Adopting(database, site, SlurmScanner())


@pytest.fixture
def closed_home(lab: Lab) -> Iterator[Path]:
    """Bob's home, which nobody else may enter."""
    home = Path(pwd.getpwnam(BOB).pw_dir)
    mode = home.stat().st_mode
    home.chmod(0o700)
    yield home
    home.chmod(mode)
    shutil.rmtree(home / lab.name, ignore_errors=True)


@pytest.fixture
async def unused_uri(databases: Databases) -> AsyncIterator[str]:
    """The database of a poller that knows nothing yet."""
    uri = databases.create()
    database = Database(uri)
    await migrating.upgrade(database, MIGRATIONS)
    await database.close()
    yield uri
    databases.drop(uri)


def text_of(*path: str) -> str:
    return Path(*path).read_text()


def exists(*path: str | Path) -> bool:
    return Path(*path).exists()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  Slurm sets no event
            await asyncio.sleep(0.1)


async def _until_it_is(lab: Lab, job_id: str, state: str) -> None:
    await _until(lambda: lab.slurm.run("squeue", "-h", "-t", "all", "-j", job_id, "-o", "%T").split()[:1] == [state])


async def test_tagged_jobs_of_two_people_are_found_alive_and_nobody_elses(
    database: Database, lab: Lab, adopting: Adopting
) -> None:
    by_bob = lab.plain("sleep 60", lab.tag("solve"))
    by_alice = lab.plain("sleep 60", lab.tag("mesh", "hers"), "--hold", user=ALICE)
    lab.plain("sleep 60", "--hold")

    await adopting.step()

    assert {task: row.job_id for task, row in (await rows(database, lab.run())).items()} == {"solve": by_bob}
    assert {task: row.job_id for task, row in (await rows(database, lab.run("hers"))).items()} == {"mesh": by_alice}
    assert (await run_row(database, lab.run())).owner == BOB


async def test_a_stranger_gets_into_nobodys_run_whatever_the_comment_holds(
    database: Database, lab: Lab, adopting: Adopting
) -> None:
    lab.plain("sleep 60", lab.tag("solve"))
    await adopting.step()
    forged = f"x\n1|1795457268|{BOB}|scripthut:{lab.run()}/forged"
    comments = (f"scripthut:{lab.run()}/stolen", forged, "scripthut:../../x", "scripthut:r/\n../x")
    stolen, no_tag, *climbing = [lab.plain("true", f"--comment={one}", "--hold", user=ALICE) for one in comments]

    with capture_logs() as logs:
        await adopting.step()

    refused = {one["job_id"] for one in logs if one["event"] == "job_not_adopted"}
    assert list(await rows(database, lab.run())) == ["solve"]
    assert {stolen, *climbing} <= refused
    assert no_tag not in refused


async def test_every_element_of_a_pending_array_is_an_item(database: Database, lab: Lab, adopting: Adopting) -> None:
    job_id = lab.plain("true", lab.tag("part"), "--hold", "--array=1-9:2,20%2", user=CAROL)

    await adopting.step()
    await adopting.step()

    found = {task: row.job_id for task, row in (await rows(database, lab.run())).items()}
    assert found == {f"part.{index}": f"{job_id}_{index}" for index in (1, 3, 5, 7, 9, 20)}


async def test_a_heterogeneous_job_is_one_item(database: Database, lab: Lab, adopting: Adopting) -> None:
    script = "#!/bin/bash\n#SBATCH hetjob\n#SBATCH --ntasks=1\ntrue\n"
    job_id = lab.slurm.submit(script, lab.tag("het"), "--hold", user=BOB)

    await adopting.step()

    assert [row.job_id for row in (await rows(database, lab.run())).values()] == [job_id]


async def test_announcements_of_other_peoples_jobs_and_false_files_count_for_nothing(
    database: Database, lab: Lab, adopting: Adopting, sshd: Sshd
) -> None:
    hers = lab.plain("sleep 60", "--hold", user=ALICE)
    his = lab.plain("sleep 60", "--hold")
    announced = f"{lab.log_dir}/announced"
    sshd.run(BOB, f"touch {announced}/{hers},{lab.run()},stolen")
    sshd.run(BOB, f"ln -s /etc/passwd {announced}/{his},{lab.run()},linked")
    sshd.run(ALICE, f"touch {announced}/{his},{lab.run()},hers")

    await adopting.step()

    assert await run_row(database, lab.run()) is None


def _ended(house: House, run_id: str) -> dict[str, ItemEvent]:
    ends = (one.data for one in house.told if one.type is Type.ITEM_COMPLETED)
    return {one.task_id: one for one in ends if isinstance(one, ItemEvent) and one.run_id == run_id}


async def _until_ended(house: House, run_id: str, *task_ids: str) -> dict[str, ItemEvent]:
    """Wait until these have ended; other tests' jobs are found as well."""
    await house.until(lambda _: _ended(house, run_id).keys() >= set(task_ids))
    return _ended(house, run_id)


async def test_jobs_that_ended_while_the_poller_was_down_are_found_after_the_fact(
    database: Database, database_uri: str, lab: Lab, tmp_path: Path
) -> None:
    fine = lab.plain("true", lab.tag("fine"))
    bad = lab.submit("echo partial > $SCRIPTHUT_TASK_SUMMARY; exit 7", lab.tag("bad"))
    untagged = lab.submit("true")
    for job_id in (fine, bad, untagged):
        await asyncio.to_thread(lab.slurm.wait_ended, job_id)

    async with running(database_uri, write_clusters(tmp_path / "clusters.toml", lab.cluster)) as house:
        found = await _until_ended(house, lab.run(), "fine", "bad")
        (alone,) = (await _until_ended(house, f"slurm-testbed-{untagged}", "job")).values()

        assert {task: (one.outcome, one.exit_code) for task, one in found.items()} == {
            "fine": (Outcome.SUCCEEDED, 0),
            "bad": (Outcome.FAILED, 7),
        }
        assert (alone.outcome, alone.job_id, alone.owner) == (Outcome.SUCCEEDED, untagged, BOB)
        assert text_of(found["bad"].output_dir, "task-summary.md") == "partial\n"
        assert await house.faults() == {}


async def test_where_accounting_is_away_the_exit_record_of_the_env_script_decides(
    database: Database, database_uri: str, lab: Lab, tmp_path: Path
) -> None:
    job_id = lab.submit(f"while [ ! -e {lab.gate} ]; do sleep 0.1; done; exit 9", lab.tag("alone"))
    await _until_it_is(lab, job_id, "RUNNING")

    async with running(database_uri, write_clusters(tmp_path / "clusters.toml", lab.cluster)) as house:
        await house.until(lambda one: one.type is Type.ITEM_SUBMITTED)
        with lab.slurm.without(lab.slurm.slurmdbd):
            lab.open_gate()
            found = (await _until_ended(house, lab.run(), "alone"))["alone"]

            assert (found.outcome, found.exit_code, found.evidence) == (Outcome.FAILED, 9, Evidence.EXIT_RECORD)


async def test_a_home_that_is_closed_to_us_leaves_accounting_alone_to_decide(
    database: Database, database_uri: str, lab: Lab, closed_home: Path, tmp_path: Path
) -> None:
    cluster = msgspec.structs.replace(lab.cluster, adopt_log_dir=f"~/{lab.name}")
    job_id = lab.submit("exit 5", lab.tag("closed"), log_dir=f"'~/{lab.name}'")
    await asyncio.to_thread(lab.slurm.wait_ended, job_id)

    async with running(database_uri, write_clusters(tmp_path / "clusters.toml", cluster)) as house:
        found = (await _until_ended(house, lab.run(), "closed"))["closed"]

        assert (found.outcome, found.confirmed) == (Outcome.FAILED, True)
        assert "exit code 5" in (found.reason or "")
        assert found.output_dir == f"{closed_home}/{lab.name}/outputs/{lab.run()}/closed"
        assert await house.faults() == {}
    assert exists(closed_home, lab.name, "outputs", lab.run(), "_run", "closed.manifest")


async def test_a_tag_in_the_script_names_the_same_task_for_job_and_scan(
    database: Database, lab: Lab, adopting: Adopting
) -> None:
    script = f"{STRICT[:12]}#SBATCH --comment=scripthut:{lab.run()}/inside\nexport SCRIPTHUT_LOG_DIR={lab.log_dir}\n"
    job_id = lab.slurm.submit(f"{script}set -euo pipefail\nsource {lab.script}\nexit 3\n", "--array=4-5", user=CAROL)
    await asyncio.to_thread(lab.slurm.wait_ended, f"{job_id}_4")
    await asyncio.to_thread(lab.slurm.wait_ended, f"{job_id}_5")

    await adopting.step()

    found = await rows(database, lab.run())
    assert {task: row.job_id for task, row in found.items()} == {f"inside.{n}": f"{job_id}_{n}" for n in (4, 5)}
    for task in found:
        assert exists(layout.manifest_path(str(lab.log_dir), lab.run(), task))


def _moves(house: House, run_id: str) -> list[ItemEvent]:
    return [one.data for one in house.told if isinstance(one.data, ItemEvent) and one.data.run_id == run_id]


async def test_a_requeued_job_is_one_item_and_its_second_attempt_decides(
    database: Database, database_uri: str, unused_uri: str, lab: Lab, tmp_path: Path
) -> None:
    command = 'echo "$SCRIPTHUT_ATTEMPT" >> $SCRIPTHUT_OUTPUT_DIR/attempts; [ "$SCRIPTHUT_ATTEMPT" = 2 ] || sleep 600'
    job_id = lab.submit(f"{command}; exit 6", lab.tag("again"), "--requeue")
    clusters_file = write_clusters(tmp_path / "clusters.toml", lab.cluster)

    async with running(database_uri, clusters_file) as house:
        await house.until(lambda _: any(one.started_at for one in _moves(house, lab.run())))
        lab.slurm.run("scontrol", "requeue", job_id)
        await asyncio.to_thread(lab.slurm.start_requeued, job_id)
        seen = (await _until_ended(house, lab.run(), "again"))["again"]
        moves = _moves(house, lab.run())
    await asyncio.to_thread(lab.slurm.wait_ended, job_id)
    async with running(unused_uri, clusters_file) as house:
        found = (await _until_ended(house, lab.run(), "again"))["again"]

    for one in (seen, found):
        assert (one.job_id, one.attempt, one.outcome, one.exit_code) == (job_id, 2, Outcome.FAILED, 6)
    assert {one.task_id for one in moves} == {"again"}
    assert {one.attempt for one in moves if one.outcome} == {2}
    assert {one.attempt for one in moves} == {1, 2}
    assert text_of(seen.output_dir, "attempts") == "1\n2\n"
    manifest = text_of(layout.manifest_path(str(lab.log_dir), lab.run(), "again")).split("\0")
    assert manifest[1:5] == ["6", "2", job_id, f"adopted-{job_id}"]


async def test_while_adoption_is_off_not_one_command_is_run(
    database: Database, database_uri: str, lab: Lab, tmp_path: Path
) -> None:
    cluster = msgspec.structs.replace(lab.cluster, adopt="off")
    lab.plain("sleep 60", lab.tag("solve"), "--hold")

    async with running(database_uri, write_clusters(tmp_path / "clusters.toml", cluster)) as house:
        await house.until(lambda one: one.type is Type.CLUSTER_OBSERVED)
        await asyncio.sleep(3)

        assert [shell.commands_run for shell in house.service.shells] == [0]
    assert await adoptions.scanned_at(database, "here") is None
