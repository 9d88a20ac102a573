"""List, show, replay and drop dead letters: the same command of both services, for people and for scripts."""

import argparse
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime

import msgspec

from .bus import Burials, DeadLetter, Disposal, Queue
from .errors import NotFound, SettingsError
from .text import ascii_json, name

_ACTS = {"list": Disposal.KEEP, "show": Disposal.KEEP, "replay": Disposal.REPLAY, "drop": Disposal.DROP}
_DONE = {Disposal.REPLAY: "replayed", Disposal.DROP: "dropped"}
_REASON_CHARACTERS = 160
Say = Callable[[str], None]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter as scripts read it; `body` is there where it was asked for."""

    queue: str
    id: str
    routing_key: str
    reason: str
    buried_at: datetime | None
    size_bytes: int
    body: str | None = None


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `dead-letters` to a program's commands."""
    letters = commands.add_parser("dead-letters", help="messages that could not be taken: list, show, replay, drop")
    letters.add_argument("act", choices=tuple(_ACTS), help="show: with their text; replay: to their queue, as if new")
    letters.add_argument("ids", nargs="*", metavar="ID", help="which; list and show without any take all")
    letters.add_argument("--all", action="store_true", help="replay or drop everything")
    letters.add_argument("--queue", help="of this queue only")
    letters.add_argument("--json", action="store_true", help="for scripts, one line for each")


async def dispose(burials: Burials, queues: Iterable[Queue], asked: argparse.Namespace, say: Say) -> int:
    """Do what the command line asks; returns the exit status.

    Raises:
        SettingsError: it asks for no such queue, or to replay or drop without saying what.
        NotFound: an id is none of a dead letter.
        BusUnavailable: the broker is away; what was not said to be done is not done.
    """
    chosen = _choose(queues, asked.queue)
    act, ids = _ACTS[asked.act], frozenset(asked.ids)
    if act is not Disposal.KEEP and not ids and not asked.all:
        raise SettingsError(f"{asked.act} what? Name ids, as `dead-letters list` shows them, or say --all")
    counts: Counter[str] = Counter()
    met: set[str] = set()

    def decide(letter: DeadLetter) -> Disposal:
        if ids and letter.message.id not in ids:
            return Disposal.KEEP
        met.add(letter.message.id)
        counts[letter.queue] += 1
        has_body = asked.act == "show"
        for line in [_as_json(letter, has_body=has_body)] if asked.json else _lines(letter, act, has_body=has_body):
            say(line)
        return act

    for queue in chosen:
        await burials.go_through(queue, decide)
    for line in () if asked.json else _sums(act, counts):
        say(line)
    _require(ids, met)
    return 0


def _choose(queues: Iterable[Queue], wanted: str | None) -> list[Queue]:
    known = {queue.name: queue for queue in queues}
    if wanted is not None and wanted not in known:
        raise SettingsError(f"there is no queue {wanted!r} of this service; there are {', '.join(known)}")
    return list(known.values()) if wanted is None else [known[wanted]]


def _require(ids: Collection[str], met: Collection[str]) -> None:
    missing = sorted(set(ids) - set(met))
    if missing:
        raise NotFound(f"no dead letter has the id {', '.join(map(name, missing))}")


def _as_json(letter: DeadLetter, *, has_body: bool) -> str:
    message = letter.message
    told = Told(
        queue=letter.queue,
        id=message.id,
        routing_key=message.routing_key,
        reason=letter.reason,
        buried_at=letter.buried_at,
        size_bytes=len(message.body),
        body=message.body.decode("utf-8", "replace") if has_body else None,
    )
    return ascii_json(msgspec.json.encode(told))


def _lines(letter: DeadLetter, act: Disposal, *, has_body: bool) -> Iterator[str]:
    message = letter.message
    when = f"{letter.buried_at:%Y-%m-%d %H:%M:%S}" if letter.buried_at else "some time ago"
    done = f"{_DONE[act]}: " if act in _DONE else ""
    yield f"{done}{name(message.id)}  {letter.queue}  {when}  {name(message.routing_key)}"
    yield f"    {name(letter.reason)[:_REASON_CHARACTERS]}"
    if has_body:
        yield f"    {name(message.body.decode('utf-8', 'replace'))}"


def _sums(act: Disposal, counts: Counter[str]) -> Iterator[str]:
    words = _DONE.get(act, "lie there")
    yield from (f"{queue}: {count} {words}" for queue, count in counts.items())
    if not counts:
        yield "There are no dead letters." if act is Disposal.KEEP else f"Nothing was {words}."
