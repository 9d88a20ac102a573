"""Send what was drawn as one person, and keep count of what was answered."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from schemathesis import Response

from scripthut_common.database import Database
from tests.fuzz import asking, judging
from tests.fuzz.cases import Drawn
from tests.fuzz.people import Kept, Who
from tests.fuzz.scene import MISSING, SHOWN, Scene

# What changes who may read what.
_OPENING = frozenset(
    {"PUT /runs/{run_id}/visibility", "DELETE /runs/{run_id}/shares/{share_id}", "DELETE /tokens/{token_id}"}
)
_CREATE = "POST /runs"
_MAX_SHOWN = 300


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong, with the first request that showed it."""

    role: str
    operation: str
    fault: str
    request: str = ""
    answer: str = ""


class Tally:
    """What was answered: statuses by operation; findings, once for each operation and fault."""

    def __init__(self) -> None:
        self.statuses: dict[str, Counter[int]] = {}
        self.unsendable = 0
        self.findings: dict[tuple[str, str], Finding] = {}

    def find(self, finding: Finding) -> None:
        """Keep a finding, unless it is known."""
        self.findings.setdefault((finding.operation, finding.fault), finding)


class Fuzzing:
    """One person at every operation.

    Args:
        uri: of a database with our schema, which is emptied.
        folder: an empty one.
        who: asks.
    """

    def __init__(self, uri: str, folder: Path, who: Who) -> None:
        self._runner = asyncio.Runner()
        self._scene = Scene(Database(uri), folder, who)
        self.tally = Tally()

    def __enter__(self) -> Self:
        try:
            self._runner.run(self._scene.fill())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop what was started."""
        self._runner.run(self._scene.close())
        self._runner.close()

    def document(self) -> dict[str, Any]:
        """The OpenAPI document, as somebody reads it who may."""
        return self._runner.run(self._scene.document())

    def send_all(self, drawn: Iterable[Iterable[Drawn]], ends_at: float = math.inf) -> Tally:
        """Send all that was drawn, and see that nothing of others was changed on the way.

        One request of each operation after the other, so that none is left out when time is: after `ends_at`, of the
        monotonic clock, no further round is begun.
        """
        self._runner.run(self._send_all(drawn, ends_at))
        return self.tally

    async def _send_all(self, drawn: Iterable[Iterable[Drawn]], ends_at: float) -> None:
        before = await self._scene.others()
        for requests in zip_longest(*drawn):
            if time.monotonic() > ends_at:
                break
            for one in requests:
                if one is not None:
                    await self._send(one)
        if not self._scene.who.is_admin and await self._scene.others() != before:
            self._find("all", "changed what is not theirs")

    async def _send(self, drawn: Drawn) -> None:
        scene, label = self._scene, drawn.operation.label
        case = drawn.case(scene.words)
        request = asking.prepare(case, scene.headers)
        if request is None:
            self.tally.unsendable += 1
            return
        answer = await asking.ask(scene.house, request)
        self.tally.statuses.setdefault(label, Counter())[answer.status_code] += 1
        if label == _CREATE and answer.status_code == 201:
            self._take(answer)
        faults = list(judging.judge(scene, case, answer, drawn.run_id))
        if judging.is_hidden(scene, drawn.operation, drawn.run_id):
            faults += await self._compare(drawn, answer)
        for fault in faults:
            told = f"{request.method} {request.target} {request.body[:_MAX_SHOWN]!r}"
            self._find(label, fault, told, answer.content.decode("utf-8", "replace"))
        if label in _OPENING and answer.status_code < 300:
            await scene.mend()

    async def _compare(self, drawn: Drawn, answer: Response) -> list[str]:
        """Say how the answer can be told from one about a run that nobody has."""
        missing = asking.prepare(drawn.about(MISSING[0]).case(self._scene.words), self._scene.headers)
        if missing is None:
            return ["cannot be asked of a missing run"]
        fault = judging.differs(answer, await asking.ask(self._scene.house, missing))
        return [] if fault is None else [fault]

    def _take(self, answer: Response) -> None:
        """Take a run that was made for one of theirs."""
        made: dict[str, Any] = answer.json()
        name = self._scene.who.name
        self._scene.runs[made["run_id"]] = Kept(
            run_id=made["run_id"],
            owner=name,
            visibility=made["visibility"],
            group=made["group"],
            readers=frozenset({name}),
        )

    def _find(self, label: str, fault: str, request: str = "", answer: str = "") -> None:
        role, shown = self._scene.who.role, answer[:_MAX_SHOWN]
        self.tally.find(Finding(role=role, operation=label, fault=fault, request=request, answer=shown))

    def unanswered(self, drawn: Iterable[Iterable[Drawn]]) -> list[str]:
        """Operations that never answered with success, though somebody may have something of them."""
        found = []
        for operation in (one.operation for requests in drawn for one in list(requests)[:1]):
            kind = judging.kind_of(operation)
            may = any(judging.may_have(self._scene, kind, run_id) for run_id in SHOWN)
            if may and not any(status < 300 for status in self.tally.statuses.get(operation.label, ())):
                found.append(operation.label)
        return found
