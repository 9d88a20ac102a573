"""Whose turn it is on one cluster: which items one look has room for, and which of their files are left alone. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from scripthut_outputs.catalog.following import FileKey, Key, Ledger, Running
from scripthut_outputs.updates import Known

from .pace import Pace

_NEVER = -1
File = tuple[Key, FileKey]


class Turns:
    """Remembers who was looked at when, what was passed over, and what rests; a tick is one regular look."""

    def __init__(self, pace: Pace, max_items: int) -> None:
        self._pace = pace
        self._max_items = max_items
        self._tick = 0
        self._looked: dict[Key, int] = {}
        self._passed: dict[Key, Counter[FileKey]] = {}
        self._resting: dict[Key, dict[FileKey, int]] = {}

    def begin(self) -> None:
        """Begin the next tick."""
        self._tick += 1

    def keep(self, keys: Collection[Key]) -> None:
        """Forget items that are followed no longer."""
        wanted = set(keys)
        for kept in (self._looked, self._passed, self._resting):
            for key in kept.keys() - wanted:
                kept.pop(key)

    def pick(self, running: Sequence[Running], *, only_new: bool) -> list[Running]:
        """Pick whom to look at: who waits longest, runs in turns; `only_new`: nobody who was looked at before."""
        places: Counter[str] = Counter()
        waiting: list[tuple[int, int, int]] = []
        for number, item in enumerate(running):
            looked = self._looked.get(item.key, _NEVER)
            if looked > self._tick or (only_new and looked != _NEVER):
                continue
            places[item.run_id] += 1
            waiting.append((looked, places[item.run_id], number))
        return [running[number] for *_, number in sorted(waiting)[: self._max_items]]

    def fitting(self, ledgers: Sequence[Ledger]) -> int:
        """Tell of how many of these items, in order, what is known may be sent; one at least."""
        names = 0
        for count, ledger in enumerate(ledgers):
            names += len(ledger) + 1
            if count and names > self._pace.max_names:
                return count
        return len(ledgers)

    def known(self, key: Key, ledger: Ledger) -> dict[FileKey, Known]:
        """Tell the reader what we hold of an item, what was passed over and what rests."""
        passed, resting = self._passed.get(key, Counter()), self._resting.get(key, {})
        held = {file: noted for file, noted in ledger.items() if noted.is_held}
        return {
            file: Known(
                size_bytes=held[file].size_bytes if file in held else None,
                modified_at=(held[file].modified_at or 0.0) if file in held else 0.0,
                passed=passed[file],
                is_resting=resting.get(file, 0) > self._tick,
            )
            for file in {**held, **passed, **resting}
        }

    def note(self, key: Key, sent: Mapping[FileKey, int], passed: Collection[FileKey], *, has_stalled: bool) -> None:
        """Note what a look did: the sizes of the files that were sent, which were not for want of room."""
        self._looked[key] = self._tick + (self._pace.stalled_ticks if has_stalled else 0)
        before = self._passed.get(key, Counter())
        self._passed[key] = Counter({file: before[file] + 1 for file in passed})
        resting = {file: until for file, until in self._resting.get(key, {}).items() if until > self._tick}
        rests = {file: self._tick + 1 + size // self._pace.resting_bytes for file, size in sent.items()}
        self._resting[key] = resting | {file: until for file, until in rests.items() if until > self._tick + 1}
