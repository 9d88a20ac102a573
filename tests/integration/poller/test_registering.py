"""Other programs' jobs are watched like ours, if they lie where we may read; our own announcements change nothing."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scripthut_common.bus import Message, message_of
from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.errors import Conflict, LimitExceeded, PermanentError, Unreachable
from scripthut_common.events import ItemEvent, ItemState, Type, event
from scripthut_common.shell import RemoteShell
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.local import LocalShell
from scripthut_common.shell.ssh import SshShell
from scripthut_poller.homes import Homes
from scripthut_poller.registering import Registering, check
from scripthut_poller.watchlist import announcements, clusters, rounds
from scripthut_poller.watchlist.items import SOURCE
from tests.integration.poller.told import AT, rows
from tests.testbed.ports import reserve_port

HOME = Path.home().as_posix()
ROOT = f"{HOME}/logs/outputs/r1"
ITEM = ItemEvent(
    run_id="r1",
    run_name="theirs",
    task_id="t1",
    task_name="t1",
    position=0,
    cluster="here",
    owner="bob",
    attempt=1,
    revision=0,
    sequence=7,
    state=ItemState.SUBMITTED,
    output_dir=f"{ROOT}/t1",
    run_summary_path=f"{ROOT}/_run/t1.md",
    job_id="42",
)


@pytest.fixture
def registering(database: Database) -> Registering:
    here = Cluster(
        scheduler=SchedulerKind.SLURM,
        name="here",
        log_dir="~/logs",
        adopt=("bob",),
        announced_roots=("~/more", "/scratch/x"),
    )
    return Registering(database, {"here": here}, Homes(database, {"here": _ways(LocalShell())}))


def _ways(shell: RemoteShell) -> AccountShells:
    return AccountShells(Cluster(scheduler=SchedulerKind.SLURM, name="here"), lambda _: shell)


def _announced(source: str = "/theirs", **values: Any) -> Message:
    item = msgspec.structs.replace(ITEM, **values)
    return message_of(event(Type.ITEM_SUBMITTED, item, source=source, at=AT))


async def test_an_announced_item_is_watched_once(registering: Registering, database: Database) -> None:
    await registering.take(_announced())
    await registering.take(_announced())

    watched = (await rounds.watched(database, "here")).items
    assert [(item.task_id, item.job_id, item.state, item.sequence) for item in watched] == [
        ("t1", "42", ItemState.SUBMITTED, 7)
    ]


async def test_our_own_announcements_and_other_clusters_change_nothing(
    registering: Registering, database: Database
) -> None:
    await registering.take(_announced(SOURCE))
    await registering.take(_announced(cluster="elsewhere"))

    assert await rows(database) == {}


@pytest.mark.parametrize(
    "hostile",
    [
        {"output_dir": "/etc"},
        {"output_dir": f"{HOME}/logs/../../../etc"},
        {"output_dir": f"{HOME}/logs"},
        {"output_dir": f"{HOME}/logs-of-others/r1/t1"},
        {"run_summary_path": "/root/.ssh/id_ed25519"},
        {"stdout_path": "/etc/shadow"},
        {"output_dir": f"{HOME}/more/../../etc/x"},
        {"output_dir": "/scratch/xyz/r1/t1"},
        {"output_dir": "/scratch/x/r1/t1"},
        {"job_id": "1,2"},
        {"job_id": "12.batch"},
        {"job_id": "12_[3-9]"},
        {"job_id": "12+1"},
        {"job_id": "21[3].pbs01"},
        {"job_id": "\u0661"},
        {"job_id": "12\n"},
        {"job_id": "21[].pbs01"},
        {"job_id": "21[3]; id"},
        {"job_id": "--help"},
        {"job_id": "$(id)"},
        {"job_id": None},
        {"run_id": "../r1"},
        {"task_id": "_run"},
        {"attempt": 2**31 - 1},
        {"sequence": 2**63 - 1},
        {"position": 2**31 - 1},
        {"job_submitted_at": datetime(1, 1, 1, tzinfo=UTC)},
        {"job_submitted_at": datetime(9999, 12, 31, 23, 59, tzinfo=UTC)},
        {"submitted_at": datetime(1, 1, 1, tzinfo=UTC)},
        {"run_name": "n" * 1025},
        {"task_name": "n" * 1025},
        {"owner": "o" * 257},
        {"output_dir": f"{HOME}/more/{'d' * 4096}"},
        {"output_dir": f"{HOME}/logs/outputs/of-somebody-else/t1"},
        {"run_summary_path": f"{HOME}/logs/outputs/of-somebody-else/_run/t1.md"},
        {"stdout_path": f"{HOME}/logs/scripthut_of-somebody-else_t1.out"},
        {"stderr_path": f"{HOME}/logs/scripthut_r10_t1.err"},
    ],
)
async def test_what_we_must_not_watch_is_refused_and_named(
    registering: Registering, database: Database, hostile: dict[str, Any]
) -> None:
    field = "run_summary_path" if hostile == {"output_dir": "/scratch/x/r1/t1"} else next(iter(hostile))

    with pytest.raises(PermanentError, match=field):
        await registering.take(_announced(**hostile))

    assert await rows(database) == {}


@pytest.mark.parametrize("root", [f"{HOME}/more/deep", "/scratch/x"])
async def test_what_lies_beneath_a_further_root_is_watched(
    registering: Registering, database: Database, root: str
) -> None:
    places = {"output_dir": f"{root}/r1/t1", "run_summary_path": f"{root}/r1/t1.md", "stdout_path": f"{root}/o"}

    await registering.take(_announced(**places, job_id="12_3"))

    (watched,) = (await rounds.watched(database, "here")).items
    assert (watched.job_id, watched.output_dir, watched.job_user) == ("12_3", f"{root}/r1/t1", "bob")
    assert root.startswith(watched.log_dir)


@pytest.mark.parametrize(
    ("scheduler", "job_id", "is_legal"),
    [
        ("slurm", "12", True), ("slurm", "12_3", True), ("slurm", "12.pbs01", False), ("slurm", "12_", False),
        ("pbs", "21.pbs01", True),
        ("pbs", "21[3].pbs01", True),
        ("pbs", "21.my_server", True),
        ("pbs", "21", False),
        ("pbs", "21[].pbs01", False),
        ("pbs", "21[3]; id", False),
        ("localhost", "job-1", True), ("localhost", "a;b", False),
    ],
)  # fmt: skip
def test_a_job_id_is_one_of_its_scheduler(scheduler: str, job_id: str, is_legal: bool) -> None:  # noqa: FBT001
    item = msgspec.structs.replace(ITEM, job_id=job_id)

    assert (check(item, [f"{HOME}/logs"], SchedulerKind(scheduler)) == []) is is_legal


async def test_nobody_joins_the_run_of_somebody_else(registering: Registering, database: Database) -> None:
    await registering.take(_announced())

    with pytest.raises(Conflict, match="somebody else"):
        await registering.take(_announced(task_id="t2", owner="mallory"))

    assert list(await rows(database)) == ["t1"]


async def test_a_run_takes_no_more_announced_tasks_than_any_other(registering: Registering, database: Database) -> None:
    for task_id in ("t1", "t2"):
        await registering.take(_announced(task_id=task_id))

    last = msgspec.structs.replace(ITEM, task_id="t3")
    with pytest.raises(LimitExceeded, match="may have no more"):
        await announcements.register(database, last, log_dir=ROOT, max_tasks=2)

    assert await announcements.register(database, ITEM, log_dir=ROOT, max_tasks=2) is False
    assert list(await rows(database)) == ["t1", "t2"]


async def test_the_home_is_remembered_for_when_the_cluster_is_away(database: Database) -> None:
    asked = await Homes(database, {"here": _ways(LocalShell())}).of("here")

    away = SshShell(Cluster(scheduler=SchedulerKind.SLURM, name="away", port=reserve_port(), check_host_key=False))
    homes = Homes(database, {"here": _ways(away), "never": _ways(away)})
    assert await homes.of("here") == asked == HOME
    assert await clusters.home(database, "here") == HOME
    with pytest.raises(Unreachable):
        await homes.of("never")


async def test_homes_are_asked_for_once(database: Database) -> None:
    shell = LocalShell()
    homes = Homes(database, {"here": _ways(shell)})

    for _ in range(3):
        await homes.of("here")

    assert shell.commands_run == 1
