"""Jobs that run as their owners: the whole poller on real Slurm, through real sshd, by real sudo."""

import os
import pwd
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from scripthut_common.clusters import AsWhom, Certificates, Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import CloudEvent, ItemEvent, ItemState, Outcome, Type
from scripthut_common.shell import RemoteShell
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.tasks import TaskSpec
from scripthut_poller.budget import Budget
from scripthut_poller.homes import Homes
from scripthut_poller.leasing import Leasing
from scripthut_poller.metrics import Metrics
from scripthut_poller.schedulers.slurm import Slurm
from scripthut_poller.sites import Site
from scripthut_poller.submitting import Submitting
from scripthut_poller.watching import Watching
from scripthut_poller.watchlist import requests
from scripthut_poller.watchlist.requests import Terms
from tests.integration.poller.faulty import FaultyShell
from tests.integration.poller.house import House, running, write_clusters
from tests.integration.poller.told import cancellation, part_of_run, request, rows
from tests.testbed import sudoers
from tests.testbed.accounts import DORA, EMIL, FAY, SERVICE
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd
from tests.testbed.sudoers import Installed

pytestmark = pytest.mark.usefixtures("with_sudo")


@pytest.fixture
def installed(slurm: SlurmCluster) -> Iterator[Installed]:
    """Our program, which the service may run as Alice and Bob, and not as Carol."""
    with sudoers.installed(SERVICE, [DORA, EMIL]) as there:
        there.set_environment(**slurm.environment)
        yield there


@pytest.fixture
def there(sshd: Sshd, installed: Installed, tmp_path: Path) -> Cluster:
    return Cluster(
        scheduler=SchedulerKind.SLURM,
        name="here",
        host=sshd.host,
        port=sshd.port,
        user=SERVICE,
        key_file=str(sshd.key(SERVICE)),
        known_hosts_file=str(sshd.known_hosts),
        log_dir=f"~/{tmp_path.name}",
        poll_interval_s=1.0,
        commands_per_minute=240,
        connect_timeout_s=5.0,
        as_whom=AsWhom.SUDO,
        sudo_program=str(installed.program),
    )


@pytest.fixture
def clusters_file(there: Cluster, tmp_path: Path) -> Path:
    return write_clusters(tmp_path / "clusters.toml", there)


@pytest.fixture
def run_id() -> str:
    return f"r{os.urandom(5).hex()}"


async def ask(house: House, run_id: str, account: str | None, *wanted: TaskSpec, **more: Any) -> None:
    part = part_of_run(wanted, run_id=run_id, account=account, log_dir=None, **more)
    await house.bus.publish(request(part))


def home_of(account: str) -> Path:
    return Path(pwd.getpwnam(account).pw_dir)


class Unheard(AccountShells):
    """The ways to a cluster, of which one program's answers are lost."""

    def __init__(self, inner: AccountShells, program: str) -> None:
        self._inner = inner
        self._program = program

    def whose(self, account: str | None) -> str | None:
        return self._inner.whose(account)

    def of(self, account: str | None) -> RemoteShell:
        shell = FaultyShell(self._inner.of(account))
        shell.cut.add(self._program)
        return shell


def site_of(database: Database, cluster: Cluster, shells: AccountShells) -> Site:
    return Site(
        cluster=cluster,
        scheduler=Slurm(),
        shells=shells,
        lease=Leasing(database, "here", "this poller", lease_s=600),
        budget=Budget(100_000),
        metrics=Metrics(CollectorRegistry()).of("here"),
    )


def seen_of(path: Path) -> tuple[str, str, str]:
    """Give what a file says, whose it is, and whose its directory is."""
    return path.read_text(), path.owner(), path.parent.owner()


def end_of(run_id: str) -> Any:
    return lambda told: told.type is Type.RUN_COMPLETED and told.data.run_id == run_id


def _is_of(told: CloudEvent, run_id: str) -> bool:
    return isinstance(told.data, ItemEvent) and told.data.run_id == run_id


def ends(house: House, run_id: str) -> dict[str, ItemEvent]:
    told = [one.data for one in house.told if one.type is Type.ITEM_COMPLETED]
    return {one.task_id: one for one in told if isinstance(one, ItemEvent) and one.run_id == run_id}


async def test_each_owners_job_runs_as_them_in_a_home_that_nobody_else_enters(
    database: Database, database_uri: str, clusters_file: Path, run_id: str
) -> None:
    owners = {f"{run_id}a": DORA, f"{run_id}b": EMIL}
    for account in owners.values():
        home_of(account).chmod(0o700)

    async with running(database_uri, clusters_file) as house:
        for run, account in owners.items():
            await ask(house, run, account, TaskSpec(id="t", command='id -un > "$SCRIPTHUT_OUTPUT_DIR/who"; exit 3'))
        for run in owners:
            await house.until(end_of(run))

        for run, account in owners.items():
            end = ends(house, run)["t"]
            assert seen_of(Path(end.output_dir, "who")) == (f"{account}\n", account, account)
            assert end.output_dir.startswith(f"{home_of(account)}/")
        assert await house.faults() == {}


async def test_a_job_is_cancelled_and_its_dependent_released_as_their_owner(
    database: Database, database_uri: str, clusters_file: Path, run_id: str
) -> None:
    async with running(database_uri, clusters_file) as house:
        await ask(house, run_id, EMIL, TaskSpec(id="a", command="sleep 600"))
        await house.until(lambda told: told.type is Type.ITEM_STARTED)
        await house.bus.publish(cancellation(run_id))
        await house.until(end_of(run_id))
        await ask(
            house, f"{run_id}x", EMIL, TaskSpec(id="c", command="true"), TaskSpec(id="d", command="true", deps=("c",))
        )
        await house.until(end_of(f"{run_id}x"))

        assert ends(house, run_id)["a"].outcome is Outcome.CANCELLED
        assert {end.outcome for end in ends(house, f"{run_id}x").values()} == {Outcome.SUCCEEDED}


async def test_an_account_that_is_refused_waits_and_stops_nobody_else(
    database: Database, database_uri: str, clusters_file: Path, installed: Installed, run_id: str
) -> None:
    async with running(database_uri, clusters_file) as house:
        await ask(house, f"{run_id}c", FAY, TaskSpec(id="t", command="true"))
        said = await house.until_it_says(f"sudo does not let {SERVICE} run", FAY, "deploy/sudoers.example")
        await ask(house, f"{run_id}a", DORA, *(TaskSpec(id=f"t{n}", command="true") for n in range(3)))
        await house.until(end_of(f"{run_id}a"))

        assert DORA not in said
        assert {end.outcome for end in ends(house, f"{run_id}a").values()} == {Outcome.SUCCEEDED}
        assert ends(house, f"{run_id}c") == {}

        installed.add(FAY)
        await house.until(end_of(f"{run_id}c"), within_s=150)
        assert ends(house, f"{run_id}c")["t"].outcome is Outcome.SUCCEEDED


async def test_what_waits_for_an_account_that_is_refused_says_why_and_since_when_and_can_be_cancelled(
    database: Database, database_uri: str, clusters_file: Path, installed: Installed, run_id: str
) -> None:
    def waits(told: CloudEvent) -> bool:
        item = told.data
        return isinstance(item, ItemEvent) and item.run_id == run_id and item.state is ItemState.PENDING

    async with running(database_uri, clusters_file) as house:
        for run in (run_id, f"{run_id}x"):
            await ask(house, run, FAY, TaskSpec(id="t", command="true"))
        await house.until(waits)
        waiting = (await rows(database, run_id))["t"]
        assert waiting.state == ItemState.PENDING
        assert re.match(r"waiting since 20\d\d-\d\d-\d\d \d\d:\d\d UTC: .*sudo does not let", waiting.reason)
        assert FAY in waiting.reason

        await house.bus.publish(cancellation(f"{run_id}x"))
        await house.until(end_of(f"{run_id}x"))
        assert ends(house, f"{run_id}x")["t"].outcome is Outcome.CANCELLED

        installed.add(FAY)
        await house.until(end_of(run_id), within_s=150)
        assert ends(house, run_id)["t"].reason is None
        # Nobody is told anew with each attempt.
        assert len([told for told in house.told if waits(told)]) == 1


@pytest.mark.parametrize("account", ["root", "-u", "a;b", "ada\nroot", "slurm", None])
async def test_what_is_no_account_of_a_person_is_refused_for_good(
    database: Database, database_uri: str, clusters_file: Path, run_id: str, account: str | None
) -> None:
    async with running(database_uri, clusters_file) as house:
        await ask(house, run_id, account, TaskSpec(id="t", command="true"))
        await house.until(end_of(run_id))

        end = ends(house, run_id)["t"]
        assert end.outcome is Outcome.SUBMISSION_FAILED
        assert end.job_id is None
        assert ("no job runs as" in (end.reason or "")) == (account is not None)


async def test_a_generated_list_in_a_closed_home_is_read_as_its_owner(
    database: Database, database_uri: str, clusters_file: Path, run_id: str
) -> None:
    home_of(EMIL).chmod(0o700)
    listed = '[{"id": "child", "command": "id -un > \\"$SCRIPTHUT_OUTPUT_DIR/who\\""}]'
    parent = TaskSpec(
        id="parent", command=f"printf '%s' '{listed}' > ~/{run_id}.json", generates_source=f"~/{run_id}.json"
    )

    async with running(database_uri, clusters_file) as house:
        await ask(house, run_id, EMIL, parent)
        await house.until(end_of(run_id))

        end = ends(house, run_id)["child"]
        assert (end.account, end.outcome) == (EMIL, Outcome.SUCCEEDED)
        assert seen_of(Path(end.output_dir, "who"))[:2] == (f"{EMIL}\n", EMIL)


async def test_a_log_dir_that_leads_into_somebody_elses_home_is_refused_by_the_cluster(
    database: Database, database_uri: str, clusters_file: Path, run_id: str
) -> None:
    home_of(DORA).chmod(0o700)
    lure = home_of(EMIL) / run_id
    lure.symlink_to(home_of(DORA))

    async with running(database_uri, clusters_file) as house:
        part = part_of_run([TaskSpec(id="t", command="true")], run_id=run_id, account=EMIL, log_dir=f"~/{run_id}/x")
        await house.bus.publish(request(part))
        await house.until(end_of(run_id))

        assert ends(house, run_id)["t"].outcome is Outcome.SUBMISSION_FAILED
        assert "Permission denied" in (ends(house, run_id)["t"].reason or "")
    lure.unlink()


@pytest.mark.parametrize("profile", ["echo noise; echo more >&2\n", "exit 0\n", "exec cat\n"])
async def test_what_owners_have_in_their_profiles_does_not_matter(
    database: Database, database_uri: str, clusters_file: Path, run_id: str, profile: str
) -> None:
    kept = {name: (home_of(EMIL) / name).read_text() for name in (".bashrc", ".profile")}
    for name in kept:
        (home_of(EMIL) / name).write_text(profile)
    try:
        async with running(database_uri, clusters_file) as house:
            await ask(house, run_id, EMIL, TaskSpec(id="t", command="true"))
            await house.until(end_of(run_id))

            assert ends(house, run_id)["t"].outcome is Outcome.SUCCEEDED
    finally:
        for name, text in kept.items():
            (home_of(EMIL) / name).write_text(text)


async def test_what_was_submitted_unheard_is_found_as_its_owner_and_not_submitted_again(
    database: Database, there: Cluster, slurm: SlurmCluster, run_id: str
) -> None:
    shells = AccountShells(there)
    site = site_of(database, there, shells)
    await site.lease.step()
    unheard = Unheard(shells, "slurm-submit")
    wanted = [TaskSpec(id="t", command="true")]
    await requests.store(
        database, part_of_run(wanted, run_id=run_id, account=EMIL, log_dir=None), Terms(log_dir=there.log_dir)
    )

    for ways in (unheard, shells):
        now = msgspec.structs.replace(site, shells=ways)
        await Submitting(database, now, Homes(database, {"here": shells}), Watching(database, now)).step()
    await shells.close()

    (row,) = (await rows(database, run_id)).values()
    jobs = slurm.run("squeue", "-h", "-t", "all", "-o", "%i %u %k").splitlines()
    assert [line for line in jobs if f"scripthut:{run_id}/t" in line] == [f"{row.job_id} {EMIL} scripthut:{run_id}/t"]


async def test_by_certificate_jobs_run_as_their_owners_too(
    database: Database, database_uri: str, there: Cluster, slurm: SlurmCluster, tmp_path: Path, run_id: str
) -> None:
    home_of(EMIL).chmod(0o700)
    with Sshd(slurm.environment) as login:
        by_certificate = msgspec.structs.replace(
            there,
            port=login.port,
            key_file=str(login.key(SERVICE)),
            known_hosts_file=str(login.known_hosts),
            as_whom=AsWhom.CERTIFICATE,
            certificates=Certificates(ca_key_file=str(login.make_authority())),
        )
        login.key(EMIL).unlink()
        async with running(database_uri, write_clusters(tmp_path / "clusters.toml", by_certificate)) as house:
            await ask(house, run_id, EMIL, TaskSpec(id="t", command='id -un > "$SCRIPTHUT_OUTPUT_DIR/who"; exit 3'))
            await house.until(end_of(run_id))
            await ask(house, f"{run_id}x", EMIL, TaskSpec(id="t", command="sleep 600"))
            await house.until(lambda told: told.type is Type.ITEM_STARTED and _is_of(told, f"{run_id}x"))
            await house.bus.publish(cancellation(f"{run_id}x"))
            await house.until(end_of(f"{run_id}x"))

            end = ends(house, run_id)["t"]
            assert (end.account, end.outcome, end.exit_code) == (EMIL, Outcome.FAILED, 3)
            assert seen_of(Path(end.output_dir, "who")) == (f"{EMIL}\n", EMIL, EMIL)
            assert ends(house, f"{run_id}x")["t"].outcome is Outcome.CANCELLED
            assert await house.faults() == {}


async def test_the_record_of_an_adopted_job_in_a_closed_home_is_read_as_its_owner(
    database: Database, database_uri: str, there: Cluster, slurm: SlurmCluster, tmp_path: Path, run_id: str
) -> None:
    home, log_dir = home_of(EMIL), f"~/{tmp_path.name}-adopted"
    home.chmod(0o700)
    adopting = msgspec.structs.replace(there, adopt=(EMIL,), adopt_log_dir=log_dir, adopt_interval_s=1.0)
    env_script = (Path(__file__).parents[3] / "deploy/scripthut-env.sh").read_text()
    head = f"export SCRIPTHUT_LOG_DIR={log_dir.replace('~', str(home))}\n"

    async with running(database_uri, write_clusters(tmp_path / "clusters.toml", adopting)) as house:
        job = slurm.submit(
            f"#!/bin/bash\n{head}{env_script}\nsleep 5\nexit 130\n", f"--comment=scripthut:{run_id}/t", user=EMIL
        )
        await house.until(end_of(run_id), within_s=120)

        end = ends(house, run_id)["t"]
        assert (end.job_id, end.account, end.owner) == (job, EMIL, EMIL)
        # Accounting cannot tell 130 from 2: the record can.
        assert (end.outcome, end.exit_code) == (Outcome.FAILED, 130)
