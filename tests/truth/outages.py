"""The ways to end while something of Slurm's is away: a script takes it away and brings it back."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from scripthut_common.events import Evidence, Outcome
from tests.truth.endings import BY_RECORD, BY_ZERO, FOREVER, KILL_BATCH_SHELL, ONE_MINUTE, WAITS, Ending, Verdict
from tests.truth.scene import Scene, until

Script = Callable[[Scene], Coroutine[Any, Any, None]]
_ACCOUNTING = "slurm-accounting"
_AWAY_S = 3.0

ACCOUNTING = (
    Ending(
        id="accounting-down",
        what="slurmdbd down while it ends, then up",
        command=f"{WAITS}; exit 5",
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.FAILED, exit_code=5),
    ),
    Ending(
        id="accounting-down-success",
        what="the same, it succeeds",
        command=WAITS,
        first=BY_ZERO,
        expected=Verdict(outcome=Outcome.SUCCEEDED, exit_code=0),
    ),
    Ending(
        id="accounting-down-killed",
        what="the same, its batch shell is killed",
        command=f"{WAITS}; {KILL_BATCH_SHELL}",
        expected=Verdict(outcome=Outcome.FAILED, signal=9),
    ),
    Ending(
        id="accounting-down-walltime",
        what="the same, time limit",
        command=FOREVER,
        asks=ONE_MINUTE,
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.TIMED_OUT, exit_code=143),
    ),
    Ending(
        id="accounting-down-cancelled",
        what="the same, scancel",
        command=FOREVER,
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.CANCELLED, exit_code=143),
    ),
    Ending(
        id="accounting-down-begun",
        what="slurmdbd down from before it began until after its end",
        asks={"deps": ("accounting-down-success",)},
        first=BY_ZERO,
        expected=Verdict(outcome=Outcome.SUCCEEDED, exit_code=0),
    ),
    Ending(
        id="purged",
        what="no exit record, purged from queue and accounting before we could ask",
        command=f"{WAITS}; {KILL_BATCH_SHELL}",
        expected=Verdict(outcome=Outcome.UNKNOWN, evidence=Evidence.NONE, confirmed=False),
    ),
)

CONTROLLER = (
    Ending(
        id="controller-down",
        what="slurmctld down while it ends, then up",
        command=f"{WAITS}; exit 5",
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.FAILED, exit_code=5),
    ),
    Ending(
        id="controller-down-killed",
        what="the same, its batch shell is killed",
        command=f"{WAITS}; {KILL_BATCH_SHELL}",
        expected=Verdict(outcome=Outcome.FAILED, signal=9),
    ),
    Ending(
        id="both-down",
        what="slurmctld and slurmdbd down while it ends, then up",
        command=WAITS,
        first=BY_ZERO,
        expected=Verdict(outcome=Outcome.SUCCEEDED, exit_code=0),
    ),
)

HUNG = (
    Ending(
        id="controller-hung",
        what="slurmctld hung (SIGSTOP) while it ends, then woken",
        command=f"{WAITS}; exit 5",
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.FAILED, exit_code=5),
    ),
)

ACCOUNTING_HUNG = (
    Ending(
        id="accounting-hung",
        what="slurmdbd hung (SIGSTOP) while it ends, then woken",
        command=f"{WAITS}; exit 5",
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.FAILED, exit_code=5),
    ),
    Ending(
        id="accounting-hung-success",
        what="the same, it succeeds",
        command=WAITS,
        first=BY_ZERO,
        expected=Verdict(outcome=Outcome.SUCCEEDED, exit_code=0),
    ),
    Ending(
        id="accounting-hung-killed",
        what="the same, its batch shell is killed",
        command=f"{WAITS}; {KILL_BATCH_SHELL}",
        expected=Verdict(outcome=Outcome.FAILED, signal=9),
    ),
    Ending(
        id="accounting-hung-cancelled",
        what="the same, scancel",
        command=FOREVER,
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.CANCELLED, exit_code=143),
    ),
    Ending(
        id="accounting-hung-begun",
        what="slurmdbd hung from before it began until after its end",
        asks={"deps": ("accounting-hung-success",)},
        first=BY_ZERO,
        expected=Verdict(outcome=Outcome.SUCCEEDED, exit_code=0),
    ),
    Ending(
        id="both-hung",
        what="slurmctld and slurmdbd hung while it ends, then woken",
        command=WAITS,
        first=BY_ZERO,
        expected=Verdict(outcome=Outcome.SUCCEEDED, exit_code=0),
    ),
    Ending(
        id="both-hung-killed",
        what="the same, its batch shell is killed",
        command=f"{WAITS}; {KILL_BATCH_SHELL}",
        expected=Verdict(outcome=Outcome.FAILED, signal=9),
    ),
)

BARE = (
    Ending(
        id="no-accounting",
        what="no accounting at all, success",
        command=f"{WAITS}",
        expected=Verdict(outcome=Outcome.SUCCEEDED, exit_code=0, evidence=Evidence.EXIT_RECORD, confirmed=False),
    ),
    Ending(
        id="no-accounting-exit-3",
        what="no accounting at all, `exit 3`",
        command="exit 3",
        expected=Verdict(outcome=Outcome.FAILED, exit_code=3, evidence=Evidence.EXIT_RECORD, confirmed=False),
    ),
    Ending(
        id="no-accounting-cancelled",
        what="no accounting at all, scancel",
        command=FOREVER,
        expected=Verdict(
            outcome=Outcome.FAILED, exit_code=143, signal=15, evidence=Evidence.EXIT_RECORD, confirmed=False
        ),
    ),
    Ending(
        id="no-accounting-tidy",
        what="no accounting at all, scancel, TERM trapped, `exit 0`",
        command=f"trap 'exit 0' TERM; {FOREVER}",
        expected=Verdict(
            outcome=Outcome.FAILED, exit_code=0, signal=15, evidence=Evidence.EXIT_RECORD, confirmed=False
        ),
    ),
    Ending(
        id="no-accounting-killed",
        what="no accounting at all, its batch shell is killed",
        command=KILL_BATCH_SHELL,
        expected=Verdict(outcome=Outcome.UNKNOWN, evidence=Evidence.NONE, confirmed=False),
    ),
)


async def nothing(_scene: Scene) -> None:
    """Leave the cluster alone."""


async def accounting_goes_away(scene: Scene) -> None:
    """Stop slurmdbd, let everything end, and bring it back once the exit records have spoken."""
    slurm = scene.site.slurm
    by_limit = await scene.running("accounting-down-walltime")
    by_hand = await scene.running("accounting-down-cancelled")
    gated = ("accounting-down", "accounting-down-success", "accounting-down-killed")
    for task_id in (*gated, "purged"):
        await scene.running(task_id)
    await asyncio.to_thread(slurm.slurmdbd.stop)
    for task_id in gated:
        scene.open_gate(task_id)
    await scene.update(by_limit, "EndTime=now+2seconds")
    await scene.run("scancel", by_hand)
    for ending in ACCOUNTING:
        if ending.first:
            await scene.ended(ending.id)
    await asyncio.sleep(_AWAY_S)
    scene.shell.away.add(_ACCOUNTING)
    await asyncio.to_thread(slurm.slurmdbd.start)
    await _is_purged(scene)
    scene.shell.away.clear()


async def _is_purged(scene: Scene) -> None:
    """Have a job end, and its record go before anybody could ask."""
    job_id = await scene.job("purged")
    scene.open_gate("purged")
    await asyncio.to_thread(scene.site.slurm.wait_ended, job_id)
    await asyncio.to_thread(scene.site.slurm.purge, job_id)


async def controller_goes_away(scene: Scene) -> None:
    """Stop slurmctld, let tasks end, bring it back; then the same with slurmdbd."""
    slurm = scene.site.slurm
    for ending in CONTROLLER:
        await scene.running(ending.id)
    await asyncio.to_thread(slurm.slurmctld.stop)
    for task_id in ("controller-down", "controller-down-killed"):
        scene.open_gate(task_id)
    await until(scene.record("controller-down").exists, "the task to end")
    await asyncio.sleep(_AWAY_S)
    await asyncio.to_thread(slurm.slurmctld.start)
    await asyncio.gather(*map(scene.ended, ("controller-down", "controller-down-killed")))
    await asyncio.to_thread(slurm.slurmctld.stop)
    await asyncio.to_thread(slurm.slurmdbd.stop)
    scene.open_gate("both-down")
    await until(scene.record("both-down").exists, "the task to end")
    await asyncio.sleep(_AWAY_S)
    await asyncio.to_thread(slurm.slurmdbd.start)
    await asyncio.to_thread(slurm.slurmctld.start)


async def controller_hangs(scene: Scene) -> None:
    """Let slurmctld take connections and answer nobody while a task ends."""
    slurm = scene.site.slurm
    await scene.running("controller-hung")
    slurm.slurmctld.pause()
    scene.open_gate("controller-hung")
    await until(scene.record("controller-hung").exists, "the task to end")
    await scene.house.until_it_says(f"poller.cluster.{scene.site.name}")
    slurm.slurmctld.resume()


async def accounting_hangs(scene: Scene) -> None:
    """Let slurmdbd take connections and answer nobody until exit records have spoken; then the same with slurmctld."""
    slurm = scene.site.slurm
    gated = ("accounting-hung", "accounting-hung-success", "accounting-hung-killed")
    both = ("both-hung", "both-hung-killed")
    for task_id in (*gated, *both):
        await scene.running(task_id)
    by_hand = await scene.running("accounting-hung-cancelled")
    slurm.slurmdbd.pause()
    for task_id in gated:
        scene.open_gate(task_id)
    await scene.run("scancel", by_hand)
    for ending in ACCOUNTING_HUNG:
        if ending.first and ending.id not in both:
            await scene.ended(ending.id)
    slurm.slurmdbd.resume()
    await scene.ended("accounting-hung-killed")
    slurm.slurmdbd.pause()
    slurm.slurmctld.pause()
    for task_id in both:
        scene.open_gate(task_id)
    await until(scene.record("both-hung").exists, "the task to end")
    await scene.house.until_it_says(f"poller.cluster.{scene.site.name}")
    slurm.slurmdbd.resume()
    slurm.slurmctld.resume()


async def bare(scene: Scene) -> None:
    """Cancel what runs, let the other go."""
    for task_id in ("no-accounting-cancelled", "no-accounting-tidy"):
        await scene.run("scancel", await scene.running(task_id))
    await scene.running("no-accounting")
    scene.open_gate("no-accounting")
