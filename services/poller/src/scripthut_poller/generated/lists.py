"""Judge a generated list, and fit it into its run. Pure.

What is wrong is told by place (line and column, or as `tasks[3].deps[0]`), never by content: whatever a list holds,
or the file that somebody passes for one, must not come back in an error.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import translate
from graphlib import CycleError, TopologicalSorter
from typing import Any, NoReturn

import msgspec

from scripthut_common import tasks
from scripthut_common.errors import InvalidInput, Problem
from scripthut_common.tasks import MAX_TASKS, TaskSpec

MAX_PATTERNS = 1000
MAX_DEPS = 100_000
_MAX_PATTERN_CHARACTERS = 256
_MAX_SHOWN = 5
_MAX_BRACKETS = 3 * MAX_TASKS + 3
_FIELDS = tuple(field.name for field in msgspec.structs.fields(TaskSpec))
_WILD = re.compile(r"[*?\[]")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_ENV_NAME = re.compile(r"(\.env)\[.*\Z", re.DOTALL)
_DECODER_SAYS = frozenset(
    {
        "Expecting value",
        "Expecting ',' delimiter",
        "Expecting ':' delimiter",
        "Expecting property name enclosed in double quotes",
        "Illegal trailing comma before end of object",
        "Illegal trailing comma before end of array",
        "Unterminated string starting at",
        "Extra data",
    }
)


class _Repeating(dict[str, Any]):
    """An object that has a key twice."""


def parse(body: bytes) -> tuple[TaskSpec, ...]:
    """Read a list of tasks, or `{"tasks": […]}`; everything about single tasks is judged.

    Raises:
        InvalidInput: it is refused; the text says why.
    """
    written = _decode(body)
    if isinstance(written, dict):
        if isinstance(written, _Repeating) or set(written) != {"tasks"}:
            raise InvalidInput('an object must have the one key "tasks"')
        written = written["tasks"]
    if not isinstance(written, list):
        raise InvalidInput('it must be a list of tasks, or an object as {"tasks": […]}')
    if len(written) > MAX_TASKS:
        raise InvalidInput(f"{len(written)} tasks; at most {MAX_TASKS} in one run")
    problems: list[Problem] = []
    read = [_task(one, f"tasks[{index}]", problems) for index, one in enumerate(written)]
    _refuse(problems)
    return tuple(task for task in read if task is not None)


def fit(wanted: Sequence[TaskSpec], known_ids: Sequence[str], *, working_dir: str | None) -> tuple[TaskSpec, ...]:
    """Fit a list into its run: every dependency becomes an id, missing working directories are filled in.

    A wildcard stands for every other task of the run and of the list whose id it matches.

    Args:
        wanted: what `parse` has read.
        known_ids: of the tasks that the run has already.
        working_dir: of the task that wrote the list.

    Raises:
        InvalidInput: it does not fit; the text says why.
    """
    count = len(wanted) + len(known_ids)
    if count > MAX_TASKS:
        raise InvalidInput(f"the run would have {count} tasks; at most {MAX_TASKS} in one run")
    _refuse(_repeated(wanted, frozenset(known_ids)))
    problems: list[Problem] = []
    deps = _Deps([*known_ids, *(task.id for task in wanted)], problems)
    fitted = tuple(
        msgspec.structs.replace(task, deps=deps.of(task, index), working_dir=task.working_dir or working_dir)
        for index, task in enumerate(wanted)
    )
    _refuse(problems)
    _check_circles(fitted)
    return fitted


def _decode(body: bytes) -> Any:
    if body.startswith(b"\xef\xbb\xbf"):
        raise InvalidInput("it begins with a byte order mark; write UTF-8 without one")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{_place(body, error.start)} is not UTF-8") from None
    skeleton = _STRING.sub(b"", body)
    if skeleton.count(b"{") + skeleton.count(b"[") > _MAX_BRACKETS:
        raise InvalidInput(f"it has more brackets than {MAX_TASKS} tasks can have")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_not_a_number)
    except json.JSONDecodeError as error:
        said = error.msg if error.msg in _DECODER_SAYS else "it breaks the rules of JSON"
        raise InvalidInput(f"line {error.lineno}, column {error.colno} is not JSON: {said}") from None
    except RecursionError:
        raise InvalidInput("it is nested too deeply to be a list of tasks") from None
    except ValueError:
        raise InvalidInput("it has a number with more digits than anybody reads") from None


def _place(body: bytes, at: int) -> str:
    *_, last = lines = body[:at].split(b"\n")
    return f"line {len(lines)}, column {len(last.decode('utf-8')) + 1}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else _Repeating(made)


def _not_a_number(word: str) -> NoReturn:
    raise InvalidInput(f"{word} is not JSON")


def _task(written: object, where: str, problems: list[Problem]) -> TaskSpec | None:
    """Read one task; what is wrong with it goes to `problems`."""
    fault = _shape_fault(written)
    if fault is None:
        try:
            task = msgspec.convert(written, type=TaskSpec)
            msgspec.json.encode(task)
        except msgspec.ValidationError as error:
            fault = str(error)
        except UnicodeEncodeError:
            fault = "it has half of a surrogate pair, which is no text"
    if fault is not None:
        problems.append(Problem(field=where, message=fault))
        return None
    found = tasks.check_task(task, where)
    # The names of variables are content too.
    problems += [msgspec.structs.replace(one, field=_ENV_NAME.sub(r"\1", one.field)) for one in found]
    return task


def _shape_fault(written: object) -> str | None:
    if not isinstance(written, dict):
        return "it must be an object"
    if isinstance(written, _Repeating) or isinstance(written.get("env"), _Repeating):
        return "it has a key twice"
    if not written.keys() <= set(_FIELDS):
        return f"it has a field that is unknown; there are {', '.join(_FIELDS)}"
    return None


def _repeated(wanted: Sequence[TaskSpec], known: frozenset[str]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, task in enumerate(wanted):
        if task.id in known:
            yield Problem(field=f"tasks[{index}].id", message="the run has a task with this id already")
        elif task.id in seen:
            yield Problem(field=f"tasks[{index}].id", message=f"tasks[{seen[task.id]}] has this id too")
        seen.setdefault(task.id, index)


class _Deps:
    """Turns what tasks depend on into ids."""

    def __init__(self, ids: Sequence[str], problems: list[Problem]) -> None:
        self._ids = dict.fromkeys(ids)
        self._matching: dict[str, tuple[str, ...]] = {}
        self._problems = problems
        self._count = 0

    def of(self, task: TaskSpec, index: int) -> tuple[str, ...]:
        """Give the ids, each once, in the order in which they were written."""
        found: dict[str, None] = {}
        for place, dep in enumerate(task.deps):
            ids = [id_ for id_ in self._named(dep) if id_ != task.id]
            if not ids:
                message = "a task cannot depend on itself" if dep == task.id else "there is no such task"
                self._problems.append(Problem(field=f"tasks[{index}].deps[{place}]", message=message))
            found |= dict.fromkeys(ids)
        self._count += len(found)
        if self._count > MAX_DEPS:
            raise InvalidInput(f"more than {MAX_DEPS} dependencies; let some task stand for many others")
        return tuple(found)

    def _named(self, dep: str) -> Sequence[str]:
        if not _WILD.search(dep):
            return (dep,) if dep in self._ids else ()
        if dep not in self._matching:
            if len(self._matching) >= MAX_PATTERNS or len(dep) > _MAX_PATTERN_CHARACTERS:
                raise InvalidInput(f"more than {MAX_PATTERNS} different wildcards, or one that is too long")
            matches = re.compile(translate(dep)).match
            self._matching[dep] = tuple(id_ for id_ in self._ids if matches(id_))
        return self._matching[dep]


def _check_circles(wanted: Sequence[TaskSpec]) -> None:
    """See that nothing waits for itself. What the run has already names nothing of the list."""
    places = {task.id: index for index, task in enumerate(wanted)}
    try:
        TopologicalSorter({task.id: task.deps for task in wanted}).prepare()
    except CycleError as error:
        circle: Mapping[str, None] = dict.fromkeys(error.args[1])
        shown = ", ".join(f"tasks[{places[id_]}]" for id_ in [*circle][:20])
        raise InvalidInput(f"dependencies form a circle: {shown}") from None


def _refuse(problems: Iterable[Problem]) -> None:
    found = list(problems)
    if found:
        shown = "; ".join(f"{one.field}: {one.message}" for one in found[:_MAX_SHOWN])
        more = f"; and {len(found) - _MAX_SHOWN} more faults" if len(found) > _MAX_SHOWN else ""
        raise InvalidInput(f"{shown}{more}", found[:_MAX_SHOWN])
