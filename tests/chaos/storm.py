"""One storm: many tasks on two clusters while everything breaks; then calm, and the reckoning."""

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import msgspec

from scripthut_outputs.controllers.shapes import RunWithItemsJson
from tests.chaos import checking, leaks
from tests.chaos.breaking import Breaker, Word
from tests.chaos.checking import Counted
from tests.chaos.hands import Hands
from tests.chaos.leaks import Held
from tests.chaos.scene import Scene, Servers
from tests.chaos.tapping import Heard, Subscriber
from tests.chaos.work import Work
from tests.testbed.clients import Client
from tests.testbed.processes import ServerError, wait_until

_PATIENCE_S = 420.0
_QUIET_S = 150.0
_LONG_S = 120.0
_SLACK, _LAST_TREMORS = 3, 6
# What services log when they go on after a fault; the first two are of collectors.
_COLLECTING = ('"loop": "outputs.collect.', '"event": "collection_failed"')
_SURVIVED = ('"event": "loop_waits"', '"event": "event_not_published"', '"event": "queue_waits"', _COLLECTING[1])


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """What a storm is made of.

    Args:
        seed: of the dice.
        items: how many tasks, about.
        breaking_s: how long things break, if all is not over before.
        tremors: how often everything is cut again in the calm, to see whether anything leaks.
    """

    seed: int
    items: int
    breaking_s: float
    tremors: int = 10


def rage(storm: Storm, servers: Servers) -> str:
    """Let a storm pass and return its figures in one line.

    Raises:
        AssertionError: something was lost, doubled, made up or left open; the notes say what was broken, and when.
    """
    dice = random.Random(storm.seed)
    with Scene(servers, dice, storm.items) as scene:
        play = _Play(storm, scene, dice)
        try:
            return play.figures()
        except (AssertionError, ServerError) as error:
            error.add_note("\n".join([f"seed {storm.seed}; what was done:", *play.breaker.log, "", scene.pair.logs()]))
            raise


class _Play:
    """A storm on its scene."""

    def __init__(self, storm: Storm, scene: Scene, dice: random.Random) -> None:
        self._storm = storm
        self._scene = scene
        self._dice = dice
        self._heard: list[Heard] = []
        self._counted = Counted()
        self._began = time.monotonic()
        long_pauses = scene.long_pauses() if storm.breaking_s > _LONG_S else []
        self.breaker = Breaker([*scene.acts(), *long_pauses], scene.daemons(), dice)

    def figures(self) -> str:
        """Break, wait, compare, look for leaks; say how much it was."""
        with self._scene.pair.client() as client:
            self._break(client)
            self._reckon(client, self._scene.works)
            self._check_calm(client)
        return self._told()

    def _told(self) -> str:
        done, counted = self.breaker.done, self._counted
        again = len(self._heard) - len({one.id for one in self._heard})
        collected_again = sum(map(self._count, _COLLECTING))
        survived = sum(map(self._count, _SURVIVED))
        return (
            f"seed {self._storm.seed}: {counted.items} items, {done[Word.KILL]} kills, {done[Word.PAUSE]} pauses, "
            f"{done[Word.CUT]} cuts, {done[Word.FILL]} full disks; {survived} faults survived, "
            f"{collected_again} of them while collecting, {again} of {len(self._heard)} events heard again; "
            f"{counted.files} files of {counted.size_bytes / 1e6:.1f} MB, {counted.left_out} left out; "
            f"{time.monotonic() - self._began:.0f} s; nothing lost"
        )

    def _break(self, client: Client) -> None:
        scene = self._scene
        people_dice = random.Random(self._storm.seed + 1)
        with ThreadPoolExecutor(1) as people, scene.pair.client() as theirs:
            hands = Hands(theirs, scene.servers.slurm, scene.environment_script, people_dice)
            doing = people.submit(hands.do_all, scene.works)
            self.breaker.break_for(self._storm.breaking_s, lambda: doing.done() and self._is_all_over(client))
            doing.result()

    def _is_all_over(self, client: Client) -> bool:
        """Answer whether nothing is left to be disturbed; no answer is a no."""
        try:
            return all(checking.is_over(one, client.run(one.run_id)) for one in self._scene.works)
        except (httpx.HTTPError, ServerError):
            return False

    def _reckon(self, client: Client, works: Sequence[Work]) -> None:
        """Wait until runs are over, and compare them with the cluster, the API and what was told."""
        deadline = time.monotonic() + _PATIENCE_S
        runs = {one.run_id: _wait_over(client, one, max(1.0, deadline - time.monotonic())) for one in works}
        faults = [fault for one in works for fault in checking.check_run(client, one, runs[one.run_id], self._counted)]
        faults += self._wait_told(runs)
        assert not faults, "\n".join(faults)

    def _wait_told(self, runs: dict[str, RunWithItemsJson]) -> list[str]:
        """Hear what is still on its way, then say in what the events and the API differ."""
        deadline = time.monotonic() + _QUIET_S
        while True:
            self._heard += self._scene.tap.drain()
            subscriber = Subscriber()
            for event in self._dice.sample(self._heard, len(self._heard)):
                subscriber.apply(event)
            faults = checking.check_events(self._heard, subscriber, runs)
            if not faults or time.monotonic() > deadline:
                return faults
            time.sleep(0.5)

    def _check_calm(self, client: Client) -> None:
        """Nobody is left behind, nothing piles up however often connections are cut, and the store is in order."""
        strays = self._scene.strays()
        self._see_as_few()
        _see_gone(self._scene, strays)
        for collector in self._scene.pair.collectors.values():
            collector.restart()
        last = self._scene.more_work("last", self._dice)
        for one in last:
            client.submit(one.document)
        self._reckon(client, last)
        blobs_dir = self._scene.blobs_dir
        wait_until(lambda: not checking.temporary_files(blobs_dir), "the last temporary file to go", _QUIET_S, 0.5)
        faults = checking.check_store(blobs_dir, self._scene.servers.database_uri)
        assert not faults, "\n".join(faults)

    def _see_as_few(self) -> None:
        """See that cutting everything again and again leaves no more open than it did the first two times.

        Pools fill up as they are used, so one count is by chance higher than another; what leaks grows each time.
        """
        held = [self._tremble() for _ in range(2 + self._storm.tremors)]
        after = held[-1:]
        while (grown := leaks.grown(held[:2], after, _SLACK)) and len(after) < _LAST_TREMORS:
            after.append(self._tremble())
        assert not grown, "\n".join(grown)

    def _tremble(self) -> Held:
        """Cut everything at once, wait until all is well again, and count what is open."""
        for act in self._scene.cuts():
            act.begin()
            act.end()
        self.breaker.heal()
        return self._scene.held()

    def _count(self, text: str) -> int:
        """Count what the services have logged."""
        logs = (daemon.log.read_text(errors="replace") for daemon in self._scene.pair.daemons.values())
        return sum(log.count(text) for log in logs)


def _wait_over(client: Client, one: Work, patience_s: float) -> RunWithItemsJson:
    what = f"{one.run_id} to end and be collected"
    return client.wait_run(one.run_id, lambda run: checking.is_over(one, run), what, patience_s)


def _see_gone(scene: Scene, strays: set[leaks.Process]) -> None:
    try:
        wait_until(lambda: not strays & scene.strays(), "processes that nobody cares for to end", _QUIET_S, 1.0)
    except ServerError as error:
        raise ServerError("\n".join([str(error), *leaks.describe(strays & scene.strays())])) from None
