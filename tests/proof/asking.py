"""Requests of people and programs through the proxy, each tried until it is answered well, and how they fared."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx
import msgspec

from tests.testbed.processes import ServerError

T = TypeVar("T")
_AGAIN_S = 0.5
_PATIENCE_S = 180.0


class Phase(msgspec.Struct, kw_only=True):
    """How requests fared while one thing was done.

    Args:
        failures: how often each kind of failure was met, as `503` or `ReadError`.
        slowest_s: the longest that anybody waited for a good answer, all tries of it together.
    """

    name: str
    began_at: float
    took_s: float = 0.0
    asked: int = 0
    failures: Counter[str] = msgspec.field(default_factory=Counter)
    slowest_s: float = 0.0


class Fares:
    """Notes how requests fare, phase by phase; any thread may tell it."""

    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self._lock = threading.Lock()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What is noted meanwhile belongs to it."""
        phase = Phase(name=name, began_at=time.monotonic())
        with self._lock:
            self.phases.append(phase)
        try:
            yield
        finally:
            phase.took_s = time.monotonic() - phase.began_at

    def good(self, waited_s: float) -> None:
        """Note a good answer."""
        with self._lock:
            phase = self.phases[-1]
            phase.asked += 1
            phase.slowest_s = max(phase.slowest_s, waited_s)

    def bad(self, kind: str) -> None:
        """Note a failure, of which there may be several before a good answer."""
        with self._lock:
            self.phases[-1].failures[kind] += 1

    def insist(self, what: str, ask: Callable[[], T]) -> T:
        """Ask until there is a good answer.

        Raises:
            ServerError: there is none in three minutes, or none that asking again would help.
        """
        began = time.monotonic()
        while True:
            try:
                answer = ask()
            except httpx.HTTPStatusError as error:
                self._note(what, str(error.response.status_code), began, is_final=error.response.status_code < 500)
            except httpx.HTTPError as error:
                self._note(what, type(error).__name__, began)
            else:
                self.good(time.monotonic() - began)
                return answer
            time.sleep(_AGAIN_S)

    def _note(self, what: str, kind: str, began: float, *, is_final: bool = False) -> None:
        self.bad(kind)
        if is_final or time.monotonic() - began > _PATIENCE_S:
            raise ServerError(f"{what} failed for good: {kind}")
