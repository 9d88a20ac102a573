"""What can be broken, the dice that choose, and the log of what was done."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec

from tests.testbed.processes import Daemon, ServerError, wait_until

_WAKES_WITHIN_S = 240.0
# The power cut is among them.
_LEAST_GROUPS = 3
_SHORT_S, _LONG_S = 0.3, 4.0
_REST_S = (0.2, 2.0)


class Word(StrEnum):
    """What is done to a part."""

    KILL = "kill"
    PAUSE = "pause"
    CUT = "cut"
    FILL = "fill"


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One way to break one part: how it begins, how it ends, and how long it lasts at least.

    `needs_answer`: it can only be done to a part that answers.
    """

    part: str
    word: Word
    begin: Callable[[], None]
    end: Callable[[], None]
    least_s: float = 0.0
    needs_answer: bool = False


class Breaker:
    """Breaks parts in an order that a seed decides, and brings them back.

    Args:
        acts: what may be done.
        daemons: what must answer again in the end, each after those it needs.
        dice: choose order, company and duration.

    Attributes:
        done: how often each word was done.
        log: what was done and when, one line for each.
    """

    def __init__(self, acts: Sequence[Act], daemons: Mapping[str, Daemon], dice: random.Random) -> None:
        self._acts = acts
        self._daemons = daemons
        self._dice = dice
        self._began = time.monotonic()
        self._open: list[Act] = []
        self.done: Counter[Word] = Counter()
        self.log: list[str] = []

    def break_for(self, seconds: float, is_over: Callable[[], bool]) -> None:
        """Break one group after the other until the time is up or all is over, some in any case; then heal."""
        deadline = time.monotonic() + seconds
        try:
            for number, group in enumerate(self._groups()):
                if number >= _LEAST_GROUPS and (time.monotonic() > deadline or is_over()):
                    break
                self._break(group)
                time.sleep(self._dice.uniform(*_REST_S))
        finally:
            self.heal()

    def heal(self) -> None:
        """End whatever is being done to anything, and wait until all answer.

        Raises:
            ServerError: something does not come back.
        """
        for act in list(self._open):
            self._end(act)
        for name, daemon in self._daemons.items():
            self.wait_ready(name, daemon)
        self._note("everything answers")

    def wait_ready(self, name: str, daemon: Daemon) -> None:
        """Wait until a part answers, longer than it takes on any machine."""
        deadline = time.monotonic() + _WAKES_WITHIN_S
        while True:
            _see_alive(name, daemon)
            try:
                daemon.wait_ready()
            except ServerError:
                if time.monotonic() > deadline:
                    raise
            else:
                return

    def _break(self, group: Sequence[Act]) -> None:
        # Half of the time what has just come back is hit while it finds its feet.
        is_patient = self._dice.random() < 0.5
        for act in group:
            daemon = self._daemons.get(act.part)
            if daemon is not None:
                _see_alive(act.part, daemon)
                if is_patient or act.needs_answer:
                    self.wait_ready(act.part, daemon)
        for act in group:
            self._note(f"{act.word} {act.part}")
            self.done[act.word] += 1
            self._open.append(act)
            act.begin()
        time.sleep(self._dice.uniform(_SHORT_S, _LONG_S) + max(act.least_s for act in group))
        for act in group:
            self._end(act)
            time.sleep(self._dice.uniform(0, 0.5))

    def _end(self, act: Act) -> None:
        act.end()
        self._open.remove(act)
        self._note(f"{act.part} is back from {act.word}")

    def _groups(self) -> Iterator[list[Act]]:
        """Deal every act once, some together, and one power cut; then again."""
        while True:
            deck = list(self._acts)
            self._dice.shuffle(deck)
            groups = list(_dealt(deck, self._dice))
            power_cut = [act for act in self._acts if act.word is Word.KILL]
            groups.insert(self._dice.randrange(_LEAST_GROUPS), power_cut)
            yield from groups

    def _note(self, text: str) -> None:
        self.log.append(f"{time.monotonic() - self._began:6.1f} s  {text}")


def _dealt(deck: list[Act], dice: random.Random) -> Iterator[list[Act]]:
    """Cut the deck into groups of one to three; no part is in a group twice."""
    while deck:
        group: list[Act] = []
        for act in list(deck[: dice.choice((1, 1, 2, 3))]):
            if act.part not in {other.part for other in group}:
                group.append(act)
                deck.remove(act)
        yield group


def _see_alive(name: str, daemon: Daemon) -> None:
    if not daemon.is_alive:
        raise ServerError(f"{name} has ended by itself\n{daemon.tail()}")


def killing(part: str, daemon: Daemon) -> Act:
    """Kill one process of ours; the children that it had are its own to care for."""

    def kill() -> None:
        os.kill(daemon.pid, signal.SIGKILL)
        wait_until(lambda: not daemon.is_alive, f"{part} to end")

    return Act(part=part, word=Word.KILL, begin=kill, end=lambda: start(daemon))


def killing_all_of(part: str, daemon: Daemon) -> Act:
    """Kill a server with all its children, as when its machine goes."""
    return Act(part=part, word=Word.KILL, begin=daemon.kill, end=lambda: start(daemon))


def pausing(part: str, daemon: Daemon, least_s: float = 0.0) -> Act:
    """Have a server hang for a while."""

    def resume() -> None:
        if daemon.is_alive:
            daemon.resume()

    return Act(part=part, word=Word.PAUSE, begin=daemon.pause, end=resume, least_s=least_s)


def cutting(part: str, daemon: Daemon) -> Act:
    """Cut every connection that a proxy carries, and let nobody through for a while."""
    return Act(part=part, word=Word.CUT, begin=daemon.kill, end=lambda: start(daemon))


def start(daemon: Daemon) -> None:
    """Start a server that is down; do not wait for it."""
    if not daemon.is_alive:
        daemon.spawn()
