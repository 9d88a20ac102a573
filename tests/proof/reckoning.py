"""What must hold in the end: each task one verdict, each file byte for byte, each event where it belongs."""

import json
from collections import Counter
from collections.abc import Sequence

import msgspec

from scripthut_common import bus
from scripthut_common.events import Type
from scripthut_outputs.controllers.shapes import RunWithItemsJson
from tests.chaos import checking
from tests.chaos.checking import Counted
from tests.chaos.work import Work
from tests.proof.stack import Stack, read_lines
from tests.proof.viewing import Viewer
from tests.testbed.clients import Client
from tests.testbed.processes import wait_until

_PATIENCE_S = 420.0
# How a cluster does is taken past the inbox: the latest word alone counts.
_LOST_EVENTS = f"""
SELECT message_id, routing_key FROM poller.outbox
WHERE exchange = '{bus.EVENTS}' AND routing_key NOT LIKE '{Type.CLUSTER_OBSERVED}.%'
AND message_id NOT IN (SELECT message_id FROM outputs.inbox)
"""
_LOST_RUNS = "SELECT run_id FROM outputs.runs WHERE run_id NOT IN (SELECT run_id FROM poller.runs)"
_WAITING = """
SELECT count(*) FROM (SELECT published_at FROM poller.outbox UNION ALL SELECT published_at FROM outputs.outbox) AS said
WHERE published_at IS NULL
"""
_VERDICTS = f"""
SELECT convert_from(body, 'UTF8') FROM poller.outbox WHERE routing_key LIKE '{Type.ITEM_COMPLETED}.%'
"""


class Reckoning(msgspec.Struct, kw_only=True):
    """What was compared, and what was wrong."""

    counted: Counted = msgspec.field(default_factory=Counted)
    events: int = 0
    commands: int = 0
    faults: list[str] = msgspec.field(default_factory=list)


def reckon(stack: Stack, client: Client, works: Sequence[Work], viewers: Sequence[Viewer]) -> Reckoning:
    """Wait until all runs are over, then compare everything with everything."""
    found = Reckoning()
    runs = {one.run_id: _over(client, one) for one in works}
    for one in works:
        found.faults += checking.check_run(client, one, runs[one.run_id], found.counted)
    found.faults += _check_viewers(viewers, runs)
    found.faults += _check_verdicts(stack, runs)
    found.faults += _check_events(stack, found)
    found.faults += _check_dead_letters(stack)
    return found


def files(client: Client, works: Sequence[Work]) -> Reckoning:
    """Compare verdicts and files alone, as after a restored backup."""
    found = Reckoning()
    for one in works:
        found.faults += checking.check_run(client, one, client.run(one.run_id), found.counted)
    return found


def _over(client: Client, one: Work) -> RunWithItemsJson:
    what = f"{one.run_id} to end and be collected"
    return client.wait_run(one.run_id, lambda run: checking.is_over(one, run), what, _PATIENCE_S)


def _check_viewers(viewers: Sequence[Viewer], runs: dict[str, RunWithItemsJson]) -> list[str]:
    """What a viewer was told, through all its streams, is how it ended."""
    faults = []
    for viewer in viewers:
        ended = {item.task_id: str(item.outcome) for item in runs[viewer.run_id].items}
        told = {task_id: str(item["outcome"]) for task_id, item in viewer.told.items()}
        if told != ended:
            faults.append(f"a viewer of {viewer.run_id} was told {told}, it ended as {ended}")
    return faults


def _check_verdicts(stack: Stack, runs: dict[str, RunWithItemsJson]) -> list[str]:
    """Each task has one `item.completed`; a second one is a truth that came later, of a higher revision."""
    told: Counter[tuple[str, str, int, int]] = Counter()
    for (text,) in stack.sql(_VERDICTS):
        item = json.loads(text)["data"]
        told[item["run_id"], item["task_id"], item["attempt"], item["revision"]] += 1
    faults = [f"{key} was told {count} times" for key, count in told.items() if count != 1]
    verdicts = Counter(key[:2] for key in told)
    for run in runs.values():
        for item in run.items:
            count = verdicts[run.run_id, item.task_id]
            if count != 1:
                faults.append(f"{run.run_id}/{item.task_id} has {count} verdicts")
    return faults


def _check_events(stack: Stack, found: Reckoning) -> list[str]:
    """What one service has said the other has taken; nothing waits for long."""
    wait_until(lambda: stack.sql(_WAITING) == [["0"]], "every outbox to be empty", 60, every_s=1)
    faults = [f"the outputs service was never told of {key} ({id_})" for id_, key in stack.sql(_LOST_EVENTS)]
    faults += [f"the poller was never told of {run_id}" for (run_id,) in stack.sql(_LOST_RUNS)]
    ((events,),) = stack.sql(f"SELECT count(*) FROM poller.outbox WHERE exchange = '{bus.EVENTS}'")
    ((commands,),) = stack.sql(f"SELECT count(*) FROM outputs.outbox WHERE exchange = '{bus.COMMANDS_EXCHANGE}'")
    found.events, found.commands = int(events), int(commands)
    return faults


def _check_dead_letters(stack: Stack) -> list[str]:
    faults = []
    for service, program in (("outputs-api", "scripthut-outputs"), ("poller", "scripthut-poller")):
        dead = read_lines(stack.inside(service, program, "dead-letters", "list", "--json"))
        faults += [f"a dead letter of {program}: {letter}" for letter in dead]
    return faults
