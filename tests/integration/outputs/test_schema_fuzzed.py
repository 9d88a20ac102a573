"""Everybody at every operation of the OpenAPI document: no fault, nothing that is not theirs, nothing it does not know.

`SCRIPTHUT_FUZZ_EXAMPLES` asks for more of each operation, `SCRIPTHUT_FUZZ_SEED` for others; `make fuzz` for a report.
"""

import os
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from scripthut_common.errors import NotFound
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.controllers import problems
from tests.fuzz.cases import Drawn, draw_all
from tests.fuzz.fuzzing import Fuzzing, Tally
from tests.fuzz.people import FORGER, STRANGER, WHO
from tests.fuzz.scene import SHOWN

EXAMPLES = int(os.environ.get("SCRIPTHUT_FUZZ_EXAMPLES", "8"))
SEED = int(os.environ.get("SCRIPTHUT_FUZZ_SEED", "0"))
pytestmark = pytest.mark.timeout(600)  # one person sends hundreds of requests, on a busy machine too
NO_RIGHTS = {STRANGER, FORGER}


@pytest.fixture(scope="module")
def drawn(migrated_uri: str, tmp_path_factory: pytest.TempPathFactory) -> list[list[Drawn]]:
    """The requests that everybody sends."""
    with Fuzzing(migrated_uri, tmp_path_factory.mktemp("reader"), WHO["admin"]) as fuzzing:
        return draw_all(fuzzing.document(), count=EXAMPLES, seed=SEED)


@pytest.fixture
def other(migrated_uri: str, tmp_path: Path) -> Iterator[Fuzzing]:
    """Somebody who has nothing to do with most runs."""
    with Fuzzing(migrated_uri, tmp_path, WHO["other"]) as fuzzing:
        yield fuzzing


@pytest.mark.parametrize("role", WHO)
def test_everybody_is_answered_what_is_theirs_and_nothing_else(
    migrated_uri: str, tmp_path: Path, drawn: list[list[Drawn]], role: str
) -> None:
    with Fuzzing(migrated_uri, tmp_path, WHO[role]) as fuzzing:
        tally = fuzzing.send_all(drawn)

        assert list(tally.findings.values()) == []
        assert fuzzing.unanswered(drawn) == []
    assert tally.statuses.keys() == {requests[0].operation.label for requests in drawn}
    statuses = set().union(*tally.statuses.values())
    assert statuses >= ({401} if role in NO_RIGHTS else {200, 404})


def sure(drawn: list[list[Drawn]]) -> list[list[Drawn]]:
    """The requests that stand before all that was made up."""
    return [requests[: len(SHOWN)] for requests in drawn]


def faults(tally: Tally) -> str:
    return "\n".join(finding.fault for finding in tally.findings.values())


def test_a_door_that_lets_everybody_in_is_found(
    other: Fuzzing, drawn: list[list[Drawn]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripthut_outputs.controllers.routing.may", lambda *_: True)

    found = faults(other.send_all(sure(drawn)))

    assert "an answer that is not theirs to have: 200" in found
    assert "tells what is of adas-shared" in found
    assert "a hidden run answers 200, a missing one 404" in found
    assert "changed what is not theirs" in found


def test_a_fault_is_found(other: Fuzzing, drawn: list[list[Drawn]], monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr(Reading, "runs", fail)

    assert "a fault: 500" in faults(other.send_all(sure(drawn)))


def test_a_status_that_the_document_does_not_know_is_found(
    other: Fuzzing, drawn: list[list[Drawn]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(problems._STATUSES, NotFound, HTTPStatus.GONE)

    assert "not as the document says: UndefinedStatusCode 410" in faults(other.send_all(sure(drawn)))
