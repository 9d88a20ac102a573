"""Jobs that people hand in by hand to a stand-in for PBS, over real sshd, and how a poller finds them."""

import asyncio
import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from scripthut_common import layout
from scripthut_common.clusters import Cluster, Patience, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import Evidence, ItemEvent, Outcome, Type
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.ssh import SshShell
from scripthut_poller.adopting import Adopting
from scripthut_poller.budget import Budget
from scripthut_poller.leasing import Leasing
from scripthut_poller.metrics import Metrics
from scripthut_poller.schedulers.pbs import Pbs
from scripthut_poller.schedulers.pbs.scans import PbsScanner
from scripthut_poller.sites import Site
from tests.integration.poller.house import House, running, write_clusters
from tests.integration.poller.told import rows, run_row
from tests.testbed.accounts import ALICE, BOB, CAROL
from tests.testbed.pbs import PbsCluster
from tests.testbed.sshd import Sshd

SCRIPT = Path(__file__).parents[3] / "deploy" / "scripthut-env.sh"
PATHS = ("OUTPUT_DIR", "TASK_SUMMARY", "RUN_SUMMARY", "RUN_ID", "TASK_ID", "ATTEMPT", "JOB_ID")


class Lab:
    """A cluster that Alice's account watches, and a place that everyone may write to and read."""

    def __init__(self, login: Sshd, shared: Path) -> None:
        self._login = login
        self._ids: list[tuple[str, str]] = []
        self.gate = shared / "gate"
        self.log_dir = shared / "logs"
        self.script = shared / SCRIPT.name
        shutil.copy(SCRIPT, self.script)
        self.name = shared.name.replace("_", "-")
        for folder in (self.log_dir, self.log_dir / "outputs", self.log_dir / "announced"):
            folder.mkdir()
            folder.chmod(0o1777)
        self.cluster = Cluster(
            scheduler=SchedulerKind.PBS,
            name="here",
            host=login.host,
            port=login.port,
            user=ALICE,
            key_file=str(login.key(ALICE)),
            known_hosts_file=str(login.known_hosts),
            log_dir=f"~/{self.name}",
            adopt=(BOB,),
            adopt_log_dir=str(self.log_dir),
            adopt_interval_s=1.0,
            poll_interval_s=1.0,
            commands_per_minute=1000,
            patience=Patience(young_s=1.0),
        )

    def plain(self, command: str, *options: str, user: str = BOB) -> str:
        """Hand in a script that knows nothing of us; return its id."""
        words = shlex.join(["qsub", "-o", "/dev/null", "-e", "/dev/null", *options])
        job_id = self._login.run(user, words, f"#!/bin/bash\n{command}\n").strip()
        self._ids.append((user, job_id))
        return job_id

    def submit(self, command: str, *options: str, user: str = BOB) -> str:
        """Hand in a script of a user's own that has our one line in it."""
        lines = ("set -euo pipefail", f"export SCRIPTHUT_LOG_DIR={self.log_dir}", f"source {self.script}", command)
        return self.plain("\n".join(lines), *options, user=user)

    def tag(self, task_id: str, run: str = "run") -> str:
        """Write the option that docs/authors.md tells people to write."""
        return f"-vSCRIPTHUT_TAG={self.run(run)}/{task_id}"

    def run(self, name: str = "run") -> str:
        """Name a run that no other test has."""
        return f"{name}-{self.name}"

    def shown(self, job_id: str) -> str:
        """Say how qstat shows a job, as its owner sees it."""
        return self._login.run(BOB, f"qstat -E -x -f -F dsv -D '|' '{job_id}'")

    async def until_it_shows(self, job_id: str, field: str) -> None:
        """Wait until qstat shows a job with this field."""
        async with asyncio.timeout(60):
            while f"|{field}|" not in await asyncio.to_thread(self.shown, job_id):  # noqa: ASYNC110  PBS sets no event
                await asyncio.sleep(0.2)

    async def until_ended(self, *job_ids: str) -> None:
        for job_id in job_ids:
            await self.until_it_shows(job_id, "job_state=F")

    def wait_for_gate(self) -> str:
        """Write what has a script wait until the gate is opened."""
        return f"while [ ! -e {self.gate} ]; do sleep 0.1; done"

    def clear(self) -> None:
        for user, job_id in self._ids:
            self._login.run(user, f"qdel '{job_id}' || :")


@pytest.fixture
def lab(pbs: PbsCluster, pbs_login: Sshd) -> Iterator[Lab]:
    shared = Path(tempfile.mkdtemp(prefix="sh-lab-", dir="/tmp"))
    shared.chmod(0o755)
    lab = Lab(pbs_login, shared)
    yield lab
    lab.clear()
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
        scheduler=Pbs(),
        shells=AccountShells(cluster, lambda _: shell),
        lease=lease,
        budget=Budget(100_000),
        metrics=Metrics(CollectorRegistry()).of(cluster.name),
    )
    return Adopting(database, site, PbsScanner())


@pytest.fixture
def clusters_file(lab: Lab, tmp_path: Path) -> Path:
    return write_clusters(tmp_path / "clusters.toml", lab.cluster)


def _text(path: str) -> str:
    return Path(path).read_text()


def _touch(path: Path) -> None:
    path.touch()


def _moves(house: House, run_id: str) -> list[ItemEvent]:
    return [one.data for one in house.told if isinstance(one.data, ItemEvent) and one.data.run_id == run_id]


def _ended(house: House, run_id: str) -> dict[str, ItemEvent]:
    ends = (one.data for one in house.told if one.type is Type.ITEM_COMPLETED)
    return {one.task_id: one for one in ends if isinstance(one, ItemEvent) and one.run_id == run_id}


async def _until_ended(house: House, run_id: str, *task_ids: str) -> dict[str, ItemEvent]:
    """Wait until these have ended; other tests' jobs are found as well."""
    await house.until(lambda _: _ended(house, run_id).keys() >= set(task_ids))
    return _ended(house, run_id)


async def test_tagged_jobs_of_two_people_are_found_alive_and_nobody_elses(
    database: Database, lab: Lab, adopting: Adopting
) -> None:
    by_bob = lab.plain("sleep 60", lab.tag("solve"))
    by_alice = lab.plain("sleep 60", lab.tag("mesh", "hers"), "-h", user=ALICE)
    untagged = lab.plain("sleep 60", "-h", "-N", f"scripthut.{lab.run()}.named")

    await adopting.step()

    assert {task: row.job_id for task, row in (await rows(database, lab.run())).items()} == {"solve": by_bob}
    assert {task: row.job_id for task, row in (await rows(database, lab.run("hers"))).items()} == {"mesh": by_alice}
    assert (await run_row(database, lab.run())).owner == BOB
    assert await run_row(database, f"pbs-{untagged}") is None


async def test_a_stranger_gets_into_nobodys_run_whatever_the_variables_hold(
    database: Database, lab: Lab, adopting: Adopting
) -> None:
    lab.plain("sleep 60", lab.tag("solve"))
    await adopting.step()
    stolen, *no_tags, climbing = [
        lab.plain("true", "-h", "-v", one, user=ALICE)
        for one in (
            f"A=1,SCRIPTHUT_TAG={lab.run()}/stolen",
            rf"A=x\,SCRIPTHUT_TAG={lab.run()}/inside",
            f"A=x\nJob Id: 9.pbs01|Job_Owner={BOB}@pbs01|Variable_List=A=1,B=SCRIPTHUT_TAG={lab.run()}/forged",
            "SCRIPTHUT_TAG=../../x",
        )
    ]

    with capture_logs() as logs:
        await adopting.step()

    refused = {one["job_id"] for one in logs if one["event"] == "job_not_adopted"}
    assert list(await rows(database, lab.run())) == ["solve"]
    assert {stolen, climbing} <= refused
    assert refused.isdisjoint(no_tags)


async def test_announcements_of_other_peoples_jobs_and_false_files_count_for_nothing(
    database: Database, lab: Lab, adopting: Adopting, pbs_login: Sshd
) -> None:
    hers, his = lab.plain("sleep 60", "-h", user=ALICE), lab.plain("sleep 60", "-h")
    announced = f"{lab.log_dir}/announced"
    pbs_login.run(BOB, f"touch {announced}/{hers},{lab.run()},stolen")
    pbs_login.run(BOB, f"ln -s /etc/passwd {announced}/{his},{lab.run()},linked")
    pbs_login.run(ALICE, f"touch {announced}/{his},{lab.run()},hers")

    await adopting.step()

    assert await run_row(database, lab.run()) is None


async def test_a_tag_that_a_script_gives_itself_joins_its_owners_run_and_no_other(
    database: Database, lab: Lab, adopting: Adopting
) -> None:
    lab.plain("sleep 60", lab.tag("solve"))
    solve = lab.plain("sleep 60", lab.tag("solve", "again"))
    await adopting.step()
    itself = f"export SCRIPTHUT_LOG_DIR={lab.log_dir} SCRIPTHUT_TAG=%s\nsource {lab.script}"
    mesh = lab.plain(itself % f"{lab.run('again')}/mesh")
    stolen = lab.plain(itself % f"{lab.run()}/stolen", user=CAROL)
    await lab.until_ended(mesh, stolen)

    with capture_logs() as logs:
        await adopting.step()

    joined = await rows(database, lab.run("again"))
    assert {task: row.job_id for task, row in joined.items()} == {"solve": solve, "mesh": mesh}
    assert list(await rows(database, lab.run())) == ["solve"]
    refused = {one["job_id"]: one["tag"] for one in logs if one["event"] == "job_not_adopted"}
    assert refused[stolen] == f"{lab.run()}/stolen"


async def test_every_element_of_an_array_is_an_item_where_its_script_writes(
    database: Database, lab: Lab, adopting: Adopting
) -> None:
    waiting = lab.plain("true", lab.tag("part"), "-h", "-J", "1-9:4")
    ended = lab.submit("exit $PBS_ARRAY_INDEX", "-J", "2-3")
    await lab.until_ended(ended)

    await adopting.step()
    await adopting.step()

    part, whole, number = waiting.removesuffix("[].pbs01"), f"pbs-{ended.replace('[]', '')}", ended.partition("[")[0]
    found = {task: row.job_id for task, row in (await rows(database, lab.run())).items()}
    assert found == {f"part.{index}": f"{part}[{index}].pbs01" for index in (1, 5, 9)}
    found = {task: row.job_id for task, row in (await rows(database, whole)).items()}
    assert found == {f"job.{index}": f"{number}[{index}].pbs01" for index in (2, 3)}
    for index in (2, 3):
        record = _text(layout.manifest_path(str(lab.log_dir), whole, f"job.{index}")).split("\0")
        assert record[1:4] == [str(index), "1", f"{number}[{index}].pbs01"]


async def test_jobs_that_ended_while_the_poller_was_down_are_found_after_the_fact(
    database: Database, database_uri: str, lab: Lab, clusters_file: Path
) -> None:
    fine = lab.plain("true", lab.tag("fine"))
    bad = lab.submit("echo partial > $SCRIPTHUT_TASK_SUMMARY; exit 7", lab.tag("bad"))
    untagged = lab.submit("true", "-N", "a.name.of.his")
    await lab.until_ended(fine, bad, untagged)

    async with running(database_uri, clusters_file) as house:
        found = await _until_ended(house, lab.run(), "fine", "bad")
        (alone,) = (await _until_ended(house, f"pbs-{untagged}", "job")).values()

        assert {task: (one.outcome, one.exit_code) for task, one in found.items()} == {
            "fine": (Outcome.SUCCEEDED, 0),
            "bad": (Outcome.FAILED, 7),
        }
        assert (alone.outcome, alone.job_id, alone.owner) == (Outcome.SUCCEEDED, untagged, BOB)
        assert _text(f"{found['bad'].output_dir}/task-summary.md") == "partial\n"
        assert await house.faults() == {}


async def test_jobs_without_a_tag_are_announced_with_paths_that_the_poller_tells(
    database: Database, database_uri: str, lab: Lab, clusters_file: Path
) -> None:
    names = " ".join(f'"$SCRIPTHUT_{name}"' for name in PATHS)
    note = f'printf "%s\\n" {names} "$PBS_JOBID" "$PBS_ENVIRONMENT" > "$SCRIPTHUT_OUTPUT_DIR/paths"'
    job_id = lab.submit(f"{note}\n{lab.wait_for_gate()}\nexit 4")

    async with running(database_uri, clusters_file) as house:
        run_id = f"pbs-{job_id}"
        await house.until(lambda _: any(one.started_at for one in _moves(house, run_id)))
        _touch(lab.gate)
        found = (await _until_ended(house, run_id, "job"))["job"]

        assert (found.outcome, found.exit_code, found.attempt, found.owner) == (Outcome.FAILED, 4, 1, BOB)
        assert _text(f"{found.output_dir}/paths").splitlines() == [
            found.output_dir,
            f"{found.output_dir}/task-summary.md",
            found.run_summary_path,
            run_id,
            "job",
            "1",
            job_id,
            job_id,
            "PBS_BATCH",
        ]
        assert found.output_dir == f"{lab.log_dir}/outputs/{run_id}/job"
        assert await house.faults() == {}


@pytest.mark.parametrize("tagged", [True, False])
async def test_where_no_history_is_kept_the_exit_record_of_the_env_script_decides(
    database: Database,
    database_uri: str,
    lab: Lab,
    pbs: PbsCluster,
    clusters_file: Path,
    tagged: bool,  # noqa: FBT001  a parameter of the table
) -> None:
    pbs.set(history=False)
    job_id = lab.submit(f"{lab.wait_for_gate()}; exit 9", *([lab.tag("job")] if tagged else []))
    run_id = lab.run() if tagged else f"pbs-{job_id}"

    async with running(database_uri, clusters_file) as house:
        await house.until(lambda _: any(one.started_at for one in _moves(house, run_id)))
        _touch(lab.gate)
        found = (await _until_ended(house, run_id, "job"))["job"]

        assert (found.outcome, found.exit_code, found.evidence) == (Outcome.FAILED, 9, Evidence.EXIT_RECORD)


async def test_a_job_that_is_run_again_is_one_item_and_its_second_attempt_decides(
    database: Database, database_uri: str, lab: Lab, pbs: PbsCluster, clusters_file: Path
) -> None:
    command = 'echo "$SCRIPTHUT_ATTEMPT" >> $SCRIPTHUT_OUTPUT_DIR/attempts; [ "$SCRIPTHUT_ATTEMPT" = 2 ] || sleep 600'
    job_id = lab.submit(f"{command}; exit 6", lab.tag("again"))

    async with running(database_uri, clusters_file) as house:
        await house.until(lambda _: any(one.started_at for one in _moves(house, lab.run())))
        await asyncio.to_thread(pbs.requeue, job_id)
        found = (await _until_ended(house, lab.run(), "again"))["again"]
        moves = _moves(house, lab.run())

    assert (found.job_id, found.attempt, found.outcome, found.exit_code) == (job_id, 2, Outcome.FAILED, 6)
    assert {one.attempt for one in moves if one.outcome} == {2}
    assert _text(f"{found.output_dir}/attempts") == "1\n2\n"
    record = _text(layout.manifest_path(str(lab.log_dir), lab.run(), "again")).split("\0")
    assert record[1:5] == ["6", "2", job_id, f"adopted-{job_id.replace('.', '_')}"]
