"""What a scan found joins the watchlist once, with its event, in its owner's runs alone."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.errors import LeaseLost, Unreachable
from scripthut_common.events import ItemEvent, ItemState, Outcome, RunState, Type
from scripthut_common.shell import Answer, Program
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.local import LocalShell
from scripthut_poller import adopting
from scripthut_poller.adopting import Adopting
from scripthut_poller.budget import Budget
from scripthut_poller.leasing import Leasing
from scripthut_poller.localhost.scheduler import of_cluster
from scripthut_poller.metrics import Metrics
from scripthut_poller.schedulers import Question
from scripthut_poller.schedulers.scanning import Candidate, Element, Scanned
from scripthut_poller.sites import Site
from scripthut_poller.watchlist import adoptions, cancellations, requests, rounds
from scripthut_poller.watchlist.adoptions import Foundling
from scripthut_poller.watchlist.items import Job
from scripthut_poller.watchlist.recording import Change, record
from scripthut_poller.watchlist.requests import Terms
from tests.integration.poller.told import cancellation_of, events, part_of_run, rows, run_row, tasks, term

SUBMITTED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def foundling(task_id: str = "t", job_id: str = "12", owner: str = "bob", run_id: str = "r1") -> Foundling:
    return Foundling(
        run_id=run_id,
        task_id=task_id,
        owner=owner,
        job_id=job_id,
        submitted_at=SUBMITTED,
        log_dir=f"/home/{owner}/scripthut",
        nonce=adopting.nonce_of(job_id),
    )


async def test_a_job_that_was_found_is_watched_from_then_on_and_announced(database: Database) -> None:
    refused = await adoptions.adopt(database, await term(database), [foundling("a"), foundling("b.3", "13_3")])

    assert refused == []
    watched = (await rounds.watched(database, "here")).items
    assert [(one.task_id, one.job_id, one.state, one.position, one.job_user, one.nonce) for one in watched] == [
        ("a", "12", ItemState.SUBMITTED, 0, "bob", "adopted-12"),
        ("b.3", "13_3", ItemState.SUBMITTED, 1, "bob", "adopted-13_3"),
    ]
    told = [one.data for one in await events(database, Type.ITEM_SUBMITTED)]
    assert [
        (one.owner, one.job_id, one.submitted_at, one.output_dir) for one in told if isinstance(one, ItemEvent)
    ] == [
        ("bob", "12", SUBMITTED, "/home/bob/scripthut/outputs/r1/a"),
        ("bob", "13_3", SUBMITTED, "/home/bob/scripthut/outputs/r1/b.3"),
    ]
    run = await run_row(database)
    assert (run.owner, run.cluster, run.name, run.state) == ("bob", "here", "r1", RunState.RUNNING)


async def test_found_again_it_is_the_same_job(database: Database) -> None:
    mine = await term(database)
    await adoptions.adopt(database, mine, [foundling()])

    assert await adoptions.unknown(database, "here", [foundling()]) == []
    assert await adoptions.adopt(database, mine, [foundling()]) == []
    assert len(await events(database)) == 1


async def test_a_stranger_cannot_enter_somebody_elses_run(database: Database) -> None:
    mine = await term(database)
    await adoptions.adopt(database, mine, [foundling("a")])
    await requests.store(database, part_of_run(tasks("x"), run_id="r2", owner="ada"), Terms())

    (refused,) = await adoptions.adopt(database, mine, [foundling("b", "66", owner="mallory")])
    (also,) = await adoptions.adopt(database, mine, [foundling("b", "67", owner="mallory", run_id="r2")])

    assert (refused.owner, refused.tag) == ("mallory", "r1/b")
    assert "somebody else" in refused.reason
    assert "somebody else" in also.reason
    assert list(await rows(database)) == ["a"]
    assert list(await rows(database, "r2")) == ["x"]


async def test_a_run_of_the_same_name_on_another_cluster_is_another_persons(database: Database) -> None:
    await adoptions.adopt(database, await term(database, "there"), [foundling("a")])

    (refused,) = await adoptions.adopt(database, await term(database), [foundling("b", "13")])

    assert "another cluster" in refused.reason


async def test_the_owner_of_a_requested_run_may_add_jobs_to_it(database: Database) -> None:
    await requests.store(database, part_of_run(tasks("x", "y"), owner="bob"), Terms())

    refused = await adoptions.adopt(database, await term(database), [foundling("z")])

    assert refused == []
    added = (await rows(database))["z"]
    assert (added.position, added.run_summary_path) == (2, "/home/bob/scripthut/outputs/r1/_run/z.md")


async def test_two_jobs_with_one_tag_are_one_item_and_a_refusal(database: Database) -> None:
    mine = await term(database)

    (refused,) = await adoptions.adopt(database, mine, [foundling(), foundling(job_id="13")])
    (again,) = await adoptions.adopt(database, mine, [foundling(job_id="14")])

    assert "job 12 has the same tag" in refused.reason
    assert again.job_id == "14"
    assert (await rows(database))["t"].job_id == "12"


async def test_what_is_on_its_way_to_the_scheduler_is_not_taken_for_somebody_elses(database: Database) -> None:
    await requests.store(database, part_of_run(tasks("t"), owner="bob"), Terms())

    refused = await adoptions.adopt(database, await term(database), [foundling()])

    assert refused == []
    assert (await rows(database))["t"].job_id is None


async def test_our_own_job_just_submitted_for_somebody_is_no_stranger(database: Database) -> None:
    await requests.store(database, part_of_run(tasks("t"), owner="ada"), Terms())
    mine = await term(database)

    assert await adoptions.adopt(database, mine, [foundling(owner="service")]) == []
    assert [one.job_id for one in await adoptions.adopt(database, mine, [foundling("u", "13", owner="service")])] == [
        "13"
    ]
    assert (await rows(database))["t"].job_id is None


async def test_an_id_that_is_used_again_is_another_job(database: Database) -> None:
    mine = await term(database)
    await adoptions.adopt(database, mine, [foundling()])
    (before,) = (await rounds.watched(database, "here")).items
    after = msgspec.structs.replace(
        before,
        state=ItemState.FINAL,
        outcome=Outcome.SUCCEEDED,
        confirmed=True,
        ended_at=SUBMITTED + timedelta(hours=1),
    )
    async with database.transaction() as connection:
        await record(connection, [Change(before=before, after=after, tells=Type.ITEM_COMPLETED)])

    same, reset = (
        foundling(run_id="r2"),
        msgspec.structs.replace(foundling(run_id="r3"), submitted_at=datetime.now(UTC)),
    )

    assert await adoptions.unknown(database, "here", [same, reset]) == [reset]


async def test_a_job_that_is_alive_under_one_tag_has_no_second(database: Database) -> None:
    await adoptions.adopt(database, await term(database), [foundling()])

    assert await adoptions.unknown(database, "here", [foundling(run_id="r2")]) == []


async def test_a_run_has_so_many_tasks_and_no_more(database: Database) -> None:
    refused = await adoptions.adopt(
        database, await term(database), [foundling(str(number), str(number)) for number in range(3)], max_tasks=2
    )

    assert [one.job_id for one in refused] == ["2"]
    assert len(await rows(database)) == 2


async def test_without_the_lease_nothing_is_written(database: Database) -> None:
    lost = await term(database, holder="that poller")
    async with database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE poller.leases SET epoch = epoch + 1")

    with pytest.raises(LeaseLost):
        await adoptions.adopt(database, lost, [foundling()])
    with pytest.raises(LeaseLost):
        await adoptions.note_scan(database, lost, SUBMITTED)

    assert await run_row(database) is None
    assert await adoptions.scanned_at(database, "here") is None


async def test_a_run_that_was_asked_for_is_open_to_whom_asked_and_not_to_an_account_of_the_same_name(
    database: Database,
) -> None:
    mine = await term(database)
    await requests.store(database, part_of_run(tasks("a"), owner="bob"), Terms())

    (refusal,) = await adoptions.adopt(database, mine, [foundling("b", "13")], identity="robert")
    joined = await adoptions.adopt(database, mine, [foundling("c", "14", owner="bobby")], identity="bob")

    assert refusal.reason == "the run belongs to somebody else, or to another cluster"
    assert joined == []
    (told,) = await events(database, Type.ITEM_SUBMITTED)
    assert isinstance(told.data, ItemEvent)
    assert (told.data.task_id, told.data.owner, told.data.account) == ("c", "bob", "bobby")


async def test_a_run_whose_jobs_run_as_an_account_is_open_to_that_account(database: Database) -> None:
    mine = await term(database)
    await requests.store(database, part_of_run(tasks("a"), owner="bob@example.org", account="bob"), Terms())

    assert await adoptions.adopt(database, mine, [foundling("b", "13")], identity="here:bob") == []
    assert len(await adoptions.adopt(database, mine, [foundling("c", "14", owner="eve")], identity="here:eve")) == 1


async def test_a_job_that_joins_a_cancelled_run_is_not_cancelled_by_that(database: Database) -> None:
    mine = await term(database)
    await adoptions.adopt(database, mine, [foundling("a")])
    await requests.cancel(database, cancellation_of("r1"))

    await adoptions.adopt(database, mine, [foundling("b", "13")])

    assert await cancellations.due(database, "here", limit=10) == [Job(key=("r1", "a"), job_id="12", job_user="bob")]


class Said:
    """A scanner of a cluster that says what a test has it say; `None`: nothing at all."""

    def __init__(self) -> None:
        self.candidates: tuple[Candidate, ...] | None = ()
        self.is_whole = True
        self.asked: list[tuple[Sequence[str], datetime | None]] = []

    def scan(self, users: Sequence[str], since: datetime | None, announced_ids: Sequence[str]) -> Question[Scanned]:
        self.asked.append((users, since))
        status = 1 if self.candidates is None else 0
        return Question(
            program=Program(name="said", text=f"echo {len(announced_ids)}; exit {status}"), parse=self._parse
        )

    def _parse(self, answer: Answer) -> Scanned:
        if answer.exit_status or self.candidates is None:
            raise Unreachable("it says nothing")
        return Scanned(candidates=self.candidates, at=SUBMITTED, is_whole=self.is_whole, left_out={})


class Scene:
    """A loop that adopts jobs of root's on this machine, and what its scheduler says."""

    def __init__(self, database: Database, cluster: Cluster) -> None:
        self.database = database
        self.shell = LocalShell()
        self.said = Said()
        self.lease = Leasing(database, cluster.name, "this poller", lease_s=600)
        self.news = 0
        site = Site(
            cluster=cluster,
            scheduler=of_cluster(cluster),
            shells=AccountShells(cluster, lambda _: self.shell),
            lease=self.lease,
            budget=Budget(100_000),
            metrics=Metrics(CollectorRegistry()).of(cluster.name),
        )
        self.adopting = Adopting(database, site, self.said, on_adopted=self._hear)
        self._site = site

    def _hear(self) -> None:
        self.news += 1

    def taking(self, max_runs: int) -> "Scene":
        """Take in so many runs at a time."""
        self.adopting = Adopting(self.database, self._site, self.said, max_runs=max_runs)
        return self


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> AsyncIterator[Scene]:
    cluster = Cluster(
        scheduler=SchedulerKind.LOCALHOST,
        name="here",
        adopt=("root",),
        adopt_log_dir=str(tmp_path),
        log_dir=str(tmp_path),
    )
    scene = Scene(database, cluster)
    await scene.lease.step()
    yield scene
    await scene.shell.close()


def candidate(tag: str | None, job_id: str = "12", user: str = "root") -> Candidate:
    return Candidate(base_id=job_id, user=user, submitted_at=SUBMITTED, tag=tag, elements=(Element(job_id=job_id),))


async def test_a_scan_takes_in_what_is_tagged_and_begins_where_the_last_one_ended(scene: Scene) -> None:
    scene.said.candidates = (candidate("r1/t"),)

    await scene.adopting.step()
    await scene.adopting.step()

    assert list(await rows(scene.database)) == ["t"]
    assert scene.said.asked == [(["root"], None), (["root"], SUBMITTED)]
    assert scene.news == 1


async def test_a_scan_that_is_not_whole_is_made_again_from_the_same_time(scene: Scene) -> None:
    scene.said.candidates, scene.said.is_whole = (candidate("r1/t"),), False

    await scene.adopting.step()
    await scene.adopting.step()

    assert list(await rows(scene.database)) == ["t"]
    assert [since for _, since in scene.said.asked] == [None, None]


async def test_a_refusal_is_told_once(scene: Scene) -> None:
    await adoptions.adopt(scene.database, scene.lease.term, [foundling("a", "1")])
    scene.said.candidates = (candidate("r1/t"), candidate("../x", "13"), candidate("r9/fine", "14"))

    with capture_logs() as logs:
        for _ in range(3):
            await scene.adopting.step()

    told = [one for one in logs if one["event"] == "job_not_adopted"]
    assert [(one["job_id"], one["tag"]) for one in told] == [("13", "../x"), ("12", "r1/t")]
    assert scene.adopting.refused == 2
    assert list(await rows(scene.database, "r9")) == ["fine"]


async def test_very_many_runs_are_taken_in_portions(scene: Scene) -> None:
    scene.said.candidates = tuple(candidate(f"r{number}/t", str(number)) for number in range(5))

    scene = scene.taking(2)

    more = [await scene.adopting.step() for _ in range(3)]

    assert more == [True, True, False]
    assert [since for _, since in scene.said.asked] == [None, None, None]
    assert await adoptions.scanned_at(scene.database, "here") == SUBMITTED


async def test_nothing_runs_without_the_lease_or_while_adoption_is_off(scene: Scene, database: Database) -> None:
    await scene.lease.release()
    await scene.adopting.step()
    assert scene.shell.commands_run == 0

    off = Scene(database, Cluster(scheduler=SchedulerKind.LOCALHOST, name="off", log_dir="/tmp"))
    await off.lease.step()
    await off.adopting.step()
    assert off.shell.commands_run == 0
    await off.shell.close()


async def test_no_answer_concludes_nothing(scene: Scene) -> None:
    scene.said.candidates = None

    with pytest.raises(Unreachable):
        await scene.adopting.step()

    assert await adoptions.scanned_at(scene.database, "here") is None
