"""What is wrong with an answer: that it came, what it tells, to whom, and whether the document knew of it."""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec
from schemathesis import Response
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz import people
from tests.fuzz.cases import AnyCase, Operation
from tests.fuzz.scene import Scene
from tests.integration.outputs import placing

_CHECKS: list[Any] = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_PLACED = placing.placed()
_CHANGING = frozenset({placing.COLLECT, placing.SUBMIT, placing.SHARE})
_UNKNOWN = frozenset({401, 429})
_OF_A_RUN = _CHANGING | {placing.READ}


def kind_of(operation: Operation) -> str:
    """What an operation does, by the table of all routes; HEAD is a GET."""
    method = operation.method.upper()
    return _PLACED["GET" if method == "HEAD" else method, operation.path]


def judge(scene: Scene, case: AnyCase, answer: Response, run_id: str) -> Iterator[str]:
    """Say everything that is wrong with the answer to a request about this run, if it is about one."""
    if answer.status_code >= 500:
        yield f"a fault: {answer.status_code}"
    if answer.status_code < 400 and not may_have(scene, kind_of(case.operation), run_id):
        yield f"an answer that is not theirs to have: {answer.status_code}"
    # A change tells whose run it was how it stands then, whatever else they showed is good for.
    is_changed = kind_of(case.operation) in _CHANGING and may_have(scene, kind_of(case.operation), run_id)
    shown = _shown(answer)
    for one, of in scene.marks().items():
        if one.encode() in shown and not (is_changed and of == run_id):
            yield f"tells what is of {of}"
    for secret in scene.secrets:
        if secret.encode() in shown:
            yield "tells a secret"
    yield from _undocumented(case, answer)


def may_have(scene: Scene, kind: str, run_id: str) -> bool:
    """Whether somebody may have what such an operation answers, of this run if it is about one."""
    who, run = scene.who, scene.runs.get(run_id)
    if kind == placing.OPEN:
        return who.role != people.FORGER
    if people.SCOPES[kind] not in who.scopes:
        return False
    if kind == placing.ADMIN:
        return who.is_admin
    if kind in _CHANGING:
        return run is not None and people.may_change(who, run)
    return who.role != people.GUEST if kind != placing.READ else run is not None and people.may_read(who, run)


def is_hidden(scene: Scene, operation: Operation, run_id: str) -> bool:
    """Whether a run is there that somebody may not see, so that every answer about it is that of a missing one."""
    run = scene.runs.get(run_id)
    if run is None or kind_of(operation) not in _OF_A_RUN:
        return False
    return not scene.who.is_admin and scene.who.name not in run.readers


def differs(theirs: Response, missing: Response) -> str | None:
    """Say how two answers can be told apart; how often somebody came with a wrong token is no matter of runs."""
    if {theirs.status_code, missing.status_code} <= _UNKNOWN:
        return None
    if theirs.status_code != missing.status_code:
        return f"a hidden run answers {theirs.status_code}, a missing one {missing.status_code}"
    if theirs.headers != missing.headers or theirs.content != missing.content:
        return "a hidden run can be told from a missing one"
    return None


def _undocumented(case: AnyCase, answer: Response) -> Iterator[str]:
    checks = [check for check in _CHECKS if check is not response_schema_conformance or not answer.stream_cut_short]
    if answer.stream_cut_short:
        yield from _unknown_events(case.operation, answer)
    try:
        case.validate_response(answer, checks=checks)
    except FailureGroup as group:
        for failure in group.exceptions:
            yield f"not as the document says: {type(failure).__name__} {answer.status_code}: {_short(str(failure))}"


def _unknown_events(operation: Operation, answer: Response) -> Iterator[str]:
    """Hold what came of a stream to what the document says of its events, in a field of its own."""
    known = operation.responses.find_by_status_code(200).definition.get("x-events", {})
    root = operation.schema.raw_schema
    for event in answer.text.split("\n\n"):
        told = dict(line.split(": ", 1) for line in event.splitlines() if ": " in line)
        if "event" not in told:
            continue
        schema = {**known.get(told["event"], {"not": {}}), "components": root["components"]}
        if not jsonschema_rs.is_valid(schema, msgspec.json.decode(told["data"])):
            yield f"an event that the document does not know: {_short(event)}"


def _short(text: str) -> str:
    return " ".join(text.split())[:300]


def _shown(answer: Response) -> bytes:
    """All that an answer tells: its headers, its body, and what is packed in it."""
    heads = msgspec.json.encode(answer.headers)
    return b"\n".join([heads, answer.content, *_unpacked(answer.content)])


def _unpacked(content: bytes) -> Iterator[bytes]:
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield archive.read(name)
