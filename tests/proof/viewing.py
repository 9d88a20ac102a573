"""Somebody who has a run open: its live stream through the proxy, taken up again whenever it ends."""

import json
import threading
import time
from collections import Counter
from typing import Any

import httpx

from scripthut_common.events import RunState

_ALIVE = {RunState.PENDING, RunState.RUNNING}
# Longer than a stream is silent.
_SILENCE_S = 40.0
_AGAIN_S = 0.5


class Viewer:
    """Follows one run until it is told that all has ended and is collected.

    Attributes:
        told: the last word of the stream on each task.
        ends: how its streams ended, as `ended`, `ReadError` or `503`.
        away_s: the longest time without a stream.
    """

    def __init__(self, http: httpx.Client, run_id: str, stop: threading.Event) -> None:
        self.run_id = run_id
        self.told: dict[str, dict[str, Any]] = {}
        self.ends: Counter[str] = Counter()
        self.away_s = 0.0
        self.is_over = False
        self._http = http
        self._stop = stop
        self._version: str | None = None

    def follow(self) -> None:
        """Read streams until one tells of the end, or nobody wants to know any more."""
        lost_at = time.monotonic()
        while not self.is_over and not self._stop.is_set():
            try:
                lost_at = self._read(lost_at)
            except httpx.HTTPError as error:
                self.ends[type(error).__name__] += 1
                lost_at = time.monotonic()
            if not self.is_over:
                time.sleep(_AGAIN_S)

    def _read(self, lost_at: float) -> float:
        """Read one stream; gives when it ended."""
        since = {"last-event-id": self._version} if self._version else {}
        path = f"/runs/{self.run_id}/events" + ("" if self._version else "?since=0")
        with self._http.stream("GET", path, headers=since, timeout=_SILENCE_S) as answer:
            if answer.status_code != 200:
                self.ends[str(answer.status_code)] += 1
                return lost_at
            self.away_s = max(self.away_s, time.monotonic() - lost_at)
            block: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, rest = line.partition(": ")
                block[name] = rest
                if not line:
                    self._take(block)
                    block = {}
                if self.is_over or self._stop.is_set():
                    return time.monotonic()
        self.ends["ended"] += 1
        return time.monotonic()

    def _take(self, block: dict[str, str]) -> None:
        """Take one event."""
        self._version = block.get("id", self._version)
        match block.get("event"):
            case "item":
                item = json.loads(block["data"])
                self.told[item["task_id"]] = item
            case "run":
                run = json.loads(block["data"])
                self.is_over = run["state"] not in _ALIVE and not run["is_collecting"]
            case "reset":
                self.ends["reset"] += 1
