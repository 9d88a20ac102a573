"""The run document: what a person sends to start a run, and everything that can be wrong with it. Pure."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec

from scripthut_common import layout, tasks
from scripthut_common.errors import InvalidInput, Problem
from scripthut_common.tasks import Id, TaskSpec, told

_MAX_PROBLEMS = 1000
_STAND_IN = "stand-in"
_NEEDS_ONE = "names the group that may read the run; visibility `group` needs it"

Readers = Literal["private", "group", "instance"]
GroupName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Open(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may read a run besides its owner and admins: nobody, `group`, or everybody who is known here."""

    visibility: Readers
    group: GroupName | None = None


class RunDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A run as asked for. `follow`: its tasks' outputs are read while they run, whether somebody looks or not.

    `visibility` and `group` say who may read it besides; what they leave out is the installation's to say.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=tasks.MAX_NAME_CHARACTERS)]
    cluster: str
    tasks: Annotated[tuple[TaskSpec, ...], told(minItems=1, maxItems=tasks.MAX_TASKS)]
    run_id: Id | None = None
    log_dir: Annotated[str, told(pattern="^(~$|~?/)")] | None = None
    follow: bool = False
    visibility: Readers | None = None
    group: GroupName | None = None

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
        document = _decode(body, clusters)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal([Problem(field="", message=f"not readable as JSON: {error}")]) from error
    problems = [*_check(document, clusters), *tasks.check(document.tasks)]
    if problems:
        raise _refusal(problems)
    return document


def read_open(body: bytes) -> Open:
    """Read who may read a run.

    Raises:
        InvalidInput: it is written otherwise.
    """
    try:
        return msgspec.json.decode(body, type=Open)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        words = 'expected {"visibility": "private"}, "instance", or "group" with the name of the "group"'
        raise InvalidInput(f"not readable: {error}; {words}", [Problem(field="", message=str(error))]) from error


def opened(document: RunDocument, default: Readers, groups: Collection[str]) -> Open:
    """Say who may read a run that is to be created.

    A document that names a group alone opens the run to it. Where the installation opens runs to groups and the
    document names none, that is the creator's only group; with several or none the run stays private.

    Args:
        document: as asked for.
        default: what holds where it says nothing.
        groups: those that its creator belongs to.

    Raises:
        InvalidInput: names the faulty field.
    """
    group = document.group
    visibility = document.visibility or (default if group is None else "group")
    if document.visibility is None and group is None and visibility == "group":
        group = next(iter(groups)) if len(groups) == 1 else None
        visibility = "private" if group is None else visibility
    to = Open(visibility=visibility, group=group)
    require_open(to, groups)
    return to


def require_open(to: Open, groups: Collection[str] | None) -> None:
    """Refuse a group that is missing, that nothing is opened to, or that is not among these; `None`: any will do.

    Raises:
        InvalidInput: names the faulty field.
    """
    if to.visibility != "group":
        fault = None if to.group is None else f"goes with visibility `group` alone, not with `{to.visibility}`"
    elif to.group is None:
        fault = _NEEDS_ONE
    elif groups is not None and to.group not in groups:
        theirs = ", ".join(sorted(groups)[:20]) or "none"
        fault = f"must be one of your groups; you are in {theirs}"
    else:
        fault = None
    if fault is not None:
        raise InvalidInput("this run cannot be opened so", [Problem(field="group", message=fault)])


def _decode(body: bytes, clusters: Collection[str]) -> RunDocument:
    try:
        return msgspec.json.decode(body, type=RunDocument)
    except msgspec.ValidationError as error:
        # A key written twice may be wrong only the first time: then msgspec's word is all there is to say.
        raise _refusal(_faults_of(body, clusters) or [Problem(field="", message=str(error))]) from None


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
        yield from tasks.check_log_dir(document.log_dir, "log_dir")


def _faults_of(body: bytes, clusters: Collection[str]) -> list[Problem]:
    """Say all that keeps a JSON text from being a document; msgspec itself stops at the first.

    What has a wrong type is replaced by a stand-in, so that everything else can be judged as well.
    """
    written = msgspec.json.decode(body)
    if not isinstance(written, dict):
        return [Problem(field="", message="a run document is a JSON object")]
    listed = written.get("tasks")
    problems, good = _sift(RunDocument, {**written, "tasks": []}, "")
    specs = [TaskSpec(id=_STAND_IN, command=_STAND_IN)]
    if isinstance(listed, list):
        specs = []
        for index, task in enumerate(listed):
            faults, spec = _sift_task(task, index)
            problems += faults
            specs.append(spec)
    else:
        problems.append(Problem(field="tasks", message="must be a list of tasks"))
    stand_ins = {"name": _STAND_IN, "cluster": next(iter(clusters), _STAND_IN)}
    document = RunDocument(**{**stand_ins, **good, "tasks": tuple(specs)})
    return [*problems, *_check(document, clusters), *tasks.check(specs)]


def _sift_task(task: object, index: int) -> tuple[list[Problem], TaskSpec]:
    stand_ins: dict[str, Any] = {"id": f"stand-in-{index}", "command": _STAND_IN}
    if not isinstance(task, dict):
        return [Problem(field=f"tasks[{index}]", message="must be an object")], TaskSpec(**stand_ins)
    problems, good = _sift(TaskSpec, task, f"tasks[{index}].")
    return problems, TaskSpec(**{**stand_ins, **good})


def _sift(type_: type[msgspec.Struct], written: Mapping[str, Any], where: str) -> tuple[list[Problem], dict[str, Any]]:
    """Tell the fields that are unknown, missing or of a wrong type from those that can be read."""
    fields = {field.name: field for field in msgspec.structs.fields(type_)}
    known = ", ".join(fields)
    problems = [
        Problem(field=f"{where}{name[:80]}", message=f"is unknown; there are {known}")
        for name in written.keys() - fields.keys()
    ]
    good: dict[str, Any] = {}
    for name, field in fields.items():
        if name in written:
            try:
                good[name] = msgspec.convert(written[name], type=field.type)
            except msgspec.ValidationError as error:
                problems.append(Problem(field=f"{where}{name}", message=str(error)))
        elif field.required:
            problems.append(Problem(field=f"{where}{name}", message="is missing"))
    return problems, good
