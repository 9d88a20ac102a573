"""Other programs' jobs are watched like ours, if they lie where we may read; our own announcements change nothing."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from scripthut_common.bus import Message, message_of
from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.errors import Conflict, PermanentError, Unreachable
from scripthut_common.events import ItemEvent, ItemState, Type, event
from scripthut_common.shell.local import LocalShell
from scripthut_common.shell.ssh import SshShell
from scripthut_poller.homes import Homes
from scripthut_poller.registering import Registering
from scripthut_poller.watchlist import clusters, rounds
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
    here = Cluster(scheduler=SchedulerKind.LOCALHOST, name="here", log_dir="~/logs")
    return Registering(database, {"here": here}, Homes(database, {"here": LocalShell()}))


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


async def test_an_element_of_an_array_is_an_item(registering: Registering, database: Database) -> None:
    await registering.take(_announced(job_id="21[3].pbs01"))

    assert [item.job_id for item in (await rounds.watched(database, "here")).items] == ["21[3].pbs01"]


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
        {"job_id": "1,2"},
        {"job_id": "21[].pbs01"},
        {"job_id": "21[3]; id"},
        {"job_id": "--help"},
        {"job_id": "$(id)"},
        {"job_id": None},
        {"run_id": "../r1"},
        {"task_id": "_run"},
    ],
)
async def test_what_we_must_not_watch_is_refused_and_named(
    registering: Registering, database: Database, hostile: dict[str, Any]
) -> None:
    with pytest.raises(PermanentError, match=next(iter(hostile))):
        await registering.take(_announced(**hostile))

    assert await rows(database) == {}


async def test_nobody_joins_the_run_of_somebody_else(registering: Registering, database: Database) -> None:
    await registering.take(_announced())

    with pytest.raises(Conflict, match="somebody else"):
        await registering.take(_announced(task_id="t2", owner="mallory"))

    assert list(await rows(database)) == ["t1"]


async def test_the_home_is_remembered_for_when_the_cluster_is_away(database: Database) -> None:
    asked = await Homes(database, {"here": LocalShell()}).of("here")

    away = SshShell(Cluster(scheduler=SchedulerKind.SLURM, name="away", port=reserve_port(), check_host_key=False))
    homes = Homes(database, {"here": away, "never": away})
    assert await homes.of("here") == asked == HOME
    assert await clusters.home(database, "here") == HOME
    with pytest.raises(Unreachable):
        await homes.of("never")


async def test_homes_are_asked_for_once(database: Database) -> None:
    shell = LocalShell()
    homes = Homes(database, {"here": shell})

    for _ in range(3):
        await homes.of("here")

    assert shell.commands_run == 1
