"""What an author asks for: the tasks of a run, and the rules that they must pass at the door.

Pure. The outputs service checks run documents with it, the poller generated task lists.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Annotated

import msgspec

from . import layout
from .errors import Problem

MAX_TASKS = 10_000
MAX_TASK_BYTES = 256 * 1024
MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
MAX_NAME_CHARACTERS = 1024


_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MEMORY = re.compile(r"[1-9][0-9]{0,11}[KMGT]?")
_TIME_LIMIT = re.compile(r"[0-9]{1,6}|([0-9]{1,4}-)?[0-9]{1,4}(:[0-9]{2}){1,2}|[0-9]{1,4}-[0-9]{1,2}")
_GRES = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:,=-]{0,127}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_MAX_CPUS = 1_000_000


def told(**schema: object) -> msgspec.Meta:
    """What JSON Schemas say of a field; it is checked with all others at once, so that every fault is named."""
    return msgspec.Meta(extra_json_schema=schema)


def matching(pattern: re.Pattern[str]) -> msgspec.Meta:
    """What JSON Schemas say of a text that matches this as a whole."""
    return told(pattern=f"^({pattern.pattern})$")


Id = Annotated[str, matching(layout.ID_PATTERN)]


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One task as its author wrote it: plain bash in `command`, resources as the scheduler spells them."""

    id: Id
    command: Annotated[str, told(minLength=1)]
    name: Annotated[str, told(maxLength=MAX_NAME_CHARACTERS)] | None = None
    working_dir: Annotated[str, told(pattern="^(~$|~?/)")] | None = None
    env: Annotated[dict[str, str], told(propertyNames={"pattern": f"^{_ENV_NAME.pattern}$"})] = {}
    init: tuple[str, ...] = ()
    partition: Annotated[str, matching(_WORD)] | None = None
    account: Annotated[str, matching(_WORD)] | None = None
    cpus: Annotated[int, told(minimum=1, maximum=_MAX_CPUS)] | None = None
    memory: Annotated[str, matching(_MEMORY)] | None = None
    time_limit: Annotated[str, matching(_TIME_LIMIT)] | None = None
    gres: Annotated[str, matching(_GRES)] | None = None
    deps: tuple[Id, ...] = ()
    generates_source: str | None = None

    @property
    def display_name(self) -> str:
        """What people read: the name, else the id."""
        return self.name or self.id


_HEADER_RULES: Mapping[str, tuple[re.Pattern[str], str]] = {
    "partition": (_WORD, "must be up to 64 of letters, digits, . _ -"),
    "account": (_WORD, "must be up to 64 of letters, digits, . _ -"),
    "memory": (_MEMORY, "must be a number with K, M, G or T, as 4G"),
    "time_limit": (_TIME_LIMIT, "must be minutes, HH:MM:SS or D-HH:MM:SS"),
    "gres": (_GRES, "must be as gpu:2 or gpu:a100:1"),
}
RESERVED_ENV_PREFIX = "SCRIPTHUT_"


def check(tasks: Sequence[TaskSpec], known_ids: Iterable[str] = ()) -> list[Problem]:
    """Say everything that is wrong with a list of tasks; an empty answer means that it may run.

    Args:
        tasks: the list, in submission order.
        known_ids: ids of tasks that the run has already; dependencies may name them too.
    """
    problems = [problem for index, task in enumerate(tasks) for problem in check_task(task, f"tasks[{index}]")]
    problems += _check_count(tasks)
    problems += _check_ids(tasks, set(known_ids))
    return problems + _check_deps(tasks, set(known_ids), is_else_good=not problems)


def check_path(text: str, field: str) -> list[Problem]:
    """Say what is wrong with a directory on the cluster: absolute or below `~/`, without NUL."""
    if text != "~" and not text.startswith(("/", "~/")):
        return [Problem(field=field, message="must be absolute or begin with ~/")]
    if "\0" in text or len(text.encode("utf-8", "surrogatepass")) > 4096:
        return [Problem(field=field, message="must have no NUL and at most 4096 bytes")]
    return []


def check_log_dir(text: str, field: str) -> list[Problem]:
    """Say what is wrong with a directory that outputs are collected from: its path must not step sideways or back."""
    problems = check_path(text, field)
    if not problems and {".", ".."} & set(text.split("/")):
        problems = [Problem(field=field, message="must have no . or .. in it")]
    return problems


def _check_count(tasks: Sequence[TaskSpec]) -> list[Problem]:
    if not tasks:
        return [Problem(field="tasks", message="must name at least one task")]
    if len(tasks) > MAX_TASKS:
        return [Problem(field="tasks", message=f"{len(tasks)} tasks; at most {MAX_TASKS} in one run")]
    return []


def check_task(task: TaskSpec, where: str) -> list[Problem]:
    """Say what is wrong with one task by itself; `where` is its place in the list."""
    faults = {field: rule for field, is_wrong, rule in _judge(task) if is_wrong}
    for field, (pattern, rule) in _HEADER_RULES.items():
        value = getattr(task, field)
        if value is not None and not pattern.fullmatch(value):
            faults[field] = rule
    problems = [Problem(field=f"{where}.{field}", message=message) for field, message in faults.items()]
    if task.working_dir is not None:
        problems += check_path(task.working_dir, f"{where}.working_dir")
    return problems + _check_env(task.env, f"{where}.env")


def _judge(task: TaskSpec) -> Iterable[tuple[str, bool, str]]:
    """Yield (field, is wrong, rule) for what no pattern can say."""
    yield "id", not layout.is_id(task.id), f"must be {layout.ID_RULE}"
    yield "command", not task.command.strip(), "must not be empty"
    too_large = len(msgspec.json.encode(task)) > MAX_TASK_BYTES
    yield "command", too_large, f"the task is larger than {MAX_TASK_BYTES} bytes"
    too_long = len(task.name or "") > MAX_NAME_CHARACTERS
    yield "name", too_long, f"must have at most {MAX_NAME_CHARACTERS} characters"
    yield "name", "\0" in (task.name or ""), "must have no NUL"
    yield "generates_source", "\0" in (task.generates_source or ""), "must have no NUL"
    yield "cpus", task.cpus is not None and not 1 <= task.cpus <= _MAX_CPUS, f"must be from 1 to {_MAX_CPUS}"
    yield "command", "\0" in task.command, "must have no NUL"
    yield "init", any("\0" in line for line in task.init), "must have no NUL"
    yield "env", any("\0" in value for value in task.env.values()), "must have no NUL"


def _check_env(env: Mapping[str, str], where: str) -> list[Problem]:
    problems = []
    for name in env:
        if not _ENV_NAME.fullmatch(name):
            message = "a variable's name is letters, digits and _, not beginning with a digit"
            problems.append(Problem(field=f"{where}[{name[:80]!r}]", message=message))
        elif name.startswith(RESERVED_ENV_PREFIX):
            message = f"names beginning with {RESERVED_ENV_PREFIX} are set by ScriptHut"
            problems.append(Problem(field=f"{where}[{name[:80]!r}]", message=message))
    return problems


def _check_ids(tasks: Sequence[TaskSpec], known_ids: set[str]) -> list[Problem]:
    problems, seen = [], set(known_ids)
    for index, task in enumerate(tasks):
        if task.id in seen:
            problems.append(Problem(field=f"tasks[{index}].id", message=f"{task.id[:130]!r} is used twice"))
        seen.add(task.id)
    return problems


def _check_deps(tasks: Sequence[TaskSpec], known_ids: set[str], *, is_else_good: bool) -> list[Problem]:
    ids = known_ids | {task.id for task in tasks}
    problems = [
        Problem(field=f"tasks[{index}].deps", message=_dep_fault(task, dep))
        for index, task in enumerate(tasks)
        for dep in task.deps
        if dep not in ids or dep == task.id
    ]
    if problems or not is_else_good:
        return problems
    try:
        TopologicalSorter({task.id: task.deps for task in tasks}).prepare()
    except CycleError as error:
        circle = " → ".join(str(name) for name in error.args[1][:20])
        return [Problem(field="tasks", message=f"dependencies form a circle: {circle}")]
    return []


def _dep_fault(task: TaskSpec, dep: str) -> str:
    return "a task cannot depend on itself" if dep == task.id else f"there is no task {dep[:130]!r}"
