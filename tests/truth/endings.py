"""The ways to end on a working cluster: what the task does, what is done to it, what must be said."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec

from scripthut_common import layout
from scripthut_common.bus import message_of
from scripthut_common.events import Evidence, Outcome, RunCancelRequested, Type, event
from scripthut_common.tasks import TaskSpec
from tests.testbed.accounts import ALICE
from tests.truth.scene import Act, Scene, until

# Slurm itself waits two minutes: begun before its first execution is cleared away, a job fails to launch.
_CLEARED_S = 4.0
_NOTHING: Mapping[str, Any] = MappingProxyType({})
FOREVER = "sleep 600 & wait $!"
WAITS = 'until [ -e "$GATE" ]; do sleep 0.1; done'
KILL_BATCH_SHELL = "kill -KILL $SLURM_TASK_PID; sleep 5"
_EATS = "python3 -c 'import time; eaten = bytearray(300 << 20); time.sleep(60)'"

# One node each for what takes a node down or fills it; nobody else's tasks run there.
NODES = 8
PARTITIONS = """\
PartitionName=calm Nodes=n[1-4] PriorityTier=2
PartitionName=closed Nodes=n1 State=DOWN
PartitionName=breaks Nodes=n5
PartitionName=breaks-too Nodes=n6
PartitionName=yielding Nodes=n7 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=expendable Nodes=n8 PriorityTier=1 PreemptMode=CANCEL
PartitionName=urgent Nodes=n[7-8] PriorityTier=9 PreemptMode=OFF
"""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What must be said in the end."""

    outcome: Outcome
    exit_code: int | None = None
    signal: int | None = None
    attempt: int = 1
    evidence: Evidence = Evidence.SCHEDULER
    confirmed: bool = True


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """One way to end.

    `first` are the outcomes that may be said before the scheduler has its word: those of the exit record. `asks` are
    more fields of the task; `is_alone`: in a run of its own.
    """

    id: str
    what: str
    command: str = "true"
    expected: Verdict
    first: frozenset[Outcome] = frozenset()
    asks: Mapping[str, Any] = _NOTHING
    prepare: Act | None = None
    act: Act | None = None
    is_alone: bool = False

    def task(self, scene: Scene) -> TaskSpec:
        """Write the task down."""
        asks = {"env": {"GATE": str(scene.gate(self.id))}, "partition": scene.site.partition} | dict(self.asks)
        return TaskSpec(id=self.id, command=self.command, **asks)


async def _runs_into_its_limit(scene: Scene, task_id: str) -> None:
    await scene.update(await scene.running(task_id), "EndTime=now+2seconds")


async def _cancelled_running(scene: Scene, task_id: str) -> None:
    await scene.run("scancel", await scene.running(task_id), user=ALICE)


async def _cancelled_by_root(scene: Scene, task_id: str) -> None:
    await scene.run("scancel", await scene.running(task_id))


async def _cancelled_waiting(scene: Scene, task_id: str) -> None:
    await scene.run("scancel", await scene.job(task_id), user=ALICE)


async def _cancelled_held(scene: Scene, task_id: str) -> None:
    job_id = await scene.job(task_id)
    await scene.run("scontrol", "hold", job_id, user=ALICE)
    await asyncio.sleep(2)
    await scene.run("scancel", job_id, user=ALICE)


async def _cancelled_by_us(scene: Scene, task_id: str) -> None:
    await scene.running(task_id)
    wish = RunCancelRequested(
        run_id=scene.run_id, cluster=scene.site.name, requested_by="ada", requested_at=datetime.now(UTC)
    )
    told = event(Type.RUN_CANCEL_REQUESTED, wish, source="/test", at=datetime.now(UTC))
    await scene.house.bus.publish(message_of(told))


async def _requeued(scene: Scene, task_id: str) -> None:
    job_id = await scene.running(task_id)
    await scene.run("scontrol", "requeue", job_id)
    await _begins_again(scene, job_id)


async def _begins_again(scene: Scene, job_id: str) -> None:
    await until(lambda: scene.site.witness.seen[job_id].word == "PENDING", f"job {job_id} to wait again")
    await asyncio.sleep(_CLEARED_S)
    await scene.update(job_id, "StartTime=now")


async def _requeued_and_held_and_cancelled(scene: Scene, task_id: str) -> None:
    job_id = await scene.running(task_id)
    await scene.run("scontrol", "requeuehold", job_id)
    await until(lambda: scene.site.witness.seen[job_id].word == "PENDING", f"job {job_id} to wait again")
    await asyncio.sleep(_CLEARED_S)
    await scene.run("scancel", job_id, user=ALICE)


async def _displace(scene: Scene, node: str) -> None:
    script = "#!/bin/sh\nsleep 3\n"
    options = ("--partition=urgent", f"--nodelist={node}", "--cpus-per-task=4", "--output=/dev/null")
    await asyncio.to_thread(scene.site.slurm.submit, script, *options)


async def _preempted_and_requeued(scene: Scene, task_id: str) -> None:
    job_id = await scene.running(task_id)
    await _displace(scene, "n7")
    await _begins_again(scene, job_id)


async def _preempted_and_cancelled(scene: Scene, task_id: str) -> None:
    await scene.running(task_id)
    await _displace(scene, "n8")


async def _node_down(scene: Scene, task_id: str) -> None:
    job_id = await scene.running(task_id)
    await scene.update(job_id, "Requeue=0")
    await scene.run("scontrol", "update", "NodeName=n5", "State=DOWN", "Reason=x")


async def _node_down_and_requeued(scene: Scene, task_id: str) -> None:
    job_id = await scene.running(task_id)
    await scene.run("scontrol", "update", "NodeName=n6", "State=DOWN", "Reason=x")
    await _begins_again(scene, job_id)


async def _stdout_is_a_folder(scene: Scene, task_id: str) -> None:
    path = layout.stdout_path(str(scene.log_dir), scene.run_id, task_id)
    await scene.run("mkdir", "-p", path, user=ALICE)


BY_RECORD = frozenset({Outcome.FAILED})
BY_ZERO = frozenset({Outcome.SUCCEEDED})
_AGAIN = "[ $SCRIPTHUT_ATTEMPT = 2 ] || { " + FOREVER + "; }"
ONE_MINUTE = {"time_limit": "1"}

CALM = (
    Ending(id="success-at-once", what="`true`", expected=Verdict(outcome=Outcome.SUCCEEDED, exit_code=0)),
    Ending(id="success", what="`sleep 6`", command="sleep 6", expected=Verdict(outcome=Outcome.SUCCEEDED, exit_code=0)),
    Ending(id="exit-1", what="`exit 1`", command="exit 1", expected=Verdict(outcome=Outcome.FAILED, exit_code=1)),
    Ending(
        id="exit-137", what="`exit 137`", command="exit 137", expected=Verdict(outcome=Outcome.FAILED, exit_code=137)
    ),
    Ending(
        id="pipe-fails",
        what="`false \\| true`",
        command="false | true",
        expected=Verdict(outcome=Outcome.FAILED, exit_code=1),
    ),
    Ending(
        id="own-sigkill",
        what="`kill -KILL $$`",
        command="kill -KILL $$",
        expected=Verdict(outcome=Outcome.FAILED, exit_code=137),
    ),
    Ending(
        id="own-sigsegv",
        what="`kill -SEGV $$`",
        command="kill -SEGV $$",
        expected=Verdict(outcome=Outcome.FAILED, exit_code=139),
    ),
    Ending(
        id="batch-shell-killed",
        what="SIGKILL for the batch shell: no exit record",
        command=KILL_BATCH_SHELL,
        expected=Verdict(outcome=Outcome.FAILED, signal=9),
    ),
    Ending(
        id="walltime",
        what="time limit",
        command=FOREVER,
        asks=ONE_MINUTE,
        act=_runs_into_its_limit,
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.TIMED_OUT, exit_code=143),
    ),
    Ending(
        id="walltime-deaf",
        what="time limit, TERM ignored",
        command="trap '' TERM; while :; do sleep 1; done",
        asks=ONE_MINUTE,
        act=_runs_into_its_limit,
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.TIMED_OUT, exit_code=143, signal=9),
    ),
    Ending(
        id="walltime-tidy",
        what="time limit, TERM trapped, `exit 0`",
        command=f"trap 'exit 0' TERM; {FOREVER}",
        asks=ONE_MINUTE,
        act=_runs_into_its_limit,
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.TIMED_OUT, exit_code=0),
    ),
    Ending(
        id="cancelled-pending",
        what="scancel while it waits",
        asks={"partition": "closed"},
        act=_cancelled_waiting,
        expected=Verdict(outcome=Outcome.CANCELLED),
    ),
    Ending(
        id="cancelled-held",
        what="scancel while it is held",
        asks={"partition": "closed"},
        act=_cancelled_held,
        expected=Verdict(outcome=Outcome.CANCELLED),
    ),
    Ending(
        id="cancelled-running",
        what="scancel while it runs",
        command=FOREVER,
        act=_cancelled_running,
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.CANCELLED, exit_code=143),
    ),
    Ending(
        id="cancelled-by-root",
        what="scancel by root",
        command=FOREVER,
        act=_cancelled_by_root,
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.CANCELLED, exit_code=143),
    ),
    Ending(
        id="cancelled-by-us",
        what="its run is cancelled through us",
        command=FOREVER,
        act=_cancelled_by_us,
        first=BY_RECORD,
        is_alone=True,
        expected=Verdict(outcome=Outcome.CANCELLED, exit_code=143),
    ),
    Ending(
        id="requeued",
        what="`scontrol requeue`, then success",
        command=_AGAIN,
        act=_requeued,
        expected=Verdict(outcome=Outcome.SUCCEEDED, exit_code=0, attempt=2),
    ),
    Ending(
        id="requeued-killed",
        what="`scontrol requeue`, then its batch shell is killed: the exit record is that of the first attempt",
        command=f"{_AGAIN}; {KILL_BATCH_SHELL}",
        act=_requeued,
        expected=Verdict(outcome=Outcome.FAILED, signal=9, attempt=2),
    ),
    Ending(
        id="requeued-held",
        what="`scontrol requeuehold`, then scancel",
        command=FOREVER,
        act=_requeued_and_held_and_cancelled,
        expected=Verdict(outcome=Outcome.CANCELLED, attempt=2),
    ),
    Ending(
        id="preempted-requeued",
        what="preempted and requeued, then success",
        command=_AGAIN,
        asks={"partition": "yielding", "cpus": 4},
        act=_preempted_and_requeued,
        expected=Verdict(outcome=Outcome.SUCCEEDED, exit_code=0, attempt=2),
    ),
    Ending(
        id="preempted",
        what="preempted and not requeued",
        command=FOREVER,
        asks={"partition": "expendable", "cpus": 4},
        act=_preempted_and_cancelled,
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.PREEMPTED, exit_code=143),
    ),
    Ending(
        id="node-down",
        what="node down, not requeued",
        command=FOREVER,
        asks={"partition": "breaks"},
        act=_node_down,
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.NODE_FAILED, exit_code=143),
    ),
    Ending(
        id="node-down-requeued",
        what="node down and requeued, then success",
        command=_AGAIN,
        asks={"partition": "breaks-too"},
        act=_node_down_and_requeued,
        expected=Verdict(outcome=Outcome.SUCCEEDED, exit_code=0, attempt=2),
    ),
    Ending(
        id="child-of-failed",
        what="a dependency that is never satisfied",
        asks={"deps": ("exit-1",)},
        expected=Verdict(outcome=Outcome.DEPENDENCY_FAILED),
    ),
    Ending(
        id="child-of-cancelled",
        what="the same, its parent cancelled before it began",
        asks={"deps": ("cancelled-pending",)},
        expected=Verdict(outcome=Outcome.DEPENDENCY_FAILED),
    ),
    Ending(
        id="no-working-dir",
        what="working directory missing",
        asks={"working_dir": "/no/such/folder"},
        expected=Verdict(outcome=Outcome.FAILED, exit_code=1),
    ),
    Ending(
        id="stdout-unwritable",
        what="standard output is a folder",
        prepare=_stdout_is_a_folder,
        expected=Verdict(outcome=Outcome.FAILED),
    ),
    Ending(
        id="init-exits",
        what="an init line that says `exit 3`",
        asks={"init": ("exit 3",)},
        expected=Verdict(outcome=Outcome.FAILED, exit_code=3),
    ),
    Ending(
        id="init-garbled",
        what="an init line with an open quote",
        command="exit 4",
        asks={"init": ("echo 'open",)},
        expected=Verdict(outcome=Outcome.FAILED, exit_code=4),
    ),
    Ending(
        id="bad-interpreter",
        what="a script whose interpreter is missing",
        command="""f=$(mktemp); printf '#!/no/such/interpreter\\n' > "$f"; chmod +x "$f"; "$f" """,
        expected=Verdict(outcome=Outcome.FAILED, exit_code=127),
    ),
    Ending(
        id="command-not-found",
        what="command not found",
        command="no-such-command",
        expected=Verdict(outcome=Outcome.FAILED, exit_code=127),
    ),
    Ending(
        id="partition-refused",
        what="sbatch refuses the partition",
        asks={"partition": "nowhere"},
        expected=Verdict(outcome=Outcome.SUBMISSION_FAILED, evidence=Evidence.NONE),
    ),
)

MEMORY = (
    Ending(
        id="out-of-memory",
        what="more memory than asked for (cgroups)",
        command=_EATS,
        asks={"memory": "50M"},
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.OUT_OF_MEMORY, exit_code=137),
    ),
    Ending(
        id="out-of-memory-exec",
        what="the same after `exec`",
        command=f"exec {_EATS}",
        asks={"memory": "50M"},
        first=BY_RECORD,
        expected=Verdict(outcome=Outcome.OUT_OF_MEMORY, exit_code=137),
    ),
)
