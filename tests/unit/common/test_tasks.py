"""What may run, and everything that is wrong with what may not."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common import tasks
from scripthut_common.errors import Problem
from scripthut_common.tasks import TaskSpec, check


def task(id: str = "a", **fields: object) -> TaskSpec:  # noqa: A002  as the author writes it
    return msgspec.convert({"id": id, "command": "true", **fields}, TaskSpec)


def faulty(*specs: TaskSpec, known: tuple[str, ...] = ()) -> list[str]:
    return [problem.field for problem in check(specs, known)]


def test_a_good_list_has_no_problem() -> None:
    plain = task("plan")
    full = task(
        "train-0",
        command="set -e\npython3 train.py \"$SEED\" '$(quoted)'\n",
        name='any "name" at all \u202e',
        working_dir="~/vortex",
        env={"SEED": "1; rm -rf /", "_x9": ""},
        init=["module load python"],
        partition="normal",
        account="s1234",
        cpus=4,
        memory="8G",
        time_limit="1-12:30:00",
        gres="gpu:a100:1",
        deps=["plan"],
        generates_source="../more.json",
    )

    assert check([full, plain]) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", "_run"),
        ("id", "../a"),
        ("id", "a b"),
        ("id", "a\n"),
        ("id", "x" * 129),
        ("command", ""),
        ("command", " \n\t"),
        ("command", "echo \0"),
        ("command", "x" * tasks.MAX_TASK_BYTES),
        ("name", "x" * 1025),
        ("name", "nul \0"),
        ("working_dir", "relative/dir"),
        ("working_dir", "~ada/dir"),
        ("working_dir", ""),
        ("working_dir", "/nul\0"),
        ("working_dir", "/" + "x" * 4096),
        ("init", ["ok", "nul \0"]),
        ("env", {"A": "nul \0"}),
        ("partition", "normal\n#SBATCH --uid=0"),
        ("partition", "--wrap=id"),
        ("partition", ""),
        ("account", "a;b"),
        ("account", "$(id)"),
        ("cpus", 0),
        ("cpus", -1),
        ("cpus", 1_000_001),
        ("memory", "8GB"),
        ("memory", "-1G"),
        ("memory", "0"),
        ("memory", "8G\n"),
        ("time_limit", "forever"),
        ("time_limit", "1:2:3:4"),
        ("time_limit", "10 "),
        ("gres", "gpu:1 --exclusive"),
        ("gres", "gpu:1\n"),
        ("generates_source", "nul \0"),
    ],
)
def test_a_faulty_field_is_named_with_its_place(field: str, value: object) -> None:
    spec = msgspec.convert({"id": "a", "command": "true", field: value}, TaskSpec)

    assert f"tasks[1].{field}" in faulty(task("good"), spec)


@pytest.mark.parametrize("value", ["5", "90", "00:30", "01:30:00", "1-12", "1-12:30", "1-12:30:00"])
def test_time_limits_are_spelled_as_slurm_spells_them(value: str) -> None:
    assert faulty(task(time_limit=value)) == []


@pytest.mark.parametrize(
    "name", ["", "1A", "A-B", "A=B", "A B", "A\n", "BASH_FUNC_x%%", "Ä", "SCRIPTHUT_RUN_ID", "x" * 257]
)
def test_a_variable_that_no_shell_may_see_is_named(name: str) -> None:
    (problem,) = check([task(env={name: "1"})])

    assert problem.field == f"tasks[0].env[{name[:80]!r}]"
    assert problem.field.isprintable()


def test_everything_that_is_wrong_is_told_at_once() -> None:
    wrong = task("a b", command="", cpus=0, partition="x y", env={"1": "", "SCRIPTHUT_X": ""}, deps=["nobody"])

    assert sorted(faulty(task("twice"), wrong, task("twice"))) == [
        "tasks[1].command",
        "tasks[1].cpus",
        "tasks[1].deps",
        "tasks[1].env['1']",
        "tasks[1].env['SCRIPTHUT_X']",
        "tasks[1].id",
        "tasks[1].partition",
        "tasks[2].id",
    ]


@pytest.mark.parametrize("path", ["/logs/../etc", "/./logs", "~/..", "relative", "/nul\0"])
def test_a_log_directory_that_steps_back_is_refused(path: str) -> None:
    assert [problem.field for problem in tasks.check_log_dir(path, "log_dir")] == ["log_dir"]


@pytest.mark.parametrize("path", ["/logs", "~", "~/a..b/.hidden", "/logs//twice/"])
def test_a_plain_log_directory_is_good(path: str) -> None:
    assert tasks.check_log_dir(path, "log_dir") == []


def test_an_empty_list_and_one_too_long_are_refused() -> None:
    assert check([]) == [Problem(field="tasks", message="must name at least one task")]
    many = [task(f"t{number}") for number in range(tasks.MAX_TASKS + 1)]

    assert check(many) == [Problem(field="tasks", message="10001 tasks; at most 10000 in one run")]
    assert check(many[:-1]) == []


def test_an_id_that_the_run_has_already_is_used_twice() -> None:
    assert check([task("a")], ["a"]) == [Problem(field="tasks[0].id", message="'a' is used twice")]


def test_dependencies_name_tasks_of_the_list_or_of_the_run() -> None:
    assert faulty(task("a", deps=["b", "old"]), task("b"), known=("old",)) == []
    assert check([task("a", deps=["b"])]) == [Problem(field="tasks[0].deps", message="there is no task 'b'")]
    assert check([task("a", deps=["a"])]) == [Problem(field="tasks[0].deps", message="a task cannot depend on itself")]


def test_a_circle_is_shown() -> None:
    (problem,) = check([task("a", deps=["c"]), task("b", deps=["a"]), task("c", deps=["b"]), task("d", deps=["a"])])

    circle = problem.message.removeprefix("dependencies form a circle: ").split(" → ")
    assert problem.field == "tasks"
    assert circle[0] == circle[-1]
    assert set(circle) == {"a", "b", "c"}


def test_a_long_chain_and_a_long_circle_are_no_trouble() -> None:
    chain = [task("t0"), *(task(f"t{number}", deps=[f"t{number - 1}"]) for number in range(1, 10_000))]
    circle = [task("t0", deps=["t9999"]), *chain[1:]]

    assert check(chain) == []
    assert [problem.field for problem in check(circle)] == ["tasks"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.lists(
        st.builds(
            TaskSpec,
            id=TEXT,
            command=TEXT,
            name=st.none() | TEXT,
            working_dir=st.none() | TEXT,
            env=st.dictionaries(TEXT, TEXT, max_size=3),
            partition=st.none() | TEXT,
            cpus=st.none() | st.integers(),
            time_limit=st.none() | TEXT,
            gres=st.none() | TEXT,
            deps=st.lists(TEXT, max_size=3).map(tuple),
        ),
        max_size=4,
    )
)
def test_whatever_is_asked_the_answer_is_a_list_of_problems(asked: list[TaskSpec]) -> None:
    problems = check(asked)

    assert all(problem.field.startswith("tasks") and problem.message for problem in problems)
    if not problems:
        assert all(one.id.isascii() and one.command.strip() for one in asked)
