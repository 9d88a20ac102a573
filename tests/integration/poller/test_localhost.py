"""What is asked of the cluster without a scheduler, with real processes."""

import os
import signal
from pathlib import Path

import pytest

from scripthut_common import layout, manifest
from scripthut_common.events import Outcome
from scripthut_common.tasks import TaskSpec
from scripthut_poller import wrapper
from scripthut_poller.schedulers.job import Action, Fate, JobState
from tests.eventually import eventually
from tests.integration.poller.trying_out import TryingOut, content, is_alive, until, waiting_for


async def test_a_job_is_queued_runs_and_is_remembered(tryout: TryingOut) -> None:
    go = tryout.directory / "go"
    job = tryout.job("r/a", waiting_for(go, "echo done; exit 3"))

    (job_id,) = await tryout.submit(job)
    await until(lambda: tryout.is_running(job_id))
    running = (await tryout.queue(job_id))[job_id]
    unfinished = (await tryout.accounting([job_id]))[job_id]
    go.touch()
    (final,) = await tryout.ends(job_id)

    assert running.state is JobState.RUNNING
    assert running.started_at is not None
    assert running.node == os.uname().nodename
    assert [row.outcome for row in unfinished] == [None]
    assert (final.outcome, final.word, final.exit_code, final.signal) == (Outcome.FAILED, "FAILED", 3, None)
    assert final.submitted_at is not None
    assert final.started_at == running.started_at
    assert final.ended_at is not None
    assert final.submitted_at <= final.started_at <= final.ended_at
    assert tryout.stdout(job) == "done\n"


async def test_success_and_death_by_signal_are_told_apart(tryout: TryingOut) -> None:
    ids = await tryout.submit(tryout.job("r/a", "exit 0"), tryout.job("r/b", "kill -KILL $$"))

    good, killed = await tryout.ends(*ids)

    assert (good.outcome, good.exit_code, good.signal) == (Outcome.SUCCEEDED, 0, None)
    assert (killed.outcome, killed.exit_code, killed.signal) == (Outcome.FAILED, None, signal.SIGKILL)


async def test_a_child_runs_after_its_parents_succeeded(tryout: TryingOut) -> None:
    trail = tryout.directory / "trail"

    ids = await tryout.submit(
        tryout.job("r/a", f"sleep 0.2; echo a >> '{trail}'", is_held=True),
        tryout.job("r/b", f"echo b >> '{trail}'", after_tags=("r/a",)),
    )
    (later,) = await tryout.submit(tryout.job("r/c", f"echo c >> '{trail}'", after_ids=(ids[1],)))
    queued = await tryout.queue(*ids, later)
    complaints = await tryout.act(Action.RELEASE, ids[0])
    finals = await tryout.ends(*ids, later)

    assert [queued[job_id].reason for job_id in (*ids, later)] == ["JobHeldUser", "Dependency", "Dependency"]
    assert complaints == {}
    assert [final.outcome for final in finals] == [Outcome.SUCCEEDED] * 3
    assert trail.read_text().split() == ["a", "b", "c"]


async def test_a_failed_parent_ends_its_descendants_without_running_them(tryout: TryingOut) -> None:
    trail = tryout.directory / "trail"
    ids = await tryout.submit(
        tryout.job("r/a", "exit 1"),
        tryout.job("r/b", f"touch '{trail}'", after_tags=("r/a",)),
        tryout.job("r/c", f"touch '{trail}'", after_tags=("r/b",), is_held=True),
        tryout.job("r/d", f"touch '{trail}'", after_ids=("00000000-1",)),
    )

    finals = await tryout.ends(*ids)

    assert [final.outcome for final in finals] == [Outcome.FAILED] + [Outcome.DEPENDENCY_FAILED] * 3
    assert finals[1].word == "DependencyNeverSatisfied"
    assert finals[1].started_at is None
    assert not trail.exists()


async def test_a_running_job_is_cancelled_with_everything_it_started(tryout: TryingOut) -> None:
    pids = tryout.directory / "pids"
    (job_id,) = await tryout.submit(
        tryout.job("r/a", f"trap '' TERM; sleep 600 & echo $! > '{pids}.x'; mv '{pids}.x' '{pids}'; wait; exit 0")
    )
    await eventually(pids.exists)
    child = int(pids.read_text())

    complaints = await tryout.act(Action.CANCEL, job_id, "00000000-7", "../../x")
    (final,) = await tryout.ends(job_id)

    assert complaints == {"00000000-7": "there is no such job", "../../x": "there is no such job"}
    assert (final.outcome, final.word) == (Outcome.CANCELLED, f"CANCELLED by {os.getuid()}")
    assert not is_alive(child)


async def test_a_queued_job_is_cancelled_before_it_runs(tryout: TryingOut) -> None:
    trail = tryout.directory / "trail"
    (job_id,) = await tryout.submit(tryout.job("r/a", f"touch '{trail}'", is_held=True))

    await tryout.act(Action.CANCEL, job_id)
    (final,) = await tryout.ends(job_id)
    after = await tryout.act(Action.RELEASE, job_id)

    assert (final.outcome, final.started_at, final.exit_code) == (Outcome.CANCELLED, None, None)
    assert after == {}
    assert not trail.exists()


async def test_what_a_job_leaves_in_the_background_ends_with_it(tryout: TryingOut) -> None:
    job = tryout.job("r/a", "set -m; sleep 600 & echo $!")

    (final,) = await tryout.ends(*await tryout.submit(job))

    assert final.outcome is Outcome.SUCCEEDED
    assert not is_alive(int(tryout.stdout(job)))


async def test_a_job_past_its_time_limit_is_ended(tryout: TryingOut) -> None:
    (job_id,) = await tryout.submit(tryout.job("r/a", "sleep 600", time_limit="0:01"))

    (final,) = await tryout.ends(job_id)

    assert (final.outcome, final.word, final.signal) == (Outcome.TIMED_OUT, "TIMEOUT", signal.SIGTERM)


async def test_a_job_is_found_by_its_tag_alive_and_over(tryout: TryingOut) -> None:
    held, over = await tryout.submit(tryout.job("r/a", "", is_held=True), tryout.job("r/b", ""))
    await tryout.ends(over)

    found = await tryout.find("r/a", "r/b", "r/c")

    assert found.jobs == {"r/a": (held,), "r/b": (over,)}
    assert found.is_accounting_kept


async def test_a_job_sees_its_id_and_none_of_our_settings(tryout: TryingOut, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPTHUT_POLLER_DATABASE_URL", "secret")
    monkeypatch.setenv("BASH_ENV", "/nowhere/secret")
    monkeypatch.setenv("LC_NUMERIC", "C")
    job = tryout.job("r/a", "env; cat; trap -p; kill -s PIPE $$")

    (job_id,) = await tryout.submit(job)
    (final,) = await tryout.ends(job_id)

    seen = tryout.stdout(job)
    assert f"SCRIPTHUT_JOB_ID={job_id}\n" in seen
    assert "secret" not in seen
    assert "LC_NUMERIC=C\n" in seen
    assert final.signal == signal.SIGPIPE


async def test_what_cannot_be_submitted_is_refused_alone(tryout: TryingOut) -> None:
    (tryout.directory / "file").touch()

    receipts = await tryout.receipts(
        tryout.job("r/a", "", log_dir=str(tryout.directory / "file" / "below")),
        tryout.job("r/b", "", after_tags=("r/a",)),
        tryout.job("r/c", "", records_dir="/x\0y"),
        tryout.job("r/d", "", stdout_path="/nowhere/at/all"),
    )
    (final,) = await tryout.ends(receipts[3].job_id or "")

    assert [receipt.fate for receipt in receipts] == [Fate.REFUSED, Fate.DEFERRED, Fate.REFUSED, Fate.ACCEPTED]
    assert "Not a directory" in receipts[0].message
    assert (final.outcome, final.word) == (Outcome.FAILED, "LaunchFailed")


async def test_two_hundred_quick_jobs_run_once_each(tryout: TryingOut) -> None:
    trail = tryout.directory / "trail"
    ids = [
        job_id
        for batch in range(2)
        for job_id in await tryout.submit(*(tryout.job(f"r{batch}/{n}", f"echo x >> '{trail}'") for n in range(100)))
    ]

    finals = await tryout.ends(*ids)

    assert {final.outcome for final in finals} == {Outcome.SUCCEEDED}
    assert len(trail.read_text()) == 400


async def test_the_wrapper_leaves_its_record_for_this_scheduler_too(tryout: TryingOut) -> None:
    log_dir = str(tryout.directory / "logs")
    task = TaskSpec(id="t", command="echo begun; exec sleep 600")
    script = wrapper.batch_script(task, run_id="r", log_dir=log_dir, working_dir=None, nonce="n")
    job = tryout.job("r/t", script.decode(), records_dir=layout.records_dir(log_dir, "r"))
    (job_id,) = await tryout.submit(job)
    await eventually(lambda: Path(job.stdout_path).exists() and tryout.stdout(job) == "begun\n")

    await tryout.act(Action.CANCEL, job_id)
    (final,) = await tryout.ends(job_id)

    record = manifest.parse(content(layout.manifest_path(log_dir, "r", "t")))
    assert final.outcome is Outcome.CANCELLED
    assert (record.job_id, record.exit_code, record.nonce) == (job_id, 143, "n")
