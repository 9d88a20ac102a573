"""Say what became of every file: a bar while they come, a line for each, the sums at the end, or one JSON document."""

from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from scripthut_common import text
from scripthut_outputs.client.exits import Exit
from scripthut_outputs.client.screen import Screen
from scripthut_outputs.client.wording import why_left_out, word_of

from .listing import Listed, Tasks
from .naming import Parts

_RESTING = frozenset({"none", "collected"})


class Report:
    """What became of the files that were wanted; `with` shows the bar."""

    def __init__(self, screen: Screen, to: Path) -> None:
        self._screen, self._to = screen, to
        columns = (BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
        self._bar = Progress(*columns, console=screen.console, disable=not screen.is_terminal)
        self._all = self._bar.add_task("", total=None)
        self._counts: Counter[str] = Counter()
        self._files: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def expect(self, size_bytes: int) -> None:
        """Say how much comes in all."""
        self._bar.update(self._all, total=size_bytes)

    def advance(self, size_bytes: int) -> None:
        """Note that so much more is here."""
        self._bar.update(self._all, advance=size_bytes)

    def add(self, what: str, file: Listed, parts: Parts | None, why: str | None = None) -> None:
        """Note what became of a file; `parts` is where it lies now."""
        output = file.output
        reason = why or (None if parts else why_left_out(output))
        self._counts[what] += output.count
        told = {
            "what": what,
            "task_id": file.task_id,
            "path": output.path,
            "path_b64": b64encode(file.path).decode(),
            "local_b64": b64encode(b"/".join(parts)).decode() if parts else None,
            "size": output.size,
            "sha256": output.sha256,
            "reason": reason,
        }
        self._files.append(told)
        shown = text.name(b"/".join((*file.prefix, file.path))) if file.path else f"{output.count:,} files"
        self._screen.say(f"{word_of(what)}: {shown}" + (f": {reason}" if reason else ""))

    def end(self, found: Sequence[Tasks], *, is_strict: bool) -> Exit:
        """Say the sums; gives the status that tells whether all is here."""
        unsettled = [one for one in found if one.told.outputs_state not in _RESTING]
        if self._screen.is_json:
            self._tell(unsettled)
        else:
            self._say(unsettled)
        if self._counts["failed"] or self._counts["refused"]:
            return Exit.ERROR
        return Exit.INCOMPLETE if is_strict and (unsettled or self._counts["left_out"]) else Exit.FINE

    def _say(self, unsettled: Sequence[Tasks]) -> None:
        for one in unsettled:
            why = f": {text.line(one.told.collection_reason)}" if one.told.collection_reason else ""
            self._screen.say(
                f"not all of {text.name(one.task_id)} is collected ({word_of(one.told.outputs_state)}){why}"
            )
        sums = ", ".join(f"{count:,} {word_of(what)}" for what, count in sorted(self._counts.items()))
        self._screen.say(f"{sums or 'no files'}, in {text.name(str(self._to))}")

    def _tell(self, unsettled: Sequence[Tasks]) -> None:
        collections = [
            {"task_id": one.task_id, "outputs_state": one.told.outputs_state, "reason": one.told.collection_reason}
            for one in unsettled
        ]
        told = {"to": text.name(str(self._to)), "counts": self._counts, "files": self._files, "unsettled": collections}
        self._screen.tell(told)
