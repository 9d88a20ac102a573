"""The load: runs are handed in one after the other, people read what there is, and others watch it live."""

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import httpx

from tests.chaos import work
from tests.chaos.work import Folders, Work
from tests.proof import cluster
from tests.proof.asking import Fares
from tests.proof.stack import Stack
from tests.proof.viewing import Viewer
from tests.testbed.processes import wait_until

_TASKS = 8
_REST_S = 10.0
_READERS, _VIEWERS = 2, 8
_READ_EVERY_S = 0.25


class Load:
    """Works from its making until it is stopped.

    Args:
        most_runs: no more are handed in.

    Attributes:
        works: the runs that were taken, each with what must become of it.
        viewers: whoever watched one.
        fares: how all requests fared.
    """

    def __init__(self, stack: Stack, dice: random.Random, most_runs: int) -> None:
        self.works: list[Work] = []
        self.viewers: list[Viewer] = []
        self.fares = Fares()
        self._dice = dice
        self._most_runs = most_runs
        self._name = f"proof-{dice.randrange(10**6):06d}"
        self._folders = Folders(notes=stack.work / cluster.NOTES, log_dir=stack.work / "scripthut")
        self._url, self._trust, self._token = stack.url, stack.trust, stack.token()
        self._no_more, self._stop = threading.Event(), threading.Event()
        self._threads = ThreadPoolExecutor(1 + _READERS + _VIEWERS)
        self._ends: list[Future[None]] = []

    def __enter__(self) -> Self:
        """Begin."""
        self._ends.append(self._threads.submit(self._hand_in))
        self._ends += [self._threads.submit(self._read, random.Random(number)) for number in range(_READERS)]
        return self

    def __exit__(self, *_: object) -> None:
        """End all of it."""
        self._no_more.set()
        self._stop.set()
        self._threads.shutdown(cancel_futures=True)

    def hand_in_no_more(self) -> None:
        """Take no more work; those who read and watch go on."""
        self._no_more.set()

    def check(self) -> None:
        """Raise what went wrong in a thread."""
        for end in self._ends:
            if end.done() and not end.cancelled():
                end.result()

    def wait_taken(self, count: int) -> None:
        """Wait until so many runs were taken.

        Raises:
            ServerError: they are not.
        """

        def are_taken() -> bool:
            self.check()
            return len(self.works) >= min(count, self._most_runs)

        wait_until(are_taken, f"{count} runs to be taken", 240, every_s=0.2)

    def wait_watched(self, within_s: float) -> list[str]:
        """Wait until every viewer has been told of the end; say who was not."""
        deadline = time.monotonic() + within_s
        while (waiting := [one for one in self.viewers if not one.is_over]) and time.monotonic() < deadline:
            self.check()
            time.sleep(0.5)
        return [f"nobody told a viewer of {one.run_id} of its end: {dict(one.ends)}" for one in waiting]

    def _client(self) -> httpx.Client:
        bearer = {"authorization": f"Bearer {self._token}"}
        return httpx.Client(base_url=self._url, headers=bearer, verify=self._trust, timeout=60)

    def _hand_in(self) -> None:
        with self._client() as http:
            while len(self.works) < self._most_runs and not self._no_more.is_set():
                one = work.undisturbed(self._dice, f"{self._name}-{len(self.works):03d}", _TASKS, self._folders)
                self.fares.insist(one.run_id, lambda document=one.document: _posted(http, document))  # type: ignore[misc]
                self.works.append(one)
                self._ends.append(self._threads.submit(self._watch, one.run_id))
                self._no_more.wait(_REST_S)

    def _watch(self, run_id: str) -> None:
        with self._client() as http:
            viewer = Viewer(http, run_id, self._stop)
            self.viewers.append(viewer)
            viewer.follow()

    def _read(self, dice: random.Random) -> None:
        with self._client() as http:
            while not self._stop.wait(_READ_EVERY_S):
                path = self._choose(dice)
                self.fares.insist(path, lambda path=path: http.get(path).raise_for_status())  # type: ignore[misc]

    def _choose(self, dice: random.Random) -> str:
        """Choose what to read: lists, runs, summaries, outputs, as JSON and as pages."""
        if not self.works:
            return "/runs"
        one = dice.choice(self.works)
        piece = dice.choice(one.pieces)
        return dice.choice(
            [
                "/runs",
                "/ui/",
                f"/ui/runs/{one.run_id}",
                f"/runs/{one.run_id}",
                f"/runs/{one.run_id}/summary",
                f"/runs/{one.run_id}/tasks/{piece.id}/outputs",
                f"/runs/{one.run_id}/tasks/{piece.id}/detail/output",
            ]
        )


def _posted(http: httpx.Client, document: dict[str, Any]) -> httpx.Response:
    """Create a run; the same one again is no other."""
    return http.post("/runs", json=document).raise_for_status()
