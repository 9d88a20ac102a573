"""The cluster without a scheduler, with real processes: what is asked of it, and what it survives."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripthut_common.errors import Unreachable
from scripthut_common.events import Outcome
from scripthut_common.shell.local import LocalShell
from scripthut_poller.asking import ask
from scripthut_poller.localhost import processes
from scripthut_poller.schedulers.job import Action, Fate, JobState
from tests.eventually import eventually
from tests.integration.poller.trying_out import TryingOut, is_alive, names, until


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[TryingOut]:
    """A spool of this test alone."""
    trying = TryingOut(tmp_path)
    yield trying
    await trying.close()


def _waiting(flag: Path, then: str = "") -> str:
    """Write a script that goes on once the flag is there."""
    return f"while [ ! -e '{flag}' ]; do sleep 0.05; done; {then}"


async def test_a_job_is_queued_runs_and_is_remembered(here: TryingOut) -> None:
    go = here.directory / "go"
    job = here.job("r/a", _waiting(go, "echo done; exit 3"))

    (job_id,) = await here.submit(job)
    await until(lambda: here.is_running(job_id))
    running = (await here.queue(job_id))[job_id]
    unfinished = (await here.accounting([job_id]))[job_id]
    go.touch()
    (final,) = await here.ends(job_id)

    assert running.state is JobState.RUNNING
    assert running.started_at is not None
    assert running.node == os.uname().nodename
    assert [row.outcome for row in unfinished] == [None]
    assert (final.outcome, final.word, final.exit_code, final.signal) == (Outcome.FAILED, "FAILED", 3, None)
    assert final.submitted_at is not None
    assert final.started_at == running.started_at
    assert final.ended_at is not None
    assert final.submitted_at <= final.started_at <= final.ended_at
    assert here.stdout(job) == "done\n"


async def test_success_and_death_by_signal_are_told_apart(here: TryingOut) -> None:
    ids = await here.submit(here.job("r/a", "exit 0"), here.job("r/b", "kill -KILL $$"))

    good, killed = await here.ends(*ids)

    assert (good.outcome, good.exit_code, good.signal) == (Outcome.SUCCEEDED, 0, None)
    assert (killed.outcome, killed.exit_code, killed.signal) == (Outcome.FAILED, None, signal.SIGKILL)


async def test_a_child_runs_after_its_parents_succeeded(here: TryingOut) -> None:
    trail = here.directory / "trail"

    ids = await here.submit(
        here.job("r/a", f"sleep 0.2; echo a >> '{trail}'", is_held=True),
        here.job("r/b", f"echo b >> '{trail}'", after_tags=("r/a",)),
    )
    (later,) = await here.submit(here.job("r/c", f"echo c >> '{trail}'", after_ids=(ids[1],)))
    queued = await here.queue(*ids, later)
    complaints = await here.act(Action.RELEASE, ids[0])
    finals = await here.ends(*ids, later)

    assert [queued[job_id].reason for job_id in (*ids, later)] == ["JobHeldUser", "Dependency", "Dependency"]
    assert complaints == {}
    assert [final.outcome for final in finals] == [Outcome.SUCCEEDED] * 3
    assert trail.read_text().split() == ["a", "b", "c"]


async def test_a_failed_parent_ends_its_descendants_without_running_them(here: TryingOut) -> None:
    trail = here.directory / "trail"
    ids = await here.submit(
        here.job("r/a", "exit 1"),
        here.job("r/b", f"touch '{trail}'", after_tags=("r/a",)),
        here.job("r/c", f"touch '{trail}'", after_tags=("r/b",), is_held=True),
        here.job("r/d", f"touch '{trail}'", after_ids=("00000000-1",)),
    )

    finals = await here.ends(*ids)

    assert [final.outcome for final in finals] == [Outcome.FAILED] + [Outcome.DEPENDENCY_FAILED] * 3
    assert finals[1].word == "DependencyNeverSatisfied"
    assert finals[1].started_at is None
    assert not trail.exists()


async def test_a_running_job_is_cancelled_with_everything_it_started(here: TryingOut) -> None:
    pids = here.directory / "pids"
    (job_id,) = await here.submit(
        here.job("r/a", f"trap '' TERM; sleep 600 & echo $! > '{pids}.x'; mv '{pids}.x' '{pids}'; wait; exit 0")
    )
    await eventually(pids.exists)
    child = int(pids.read_text())

    complaints = await here.act(Action.CANCEL, job_id, "00000000-7", "../../x")
    (final,) = await here.ends(job_id)

    assert complaints == {"00000000-7": "there is no such job", "../../x": "there is no such job"}
    assert (final.outcome, final.word) == (Outcome.CANCELLED, "CANCELLED")
    assert not is_alive(child)


async def test_a_queued_job_is_cancelled_before_it_runs(here: TryingOut) -> None:
    trail = here.directory / "trail"
    (job_id,) = await here.submit(here.job("r/a", f"touch '{trail}'", is_held=True))

    await here.act(Action.CANCEL, job_id)
    (final,) = await here.ends(job_id)
    after = await here.act(Action.RELEASE, job_id)

    assert (final.outcome, final.started_at, final.exit_code) == (Outcome.CANCELLED, None, None)
    assert after == {}
    assert not trail.exists()


async def test_what_a_job_leaves_in_the_background_ends_with_it(here: TryingOut) -> None:
    job = here.job("r/a", "set -m; sleep 600 & echo $!")

    (final,) = await here.ends(*await here.submit(job))

    assert final.outcome is Outcome.SUCCEEDED
    assert not is_alive(int(here.stdout(job)))


async def test_a_job_past_its_time_limit_is_ended(here: TryingOut) -> None:
    (job_id,) = await here.submit(here.job("r/a", "sleep 600", time_limit="0:01"))

    (final,) = await here.ends(job_id)

    assert (final.outcome, final.word, final.signal) == (Outcome.TIMED_OUT, "TIMEOUT", signal.SIGTERM)


async def test_a_killed_supervisor_loses_no_job_and_repeats_none(here: TryingOut) -> None:
    go, trail = here.directory / "go", here.directory / "trail"
    ids = await here.submit(
        here.job("r/a", f"echo a >> '{trail}'; {_waiting(go, 'exit 5')}"),
        here.job("r/b", f"echo b >> '{trail}'; {_waiting(go)}"),
        here.job("r/c", f"echo c >> '{trail}'", after_tags=("r/b",)),
    )
    await until(lambda: here.is_running(ids[1]))
    await eventually(lambda: trail.exists() and len(trail.read_text()) == 4)
    before = here.supervisor()

    os.kill(before, signal.SIGKILL)
    await eventually(lambda: not here.is_supervised())
    go.touch()
    finals = await here.ends(*ids)

    assert here.supervisor() != before
    assert [(final.outcome, final.exit_code) for final in finals] == [
        (Outcome.FAILED, 5),
        (Outcome.SUCCEEDED, 0),
        (Outcome.SUCCEEDED, 0),
    ]
    assert sorted(trail.read_text().split()) == ["a", "b", "c"]


async def test_a_job_whose_runner_is_killed_ends_as_a_failed_node(here: TryingOut) -> None:
    (job_id,) = await here.submit(here.job("r/a", "sleep 600"))
    await eventually(lambda: here.leader(job_id) is not None)
    leader = here.leader(job_id)

    os.kill(here.supervisor(), signal.SIGKILL)
    os.kill(here.runner(job_id), signal.SIGKILL)
    (final,) = await here.ends(job_id)

    assert (final.outcome, final.word) == (Outcome.NODE_FAILED, "NODE_FAIL")
    assert final.started_at is not None
    assert leader is not None
    await eventually(lambda: processes.describe(leader.pid) != leader)


async def test_two_clients_that_submit_at_once_share_one_supervisor(here: TryingOut) -> None:
    batches = [[here.job(f"{client}/{n}", "exit 0") for n in range(10)] for client in range(4)]

    ids = [job_id for batch in await asyncio.gather(*(here.submit(*batch) for batch in batches)) for job_id in batch]
    finals = await here.ends(*ids)

    log = (here.place.directory / "supervisor.log").read_text()
    assert len(set(ids)) == 40
    assert {final.outcome for final in finals} == {Outcome.SUCCEEDED}
    assert log.count("begins") - log.count("ends") == 1


async def test_a_job_is_found_by_its_tag_alive_and_over(here: TryingOut) -> None:
    held, over = await here.submit(here.job("r/a", "", is_held=True), here.job("r/b", ""))
    await here.ends(over)

    found = await here.find("r/a", "r/b", "r/c")

    assert found.jobs == {"r/a": (held,), "r/b": (over,)}
    assert found.is_accounting_kept


async def test_a_folder_that_was_removed_and_made_anew_gives_other_ids(here: TryingOut) -> None:
    first = await here.submit(here.job("r/a", ""))
    await here.ends(*first)
    await here.close()
    here.place.directory.rename(here.directory / "old")

    second = await here.submit(here.job("r/a", ""))

    assert set(first).isdisjoint(second)
    assert await here.accounting(first) == {}


async def test_what_cannot_be_read_in_the_spool_disturbs_nothing_else(here: TryingOut) -> None:
    poisoned, untouched = await here.submit(here.job("r/a", "", is_held=True), here.job("r/b", "", is_held=True))
    live = here.place.live
    (live / poisoned / "job.json").write_bytes(b'{"submission": \xff')
    (live / "00000000-1").write_text("a file")
    (live / "00000000-2").mkdir()
    (live / "$(touch x)\n").mkdir()

    await here.act(Action.RELEASE, untouched)
    (final,) = await here.ends(untouched)
    await eventually(lambda: not (live / poisoned).exists())

    assert final.outcome is Outcome.SUCCEEDED
    assert await here.accounting([poisoned]) == {}
    assert (await here.find("r/b")).jobs == {"r/b": (untouched,)}


async def test_hostile_names_are_only_names(tmp_path: Path) -> None:
    evil = "$(touch pwned); `id` 'q' \"d\"\n\t*-\udcff"
    here = TryingOut(tmp_path / evil / ("long" * 50) / ("er" * 100))
    tag = f"r/{evil}\0"
    job = here.job(tag, "printf '%s' \"$0\" '\udcfe'", job_name=evil)
    try:
        (job_id,) = await here.submit(job)
        (final,) = await here.ends(job_id)

        assert final.outcome is Outcome.SUCCEEDED
        assert os.fsdecode(here.stdout_bytes(job)).startswith(f"{here.place.live / job_id}/script")
        assert (await here.find(tag)).jobs == {tag: (job_id,)}
        assert names(tmp_path) == [evil]
    finally:
        await here.close()


async def test_a_job_sees_its_id_and_none_of_our_settings(here: TryingOut, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPTHUT_POLLER_DATABASE_URL", "secret")
    monkeypatch.setenv("BASH_ENV", "/nowhere/secret")
    monkeypatch.setenv("LC_NUMERIC", "C")
    job = here.job("r/a", "env; cat; trap -p; kill -s PIPE $$")

    (job_id,) = await here.submit(job)
    (final,) = await here.ends(job_id)

    seen = here.stdout(job)
    assert f"SCRIPTHUT_JOB_ID={job_id}\n" in seen
    assert "secret" not in seen
    assert "LC_NUMERIC=C\n" in seen
    assert final.signal == signal.SIGPIPE


async def test_what_cannot_be_submitted_is_refused_alone(here: TryingOut) -> None:
    (here.directory / "file").touch()

    receipts = await here.receipts(
        here.job("r/a", "", log_dir=str(here.directory / "file" / "below")),
        here.job("r/b", "", after_tags=("r/a",)),
        here.job("r/c", "", records_dir="/x\0y"),
        here.job("r/d", "", stdout_path="/nowhere/at/all"),
    )
    (final,) = await here.ends(receipts[3].job_id or "")

    assert [receipt.fate for receipt in receipts] == [Fate.REFUSED, Fate.DEFERRED, Fate.REFUSED, Fate.ACCEPTED]
    assert "Not a directory" in receipts[0].message
    assert (final.outcome, final.word) == (Outcome.FAILED, "LaunchFailed")


async def test_a_cut_question_does_nothing_and_says_so(here: TryingOut) -> None:
    question = here.scheduler.submit([here.job("r/a", "")])

    answer = await LocalShell().run(question.program, *question.argv, stdin=question.stdin[:-1])

    assert answer.exit_status == 1
    with pytest.raises(Unreachable, match="localhost queue"):
        await ask(LocalShell(), TryingOut(Path("/dev/null")).scheduler.queue(["00000000-1"]))
    assert here.place.live_ids() == []


async def test_two_hundred_quick_jobs_run_once_each(here: TryingOut) -> None:
    trail = here.directory / "trail"
    ids = [
        job_id
        for batch in range(2)
        for job_id in await here.submit(*(here.job(f"r{batch}/{n}", f"echo x >> '{trail}'") for n in range(100)))
    ]

    finals = await here.ends(*ids)

    assert {final.outcome for final in finals} == {Outcome.SUCCEEDED}
    assert len(trail.read_text()) == 400
