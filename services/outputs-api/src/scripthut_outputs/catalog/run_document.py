"""The run document: what a person sends to start a run, and everything that can be wrong with it. Pure."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any

import msgspec

from scripthut_common import layout, tasks
from scripthut_common.errors import InvalidInput, Problem
from scripthut_common.tasks import TaskSpec

_MAX_PROBLEMS = 1000


class RunDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A run as asked for."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=tasks.MAX_NAME_CHARACTERS)]
    cluster: str
    tasks: tuple[TaskSpec, ...]
    run_id: str | None = None
    log_dir: str | None = None

    @property
    def sha256(self) -> str:
        """Equal for equal documents, however they were spelled."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


def read(body: bytes, clusters: Collection[str]) -> RunDocument:
    """Read a document that may run.

    Raises:
        InvalidInput: it may not; names every faulty field.
    """
    try:
        document = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal([Problem(field="", message=f"not readable as JSON: {error}")]) from error
    problems = [*_check(document, clusters), *tasks.check(document.tasks)]
    if problems:
        raise _refusal(problems)
    return document


def _decode(body: bytes) -> RunDocument:
    try:
        return msgspec.json.decode(body, type=RunDocument)
    except msgspec.ValidationError:
        raise _refusal(_faults_of(body)) from None


def _refusal(problems: list[Problem]) -> InvalidInput:
    count = len(problems)
    return InvalidInput(f"the run document has {count} fault{'s' * (count != 1)}", problems[:_MAX_PROBLEMS])


def _check(document: RunDocument, clusters: Collection[str]) -> Iterator[Problem]:
    if document.run_id is not None and not layout.is_id(document.run_id):
        yield Problem(field="run_id", message=f"must be {layout.ID_RULE}")
    if "\0" in document.name:
        yield Problem(field="name", message="must have no NUL")
    if document.cluster not in clusters:
        known = ", ".join(sorted(clusters)) or "none"
        yield Problem(field="cluster", message=f"there is no cluster {document.cluster[:80]!r}; known: {known}")
    if document.log_dir is not None:
        yield from tasks.check_path(document.log_dir, "log_dir")


def _faults_of(body: bytes) -> list[Problem]:
    """Say all that keeps a JSON text from being a document; msgspec itself stops at the first."""
    written = msgspec.json.decode(body)
    if not isinstance(written, dict):
        return [Problem(field="", message="a run document is a JSON object")]
    listed = written.get("tasks")
    problems = list(_field_faults(RunDocument, written, "", skip="tasks"))
    if not isinstance(listed, list):
        return [*problems, Problem(field="tasks", message="must be a list of tasks")]
    for index, task in enumerate(listed[: tasks.MAX_TASKS]):
        if isinstance(task, dict):
            problems += _field_faults(TaskSpec, task, f"tasks[{index}].")
        else:
            problems.append(Problem(field=f"tasks[{index}]", message="must be an object"))
    return problems


def _field_faults(
    type_: type[msgspec.Struct], written: Mapping[str, Any], where: str, skip: str | None = None
) -> Iterator[Problem]:
    fields = {field.name: field for field in msgspec.structs.fields(type_)}
    for name in written.keys() - fields.keys():
        yield Problem(field=f"{where}{name[:80]}", message=f"is unknown; there are {', '.join(fields)}")
    for name, field in fields.items():
        if name == skip:
            continue
        if name not in written:
            if field.required:
                yield Problem(field=f"{where}{name}", message="is missing")
            continue
        try:
            msgspec.convert(written[name], type=field.type)
        except msgspec.ValidationError as error:
            yield Problem(field=f"{where}{name}", message=str(error))
