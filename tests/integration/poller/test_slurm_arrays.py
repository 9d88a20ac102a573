"""Arrays, heterogeneous jobs and other people's jobs on real Slurm, over real sshd."""

import msgspec
import pytest

from scripthut_common.errors import BadOutput
from scripthut_common.events import Outcome
from scripthut_poller.schedulers.job import ABSENT, Accounted, Action, JobState, Seen
from tests.integration.poller.slurm_bed import Bed
from tests.testbed.accounts import ALICE, BOB
from tests.testbed.slurm import SlurmCluster

SLEEPS = "#!/bin/sh\nexec sleep 300\n"
NOWHERE = "--output=/dev/null"


async def test_every_element_of_an_array_is_told_apart(bed: Bed, slurm: SlurmCluster) -> None:
    array = slurm.submit(SLEEPS, "--array=0-9%2", NOWHERE)
    await bed.sighted(f"{array}_1", JobState.RUNNING)
    waiting = await bed.sighted(f"{array}_7", JobState.QUEUED)

    queue = await bed.ask(bed.slurm.queue([]))
    assert sorted(set(queue.jobs) & {f"{array}_{index}" for index in range(20)}) == [f"{array}_{i}" for i in range(10)]
    assert waiting.job.reason == "JobArrayTaskLimit"
    assert isinstance(queue.look(array), Seen)

    gone = [f"{array}_{index}" for index in (3, 4, 5)]
    assert await bed.ask(bed.slurm.act(Action.CANCEL, [f"{array}_0", *gone, f"{array}_99"])) == {}
    ended = await bed.ended(f"{array}_0")
    queue = await bed.ask(bed.slurm.queue([]))
    accounts = await bed.ask(bed.slurm.accounting([*gone, f"{array}_1"]))

    assert (ended.outcome, ended.node) == (Outcome.CANCELLED, "n1")
    # Elements that are cancelled one by one while they wait leave no trace at all.
    assert [queue.look(job_id) for job_id in gone] == [accounts.look(job_id) for job_id in gone] == [ABSENT] * 3
    assert last_of(accounts.look(f"{array}_1")).outcome is None

    slurm.run("scancel", array)
    rest = [await bed.ended(f"{array}_{index}") for index in (6, 9)]
    assert {(one.outcome, one.started_at, one.word) for one in rest} == {(Outcome.CANCELLED, None, "CANCELLED by 0")}
    assert (await bed.ended(f"{array}_1")).started_at is not None


async def test_the_endings_of_elements_are_their_own(bed: Bed, slurm: SlurmCluster) -> None:
    array = slurm.submit("#!/bin/sh\nexit $SLURM_ARRAY_TASK_ID\n", "--array=0,1,200", NOWHERE)

    ends = [await bed.ended(f"{array}_{index}") for index in (0, 1, 200)]

    assert [one.outcome for one in ends] == [Outcome.SUCCEEDED, Outcome.FAILED, Outcome.FAILED]
    assert [one.id for one in ends] == [f"{array}_0", f"{array}_1", f"{array}_200"]
    # Before 26.05 Slurm prints 1:0 for 1 as well as for 129.
    assert ends[0].exit_code == 0
    assert ends[1].exit_code in {None, 1}
    assert ends[2].exit_code in {None, 200}


async def test_a_held_array_of_a_thousand_scattered_elements_is_seen_whole(bed: Bed, slurm: SlurmCluster) -> None:
    """By default Slurm's commands print 64 characters of such a list."""
    indexes = [index for index in range(1001) if index % 3 or index > 997]
    array = slurm.submit(SLEEPS, f"--array={','.join(map(str, indexes))}", "--hold", NOWHERE)

    queue = await bed.ask(bed.slurm.queue([]))
    seen = [index for index in range(1002) if queue.look(f"{array}_{index}") != ABSENT]
    slurm.run("scancel", array)
    last = await bed.ended(f"{array}_1000")
    accounts = await bed.ask(bed.slurm.accounting([f"{array}_{index}" for index in range(1000)]))

    assert seen == indexes
    assert queue.jobs[f"{array}_1"].reason == "JobHeldUser"
    assert last.outcome is Outcome.CANCELLED
    assert [i for i in range(1000) if accounts.look(f"{array}_{i}") != ABSENT] == [i for i in indexes if i < 1000]


async def test_an_element_that_is_requeued_waits_among_the_others_and_is_not_over(
    bed: Bed, slurm: SlurmCluster
) -> None:
    array = slurm.submit(SLEEPS, "--array=0-5%2", NOWHERE)
    job_id = f"{array}_1"
    await bed.sighted(job_id, JobState.RUNNING)

    slurm.run("scontrol", "requeue", job_id)
    seen = await bed.sighted(job_id, JobState.QUEUED)
    rows = (await bed.ask(bed.slurm.accounting([job_id]))).look(job_id)
    slurm.run("scancel", array)

    assert seen.job.restarts in {None, 1}
    assert rows == ABSENT or last_of(rows).outcome is None


async def test_a_heterogeneous_job_is_one_item(bed: Bed, slurm: SlurmCluster) -> None:
    go = bed.log_dir / "go"
    script = f"#!/bin/sh\nuntil [ -e {go} ]; do sleep 0.1; done\nexit 3\n"
    argv = ("sbatch", "--parsable", "--chdir=/", NOWHERE, "-n1", ":", "-n1")
    job_id = slurm.run(*argv, user=ALICE, stdin=script).strip()
    seen = await bed.sighted(job_id, JobState.RUNNING)
    queue = await bed.ask(bed.slurm.queue([]))

    bed.log_dir.mkdir()
    go.touch()
    ended = await bed.ended(job_id)

    assert [known for known in queue.jobs if known.startswith(job_id)] == [job_id]
    assert (seen.job.id, seen.job.node) == (job_id, "n1")
    assert (ended.id, ended.outcome, ended.word, ended.node) == (job_id, Outcome.FAILED, "FAILED", "n1")
    assert (await bed.ask(bed.slurm.queue([job_id]))).look(job_id) == ABSENT


async def test_a_heterogeneous_job_cancelled_before_it_began_is_cancelled(bed: Bed, slurm: SlurmCluster) -> None:
    argv = ("sbatch", "--parsable", "--chdir=/", "--hold", NOWHERE, "-n1", ":", "-n1")
    job_id = slurm.run(*argv, user=ALICE, stdin=SLEEPS).strip()
    seen = await bed.sighted(job_id, JobState.QUEUED)

    assert await bed.ask(bed.slurm.act(Action.CANCEL, [job_id])) == {}
    ended = await bed.ended(job_id)

    assert seen.job.reason == "JobHeldUser"
    assert (ended.outcome, ended.started_at) == (Outcome.CANCELLED, None)


async def test_elements_of_others_are_a_complaint_each(bed: Bed, slurm: SlurmCluster) -> None:
    array = slurm.submit(SLEEPS, "--array=0-3", "--hold", NOWHERE, user=BOB)
    ids = [f"{array}_1", f"{array}_2", f"{array}_77"]

    complaints = [await bed.ask(bed.slurm.act(action, ids)) for action in Action]

    slurm.run("scancel", array)
    assert all({f"{array}_1", f"{array}_2"} <= set(complaint) for complaint in complaints)


async def test_the_jobs_of_other_accounts_are_seen_when_they_are_named(bed: Bed, slurm: SlurmCluster) -> None:
    bobs = slurm.submit(SLEEPS, "--hold", NOWHERE, user=BOB)
    ours = await bed.run("t1", "true", is_held=True)

    alone = await bed.ask(bed.slurm.queue([ours, bobs]))
    both = await bed.ask(bed.slurm.queue([ours, bobs], [BOB]))
    slurm.run("scancel", bobs, ours)

    assert (alone.look(bobs), isinstance(alone.look(ours), Seen)) == (ABSENT, True)
    assert isinstance(both.look(bobs), Seen)
    assert isinstance(both.look(ours), Seen)
    assert (await bed.ended(bobs)).outcome is Outcome.CANCELLED


async def test_an_account_that_the_login_node_does_not_know_hides_no_jobs(bed: Bed, slurm: SlurmCluster) -> None:
    """Slurm leaves the jobs of such an account out and says so on standard error alone."""
    bobs = slurm.submit(SLEEPS, "--hold", NOWHERE, user=BOB)
    ours = await bed.run("t1", "true", is_held=True)

    queue = await bed.ask(bed.slurm.queue([ours, bobs], ["no-such-account", BOB]))
    slurm.run("scancel", bobs, ours)

    assert isinstance(queue.look(ours), Seen)
    assert isinstance(queue.look(bobs), Seen)


async def test_a_queue_without_an_account_of_ours_is_no_answer(bed: Bed) -> None:
    question = bed.slurm.queue([])
    text = question.program.text.replace("users=$(id -u)", "users=424242")

    with pytest.raises(BadOutput, match="Invalid user"):
        question.parse(await bed.shell.run(msgspec.structs.replace(question.program, text=text)))


FORGERY = "x|\n7|RUNNING|0|1|2|n1|None|\n99999|RUNNING|0|1|2|n1|None|\n\x1b[31m\x1f|,"


async def test_nobodys_names_and_comments_forge_a_row(bed: Bed, slurm: SlurmCluster) -> None:
    mine = f"--comment={FORGERY}", f"--job-name={FORGERY}", f"--wckey={FORGERY[:40]}"
    job_id = slurm.submit(SLEEPS, *mine, "--hold", NOWHERE)
    latin = slurm.submit(SLEEPS, "--comment=\udce9t\udce9|\n", "--job-name=\udce9", "--hold", NOWHERE, user=BOB)

    queue = await bed.ask(bed.slurm.queue([job_id], [BOB]))
    slurm.run("scancel", job_id, latin)
    ended = await bed.ended(job_id)
    accounts = await bed.ask(bed.slurm.accounting([job_id, latin, "7", "99999"]))

    assert queue.look("99999") == ABSENT
    assert isinstance(queue.look(job_id), Seen)
    assert isinstance(queue.look(latin), Seen)
    assert ended.outcome is Outcome.CANCELLED
    assert accounts.look("99999") == ABSENT


def last_of(executions: object) -> Accounted:
    assert isinstance(executions, tuple)
    last = executions[-1]
    assert isinstance(last, Accounted)
    return last
