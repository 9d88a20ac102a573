"""A generated list is taken whole or refused with the place of the fault, and never with its content."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.errors import InvalidInput
from scripthut_common.tasks import TaskSpec
from scripthut_poller.generated.lists import MAX_DEPS, MAX_PATTERNS, fit, parse

SECRET = "hunter2"


def _body(*tasks: Any) -> bytes:
    return json.dumps(tasks).encode()


def _task(id_: str, *deps: str, **more: Any) -> TaskSpec:
    return TaskSpec(id=id_, command="true", deps=deps, **more)


def _refusal(body: bytes) -> str:
    with pytest.raises(InvalidInput) as refused:
        parse(body)
    return str(refused.value)


def _misfit(*wanted: TaskSpec, known: tuple[str, ...] = ("plan",)) -> str:
    with pytest.raises(InvalidInput) as refused:
        fit(wanted, known, working_dir=None)
    return str(refused.value)


def _deps(*wanted: TaskSpec, known: tuple[str, ...] = ("plan",)) -> list[tuple[str, ...]]:
    return [task.deps for task in fit(wanted, known, working_dir=None)]


@pytest.mark.parametrize("body", [b'[{"id":"a","command":"x"}]', b' {"tasks": [{"command":"x","id":"a"}]}\n'])
def test_a_list_comes_bare_or_in_an_object(body: bytes) -> None:
    assert parse(body) == (TaskSpec(id="a", command="x"),)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "line 1, column 1 is not JSON: Expecting value"),
        (b"root:x:0:0:hunter2\n", "line 1, column 1 is not JSON: Expecting value"),
        (b'[\n {"id": hunter2}]', "line 2, column 9 is not JSON: Expecting value"),
        (b'["hunter2', "line 1, column 2 is not JSON: Unterminated string starting at"),
        (b'["hunter2\\q"]', "line 1, column 10 is not JSON: it breaks the rules of JSON"),
        (b'["hunter2\x00"]', "line 1, column 10 is not JSON: it breaks the rules of JSON"),
        (b"[] hunter2", "line 1, column 4 is not JSON: Extra data"),
        (b'["h\xc3\xa9",\n"\xc3\xa9\xffhunter2"]', "line 2, column 3 is not UTF-8"),
        (b"\xef\xbb\xbf[]", "it begins with a byte order mark; write UTF-8 without one"),
        ("[]".encode("utf-16"), "line 1, column 1 is not UTF-8"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[" + b"7" * 5000 + b"]", "it has a number with more digits than anybody reads"),
        (b"[" * 20_000, "it is nested too deeply to be a list of tasks"),
        (b"[" * 2_000_000, "it has more brackets than 10000 tasks can have"),
        (b"[" + b"{}," * 100_000 + b"{}]", "it has more brackets than 10000 tasks can have"),
        (b"[" + b"0," * 10_000 + b"0]", "10001 tasks; at most 10000 in one run"),
        (b'"hunter2"', 'it must be a list of tasks, or an object as {"tasks": […]}'),
        (b"null", 'it must be a list of tasks, or an object as {"tasks": […]}'),
        (b'{"hunter2": []}', 'an object must have the one key "tasks"'),
        (b'{"tasks": [], "hunter2": 1}', 'an object must have the one key "tasks"'),
        (b'{"tasks": [], "tasks": []}', 'an object must have the one key "tasks"'),
        (b'{"tasks": {"hunter2": 1}}', 'it must be a list of tasks, or an object as {"tasks": […]}'),
        (b'["hunter2"]', "tasks[0]: it must be an object"),
        (b'[{"id": "a"}]', "tasks[0]: Object missing required field `command`"),
        (b'[{"id": "a", "id": "b", "command": "x"}]', "tasks[0]: it has a key twice"),
        (b'[{"id": "a", "command": "x", "env": {"A": "1", "A": "2"}}]', "tasks[0]: it has a key twice"),
        (
            b'[{"id": "a", "command": "x", "cpus": "hunter2"}]',
            "tasks[0]: Expected `int | null`, got `str` - at `$.cpus`",
        ),
        (
            b'[{"id": "a", "command": "x", "env": {"hunter2": 1}}]',
            "tasks[0]: Expected `str`, got `int` - at `$.env[...]`",
        ),
        (b'[{"id": "a", "command": "\\ud800"}]', "tasks[0]: it has half of a surrogate pair, which is no text"),
        (b'[{"id": "a/hunter2", "command": "x"}]', "tasks[0].id: must be 1 to 128"),
        (b'[{"id": "a", "command": " "}]', "tasks[0].command: must not be empty"),
        (b'[{"id": "a", "command": "x\\u0000hunter2"}]', "tasks[0].command: must have no NUL"),
        (b'[{"id": "a", "command": "x", "working_dir": "hunter2"}]', "tasks[0].working_dir: must be absolute"),
        (b'[{"id": "a", "command": "x", "partition": "-hunter2"}]', "tasks[0].partition: must be up to 64"),
        (b'[{"id": "a", "command": "x", "env": {"hunter 2\\n]": "x"}}]', "tasks[0].env: a variable's name is"),
        (b'[{"id": "a", "command": "x", "env": {"SCRIPTHUT_hunter2": "x"}}]', "tasks[0].env: names beginning with"),
        (_body({"id": "a", "command": SECRET * 40_000}), "tasks[0].command: the task is larger than 262144 bytes"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(body: bytes, said: str) -> None:
    refusal = _refusal(body)

    assert refusal.startswith(said)
    assert SECRET not in refusal


def test_an_unknown_field_is_not_named_but_what_there_is() -> None:
    refusal = _refusal(b'[{"id": "a", "command": "x", "hunter2": 1}]')

    assert refusal.startswith("tasks[0]: it has a field that is unknown; there are id, command, name")
    assert SECRET not in refusal


def test_of_many_faults_the_first_are_told() -> None:
    assert _refusal(_body(*([1] * 8))).endswith("tasks[4]: it must be an object; and 3 more faults")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        parse(body)
    except InvalidInput:
        return
    assert json.loads(body) in ([], {"tasks": []})


@given(st.text(alphabet='{}[]":,0truefalsn\\ \n', max_size=60))
def test_anything_like_json_is_read_or_refused(text: str) -> None:
    try:
        parse(text.encode())
    except InvalidInput:
        return
    assert json.loads(text) in ([], {"tasks": []})


def test_every_prefix_of_a_list_is_refused() -> None:
    body = _body({"id": "a", "command": "echo é", "deps": ["plan"], "env": {"A": "\\"}}, {"id": "b", "command": "x"})

    for end in range(len(body)):
        _refusal(body[:end])
    assert len(parse(body)) == 2


def test_a_missing_working_directory_is_the_parents() -> None:
    wanted = (_task("a"), _task("b", working_dir="/own"))

    assert [task.working_dir for task in fit(wanted, ["plan"], working_dir="~/work")] == ["~/work", "/own"]


@pytest.mark.parametrize(
    ("deps", "found"),
    [
        (("plan",), ("plan",)),
        (("sim.*",), ("sim.1", "sim.2")),
        (("sim.?", "sim.1"), ("sim.1", "sim.2")),
        (("sim.2", "sim.*"), ("sim.2", "sim.1")),
        (("sim.[!1]",), ("sim.2",)),
        (("*",), ("plan", "SIM.1", "sim.1", "sim.2")),
        (("SIM.*",), ("SIM.1",)),
    ],
)
def test_wildcards_name_every_other_task_that_they_match(deps: tuple[str, ...], found: tuple[str, ...]) -> None:
    listed = _deps(_task("sim.1"), _task("sim.2"), _task("sum", *deps), known=("plan", "SIM.1"))

    assert listed == [(), (), found]


def test_a_wildcard_passes_over_its_own_task() -> None:
    assert _deps(_task("sim.1"), _task("sim.2", "sim.*")) == [(), ("sim.1",)]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([_task("a", SECRET)], "tasks[0].deps[0]: there is no such task"),
        ([_task("a", f"{SECRET}*")], "tasks[0].deps[0]: there is no such task"),
        ([_task("a", "a*")], "tasks[0].deps[0]: there is no such task"),
        ([_task("a", "plan", "a")], "tasks[0].deps[1]: a task cannot depend on itself"),
        ([_task("plan")], "tasks[0].id: the run has a task with this id already"),
        ([_task(SECRET), _task("b"), _task(SECRET)], "tasks[2].id: tasks[0] has this id too"),
        ([_task("a", "b"), _task("b", "a")], "dependencies form a circle: tasks["),
        ([_task("x"), _task("a", "*"), _task("b", "a")], "dependencies form a circle: tasks["),
        ([_task("a", f"*{SECRET}" * 40)], f"more than {MAX_PATTERNS} different wildcards, or one that is too long"),
        ([_task("a", *(f"p*{n}" for n in range(MAX_PATTERNS + 1)))], f"more than {MAX_PATTERNS} different wildcards"),
    ],
)
def test_what_does_not_fit_its_run_is_refused(wanted: list[TaskSpec], said: str) -> None:
    refusal = _misfit(*wanted)

    assert refusal.startswith(said)
    assert SECRET not in refusal


def test_wildcards_cannot_multiply_without_end() -> None:
    many = [_task(f"t{n}") for n in range(1000)]

    assert _misfit(*many, *(_task(f"sum{n}", "t*") for n in range(101))).startswith(f"more than {MAX_DEPS} dep")


def test_a_run_has_no_more_tasks_than_one_may_have() -> None:
    assert _misfit(_task("a"), _task("b"), known=tuple(f"t{n}" for n in range(9_999))).startswith(
        "the run would have 10001"
    )


@given(st.data())
def test_what_fits_has_no_dependency_but_known_ones_and_no_circle(data: st.DataObject) -> None:
    ids = [f"{letter}.{number}" for letter in "ab" for number in range(3)]
    deps = st.lists(st.sampled_from([*ids, "a.*", "b.?", "plan", "*", "nobody"]), max_size=3)
    wanted = [_task(id_, *data.draw(deps)) for id_ in data.draw(st.lists(st.sampled_from(ids), unique=True))]

    try:
        fitted = fit(wanted, ["plan"], working_dir=None)
    except InvalidInput:
        return

    done = {"plan"}
    left = {task.id: set(task.deps) for task in fitted}
    while ready := {id_ for id_, after in left.items() if after <= done}:
        done |= ready
        left = {id_: after for id_, after in left.items() if id_ not in ready}
    assert left == {}
