"""What the cluster without a scheduler survives: killed processes, cut questions, poison, hostile names."""

import asyncio
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from scripthut_common.errors import Unreachable
from scripthut_common.events import Outcome
from scripthut_common.shell.local import LocalShell
from scripthut_poller.asking import ask
from scripthut_poller.localhost import processes, spool
from scripthut_poller.schedulers.job import Action
from tests.eventually import eventually
from tests.integration.poller.trying_out import TryingOut, is_alive, names, until, waiting_for


async def test_a_killed_supervisor_loses_no_job_and_repeats_none(tryout: TryingOut) -> None:
    go, trail = tryout.directory / "go", tryout.directory / "trail"
    ids = await tryout.submit(
        tryout.job("r/a", f"echo a >> '{trail}'; {waiting_for(go, 'exit 5')}"),
        tryout.job("r/b", f"echo b >> '{trail}'; {waiting_for(go)}"),
        tryout.job("r/c", f"echo c >> '{trail}'", after_tags=("r/b",)),
    )
    await until(lambda: tryout.is_running(ids[1]))
    await eventually(lambda: trail.exists() and len(trail.read_text()) == 4)
    before = tryout.supervisor()

    os.kill(before, signal.SIGKILL)
    await eventually(lambda: not tryout.is_supervised())
    go.touch()
    finals = await tryout.ends(*ids)

    assert tryout.supervisor() != before
    assert [(final.outcome, final.exit_code) for final in finals] == [
        (Outcome.FAILED, 5),
        (Outcome.SUCCEEDED, 0),
        (Outcome.SUCCEEDED, 0),
    ]
    assert sorted(trail.read_text().split()) == ["a", "b", "c"]


async def test_a_job_whose_runner_is_killed_ends_as_a_failed_node(tryout: TryingOut) -> None:
    (job_id,) = await tryout.submit(tryout.job("r/a", "sleep 600"))
    await eventually(lambda: tryout.leader(job_id) is not None)
    leader = tryout.leader(job_id)

    os.kill(tryout.supervisor(), signal.SIGKILL)
    os.kill(tryout.runner(job_id), signal.SIGKILL)
    (final,) = await tryout.ends(job_id)

    assert (final.outcome, final.word) == (Outcome.NODE_FAILED, "NODE_FAIL")
    assert final.started_at is not None
    assert leader is not None
    await eventually(lambda: processes.describe(leader.pid) != leader)


async def test_two_clients_that_submit_at_once_share_one_supervisor(tryout: TryingOut) -> None:
    batches = [[tryout.job(f"{client}/{n}", "exit 0") for n in range(10)] for client in range(4)]

    ids = [job_id for batch in await asyncio.gather(*(tryout.submit(*batch) for batch in batches)) for job_id in batch]
    finals = await tryout.ends(*ids)

    log = (tryout.place.directory / "supervisor.log").read_text()
    assert len(set(ids)) == 40
    assert {final.outcome for final in finals} == {Outcome.SUCCEEDED}
    assert log.count("begins") - log.count("ends") == 1


async def test_a_folder_that_was_removed_and_made_anew_gives_other_ids(tryout: TryingOut) -> None:
    first = await tryout.submit(tryout.job("r/a", ""))
    await tryout.ends(*first)
    await tryout.close()
    tryout.place.directory.rename(tryout.directory / "old")

    second = await tryout.submit(tryout.job("r/a", ""))

    assert set(first).isdisjoint(second)
    assert await tryout.accounting(first) == {}


async def test_what_cannot_be_read_in_the_spool_disturbs_nothing_else(tryout: TryingOut) -> None:
    poisoned, untouched = await tryout.submit(tryout.job("r/a", "", is_held=True), tryout.job("r/b", "", is_held=True))
    live = tryout.place.live
    (live / poisoned / "job.json").write_bytes(b'{"submission": \xff')
    (live / "00000000-1").write_text("a file")
    (live / "00000000-2").mkdir()
    (live / "$(touch x)\n").mkdir()

    await tryout.act(Action.RELEASE, untouched)
    (final,) = await tryout.ends(untouched)
    await eventually(lambda: not (live / poisoned).exists())

    assert final.outcome is Outcome.SUCCEEDED
    assert await tryout.accounting([poisoned]) == {}
    assert (await tryout.find("r/b")).jobs == {"r/b": (untouched,)}


async def test_hostile_names_are_only_names(tmp_path: Path) -> None:
    evil = "$(touch pwned); `id` 'q' \"d\"\n\t*-\udcff"
    tryout = TryingOut(tmp_path / evil / ("long" * 50) / ("er" * 100))
    tag = f"r/{evil}\0"
    job = tryout.job(tag, "printf '%s' \"$0\" '\udcfe'", job_name=evil)
    try:
        (job_id,) = await tryout.submit(job)
        (final,) = await tryout.ends(job_id)

        assert final.outcome is Outcome.SUCCEEDED
        assert os.fsdecode(tryout.stdout_bytes(job)).startswith(f"{tryout.place.live / job_id}/script")
        assert (await tryout.find(tag)).jobs == {tag: (job_id,)}
        assert names(tmp_path) == [evil]
    finally:
        await tryout.close()


async def test_a_cut_question_does_nothing_and_says_so(tryout: TryingOut) -> None:
    question = tryout.scheduler.submit([tryout.job("r/a", "")])

    answer = await LocalShell().run(question.program, *question.argv, stdin=question.stdin[:-1])

    assert answer.exit_status == 1
    with pytest.raises(Unreachable, match="localhost queue"):
        await ask(LocalShell(), TryingOut(Path("/dev/null")).scheduler.queue(["00000000-1"]))
    assert tryout.place.live_ids() == []


async def test_after_a_restart_of_the_machine_no_stranger_is_harmed(tryout: TryingOut) -> None:
    (job_id,) = await tryout.submit(tryout.job("r/a", "exit 0", is_held=True))
    await tryout.end_supervisor()
    stranger = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    now = processes.describe(stranger.pid)
    assert now is not None
    folder = tryout.place.live / job_id
    spool.write(folder / spool.PROCESS, msgspec.structs.replace(now, boot_id="of another time"))
    spool.write(folder / spool.STARTED, spool.Started(at=datetime.now(UTC), node="here"))

    (final,) = await tryout.ends(job_id)

    assert final.outcome is Outcome.NODE_FAILED
    assert is_alive(stranger.pid)
    stranger.kill()
    await stranger.wait()


async def test_a_submission_that_is_cut_in_the_middle_is_found_by_its_tags(tryout: TryingOut) -> None:
    trail = tryout.directory / "trail"
    jobs = [tryout.job(f"r/{n}", f"echo {n} >> '{trail}'") for n in range(100)]
    submitting = asyncio.ensure_future(tryout.receipts(*jobs))
    await eventually(lambda: tryout.place.live.is_dir() and len(tryout.place.live_ids()) > 5)
    submitting.cancel()
    await asyncio.wait([submitting])

    found = await tryout.find(*(job.tag for job in jobs))
    missing = [job for job in jobs if job.tag not in found.jobs]
    later = await tryout.submit(*missing)
    finals = await tryout.ends(*(job_id for ids in found.jobs.values() for job_id in ids), *later)

    assert found.jobs
    assert missing
    assert len(finals) == 100
    assert sorted(map(int, trail.read_text().split())) == list(range(100))


async def test_a_supervisor_forgets_what_was_over_long_ago(tryout: TryingOut) -> None:
    old, recent = await tryout.submit(tryout.job("r/a", ""), tryout.job("r/b", ""))
    await tryout.ends(old, recent)
    await tryout.end_supervisor()
    os.utime(tryout.place.done / old, (0, 0))

    await tryout.ends(*await tryout.submit(tryout.job("r/c", "")))

    assert (await tryout.accounting([old, recent])).keys() == {recent}
