"""What a program of a user does with the HTTP API, in the few words that tests need."""

import ssl
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

import httpx
import msgspec

from scripthut_outputs.controllers.shapes import (
    DetailJson,
    OutputsJson,
    RunJson,
    RunWithItemsJson,
    SummaryJson,
    TaskJson,
)
from tests.testbed.processes import ServerError, wait_until

S = TypeVar("S", bound=msgspec.Struct)


class Client:
    """One person's token at one address; every answer is read as the contract says it looks.

    Methods raise `ServerError` with the problem's text when the answer is no success.
    """

    def __init__(self, url: str, token: str | None, *, trust: ssl.SSLContext | None = None) -> None:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=60, verify=trust or True)

    def __enter__(self) -> Self:
        """Give the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of its connections."""
        self._http.close()

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask, whatever the answer."""
        return self._http.get(path, headers=headers)

    def read(self, path: str) -> bytes:
        """Fetch the bytes at a URL that the API gave."""
        return _good(self.get(path)).content

    def submit(self, document: Mapping[str, Any], **headers: str) -> str:
        """Create a run and return its id."""
        answer = self._http.post("/runs", json=document, headers=headers)
        return msgspec.json.decode(_good(answer).content, type=RunJson).run_id

    def cancel(self, run_id: str) -> None:
        """Ask for the end of what is alive."""
        _good(self._http.post(f"/runs/{run_id}/cancel"))

    def run(self, run_id: str) -> RunWithItemsJson:
        """Show a run with up to 1,000 items."""
        return self._ask(f"/runs/{run_id}", RunWithItemsJson)

    def task(self, run_id: str, task_id: str) -> TaskJson:
        """Show one item."""
        return self._ask(f"/runs/{run_id}/tasks/{task_id}", TaskJson)

    def outputs(self, run_id: str, task_id: str) -> OutputsJson:
        """Show up to 1,000 files of one task."""
        return self._ask(f"/runs/{run_id}/tasks/{task_id}/outputs?limit=1000", OutputsJson)

    def detail(self, run_id: str, task_id: str, word: str) -> DetailJson:
        """Show its `output`, `error`, `script` …."""
        return self._ask(f"/runs/{run_id}/tasks/{task_id}/detail/{word}", DetailJson)

    def summary(self, run_id: str) -> SummaryJson:
        """Show the run's summary."""
        return self._ask(f"/runs/{run_id}/summary", SummaryJson)

    def wait_run(
        self, run_id: str, is_so: Callable[[RunWithItemsJson], bool], what: str, timeout_s: float = 90
    ) -> RunWithItemsJson:
        """Ask for a run until it is as wanted, through outages of the API.

        Raises:
            ServerError: it did not become so; `what` is the sentence's object.
        """
        found: list[RunWithItemsJson] = []

        def look() -> bool:
            try:
                found[:] = [self.run(run_id)]
            except (ServerError, httpx.HTTPError):
                return False
            return is_so(found[0])

        try:
            wait_until(look, what, timeout_s, every_s=0.2)
        except ServerError as error:
            raise ServerError(f"{error}\n{_describe(found)}") from None
        return found[0]

    def _ask(self, path: str, shape: type[S]) -> S:
        return msgspec.json.decode(_good(self.get(path)).content, type=shape)


def _good(answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        raise ServerError(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:2000]}")
    return answer


def _describe(found: list[RunWithItemsJson]) -> str:
    """Say where the run stands for the reader of a failed test."""
    if not found:
        return "the run was never shown"
    lines = (
        f"  {item.task_id}: {item.state} {item.outcome} {item.outputs_state} {item.reason}" for item in found[0].items
    )
    return "\n".join([f"run {found[0].run_id} is {found[0].state}", *lines])
