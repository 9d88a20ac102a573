"""What a person who follows a run sees: a line for each task that starts or ends, and a bar that is painted again."""

from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import msgspec
from rich.live import Live
from rich.text import Text

from scripthut_common import text

from . import exits
from .answers import ALIVE, Item, RunWithItems, read
from .exits import Exit
from .screen import Screen, style_of
from .wording import counted, ending, lasted, word_of

_TOLD = frozenset({"running"})


class _RunEvent(msgspec.Struct, frozen=True, kw_only=True):
    state: str
    counts: dict[str, int]


class Chronicle:
    """What is known of a run that is followed, and how it is shown.

    On a terminal the last line is a bar; elsewhere it is printed when its counts have changed. As JSON, each event is
    a line: `{"event": "item", …}`, the run as it was found first.
    """

    def __init__(self, screen: Screen, answer: Any, run: RunWithItems) -> None:
        self._screen = screen
        self._live = Live(console=screen.console, auto_refresh=False) if screen.is_terminal else None
        self._words: dict[str, str] = {item.task_id: item.word for item in run.items}
        self._shown = ""
        self.run_id = run.run_id
        self.version = run.version
        self.state, self.counts = run.state, run.counts
        self._tell("run", {name: told for name, told in answer.items() if name not in {"items", "next"}})

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        self._paint()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def is_moving(self) -> bool:
        """Whether the run goes on."""
        return exits.of_run(self.state) is None

    def take(self, event: str, told: Any) -> None:
        """Show one event of the live stream; `told` is its JSON.

        Raises:
            TransientError: it is not what events of this name say.
        """
        if event not in {"run", "item", "outputs", "summary", "cluster"} or not isinstance(told, dict):
            return
        self._tell(event, told)
        if event == "run":
            run = read(told, _RunEvent)
            self.state, self.counts = run.state, run.counts
        elif event == "item":
            self._item(read(told, Item))
        elif event == "cluster" and told.get("stale"):
            self.note(f"cluster {text.name(str(told.get('name')))}: what is shown may be out of date")
        self._paint()

    def anew(self, answer: Any, run: RunWithItems) -> None:
        """Take the run as it is now, and show what differs."""
        told = {item["task_id"]: item for item in answer["items"] if isinstance(item, dict)}
        for item in run.items:
            if self._words.get(item.task_id) != item.word:
                self._tell("item", told.get(item.task_id, {}))
                self._item(item)
        self.state, self.counts, self.version = run.state, run.counts, run.version
        self._tell("run", {name: value for name, value in answer.items() if name not in {"items", "next"}})
        self._paint()

    def note(self, line: str) -> None:
        """Say what is no news of the run."""
        if self._live is not None:
            self._screen.console.print(Text(line, style="dim"))
        else:
            self._screen.note(line)

    def end(self) -> Exit:
        """Say how it ended."""
        self._screen.say(f"{text.name(self.run_id)} {word_of(self.state)}")
        code = exits.of_run(self.state)
        return Exit.ERROR if code is None else code

    def _item(self, item: Item) -> None:
        """A line when it runs, and one when it has ended; other steps only move the bar."""
        before, self._words[item.task_id] = self._words.get(item.task_id), item.word
        if before == item.word or (item.word in ALIVE and item.word not in _TOLD):
            return
        why = ending(item)
        took = lasted(item, datetime.now(UTC)) if item.word not in ALIVE else ""
        line = Text(text.name(item.task_id)).append("  ").append(word_of(item.word), style=style_of(item.word))
        line.append("".join(f"  {part}" for part in (took, why) if part))
        self._screen.say(line)

    def _paint(self) -> None:
        line = counted(self.counts)
        if self._live is not None:
            bar = Text.assemble(self._screen.bar(self.counts), "  ", line)
            bar.truncate(self._screen.console.width, overflow="ellipsis")
            self._live.update(bar, refresh=True)
        elif line != self._shown:
            self._screen.say(line)
        self._shown = line

    def _tell(self, event: str, told: Any) -> None:
        if self._screen.is_json:
            self._screen.tell_line({"event": event, **told})
