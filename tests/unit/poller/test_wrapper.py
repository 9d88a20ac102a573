"""The wrapper holds whatever its author writes: every script here runs in real bash."""

import os
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripthut_common import layout
from scripthut_common.manifest import MAX_FILES
from scripthut_common.tasks import MAX_TASK_BYTES, TaskSpec
from scripthut_poller.wrapper import batch_script
from tests.unit.poller.wrapped import NONCE, RUN, TASK, Place, Started


@pytest.fixture
def place(tmp_path: Path) -> Place:
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    return Place(log_dir)


def until(condition: Path) -> None:
    """Wait for a file that a running task makes."""
    while not condition.exists():
        time.sleep(0.01)


ENDINGS = [
    ("true", 0),
    ("false", 1),
    ("exit 0", 0),
    ("exit 7", 7),
    ("exit 255", 255),
    ("exec false", 1),
    ("exec sh -c 'exit 9'", 9),
    ("set -e; false; echo unreached; exit 5", 1),
    ("set -eu; echo $UNSET; exit 5", 1),
    ("trap 'exit 3' EXIT; true", 3),
    ("trap - EXIT TERM; exec true", 0),
    ("false | true", 1),
    ("true | false | true", 1),
    ("no-such-command-here", 127),
    ("/etc/passwd", 126),
    ("if", 2),
    ("echo 'unclosed", 2),
    ("}", 2),
    ("} ; exit 0 ; {", 2),
    ("kill -KILL $$", 137),
    ("kill -TERM $$", 143),
    ("kill -SEGV $$", 139),
    ("return 4", 0),
    ("(exit 6)", 6),
    ("sleep 600 & true", 0),
    ("sleep 600 & disown; exit 8", 8),
    ("cat", 0),
    ("exec 0<&- 1>&- 2>&-; exit 4", 4),
    ("unset -f $(compgen -A function); unset PATH IFS; exit 4", 4),
    ("ulimit -f 0; exit 4", 4),
    ("enable -n wait trap printf; exit 4", 4),
    ("exit\x20-1", 255),
    ("# nothing but a comment", 0),
    ("_sh_record 0; exit 11", 11),
    ("kill -0 $PPID && exit 12", 12),
]


@pytest.mark.parametrize(("command", "status"), ENDINGS)
def test_any_ending_keeps_its_status_and_leaves_a_record(place: Place, command: str, status: int) -> None:
    ran = place.run(command)

    if command == "return 4":
        status = ran.status  # whether `return` fails outside a function differs between versions of bash
    assert ran.status == status
    assert place.record.exit_code == status


def test_the_record_names_job_attempt_nonce_host_and_times(place: Place) -> None:
    before = datetime.now(UTC).replace(microsecond=0)

    place.run("true", job="4711", restarts="2")

    record = place.record
    assert (record.job_id, record.attempt, record.nonce) == ("4711", 3, NONCE)
    assert record.host == os.uname().nodename
    assert before <= record.started_at <= record.ended_at <= datetime.now(UTC)
    assert record.flags == frozenset()


def test_the_contract_is_in_the_tasks_environment(place: Place) -> None:
    names = ("OUTPUT_DIR", "TASK_SUMMARY", "RUN_SUMMARY", "RUN_ID", "TASK_ID", "ATTEMPT")
    command = "\n".join(f'echo "$SCRIPTHUT_{name}"' for name in names)

    ran = place.run(command)

    log_dir = str(place.log_dir)
    assert ran.out.decode().splitlines() == [
        layout.output_dir(log_dir, RUN, TASK),
        layout.task_summary_path(log_dir, RUN, TASK),
        layout.run_summary_path(log_dir, RUN, TASK),
        RUN,
        TASK,
        "1",
    ]
    assert place.outputs.is_dir()


def test_the_scripts_of_the_authors_page_work_as_they_stand(place: Place) -> None:
    command = r"""
{ echo "| step | residual |"; echo "|---|--:|"; printf '1 0.5\n2 0.25\n' |
  awk '{print "| "$1" | "$2" |"}'; } > "$SCRIPTHUT_TASK_SUMMARY"
echo "- converged after 2 steps" >> "$SCRIPTHUT_RUN_SUMMARY"
"""

    ran = place.run(command)

    assert ran.status == 0, ran.err
    assert (place.outputs / "task-summary.md").read_text().endswith("| 2 | 0.25 |\n")
    assert (place.records / f"{TASK}.md").read_text() == "- converged after 2 steps\n"
    assert [entry.path for entry in place.record.entries] == [b"task-summary.md"]


def test_neither_init_nor_environment_can_override_our_variables(place: Place) -> None:
    init = ("export SCRIPTHUT_OUTPUT_DIR=/elsewhere", "SCRIPTHUT_TASK_ID=other")
    process = place.start(
        place.script(
            "echo $SCRIPTHUT_OUTPUT_DIR $SCRIPTHUT_TASK_ID [$SCRIPTHUT_JOB_ID] [$SCRIPTHUT_SECRET]", init=init
        ),
        env={"SCRIPTHUT_ATTEMPT": "9", "SCRIPTHUT_SECRET": "of the poller"},
    )

    ran = process.finish()

    assert ran.out.decode().split() == [str(place.outputs), TASK, "[42]", "[]"]


HOSTILE_TEXTS = [
    "$(touch INJECTED)",
    "`touch INJECTED`",
    "'; touch INJECTED; '",
    '"; touch INJECTED; "',
    "a\nb\n",
    "-rf",
    "--",
    "* ? [a-z] ~ {a,b}",
    "\\ \\n \\0",
    "%s %n %j",
    "!history",
    "\x1b[31m red \x07",
    "naïve ☃ 🐢",
    "}\nexit 0\n{",
    "EOF\nEND\n",
    " leading and trailing ",
    "",
]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_values_of_the_environment_arrive_as_they_are(place: Place, text: str) -> None:
    ran = place.run('printf "%s|" "$VALUE"', env={"VALUE": text})

    assert ran.out == text.encode() + b"|"
    assert not list(place.log_dir.parent.rglob("INJECTED"))


@pytest.mark.parametrize("name", [text.strip().replace("\0", "") for text in HOSTILE_TEXTS if text.strip()])
def test_hostile_directories_are_only_directories(tmp_path: Path, name: str) -> None:
    log_dir = tmp_path / name
    log_dir.mkdir()
    place = Place(log_dir)

    ran = place.run('pwd -P; echo x > "$SCRIPTHUT_OUTPUT_DIR/x"', working_dir=str(log_dir))

    assert ran.status == 0, ran.err
    assert ran.out.decode() == f"{log_dir}\n"
    assert [entry.path for entry in place.record.entries] == [b"x"]
    assert not list(tmp_path.rglob("INJECTED"))


def test_environment_that_upsets_bash_does_not_upset_the_record(place: Place) -> None:
    env = {
        "PATH": "/nowhere",
        "IFS": "0123456789",
        "BASH": "/bin/false",
        "BASH_ENV": "/nowhere/env",
        "UID": "7",
        "SHELLOPTS": "noexec",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": "/nowhere",
        "HOME": "/nowhere",
        "HOSTNAME": "forged",
        "_sh_records": "/nowhere",
        "GLOBIGNORE": "*",
        "PS4": "$(touch INJECTED)",
        "POSIXLY_CORRECT": "1",
    }

    ran = place.run("echo done; exit 3", env=env)

    assert (ran.status, ran.out) == (3, b"done\n")
    assert place.record.exit_code == 3
    assert place.record.host == os.uname().nodename


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("exit 6", 6),
        ("exec true", 0),
        ("set -e; false", 1),
        ("trap 'echo never' EXIT TERM", 5),
        ("echo 'unclosed", 5),
        ("}", 5),
        ("printf() { echo broken; }; wait() { :; }; mv() { :; }", 5),
        ("set +o pipefail; unset _sh_records; _sh_task=other", 5),
        ("cd /; umask 077", 5),
    ],
)
def test_no_init_line_can_lose_the_record(place: Place, line: str, status: int) -> None:
    ran = place.run("exit 5", init=(line,))

    assert ran.status == status
    assert place.record.exit_code == status


def test_what_init_lines_export_reaches_the_command(place: Place) -> None:
    ran = place.run("echo $TOOL $CC", init=("export TOOL=gcc-13", "# comment only", "CC=$TOOL", "export CC"))

    assert ran.out == b"gcc-13 gcc-13\n"


def test_a_missing_working_directory_fails_the_task(place: Place) -> None:
    ran = place.run("echo unreached", working_dir=str(place.log_dir / "gone"))

    assert ran.status == 1
    assert b"gone" in ran.err
    assert ran.out == b""
    assert place.record.exit_code == 1


def test_without_a_working_directory_the_task_begins_at_home(place: Place) -> None:
    script = batch_script(
        TaskSpec(id=TASK, command="pwd"), run_id=RUN, log_dir=str(place.log_dir), working_dir=None, nonce=NONCE
    )

    ran = place.start(script, env={"HOME": str(place.log_dir)}).finish()

    assert ran.out.decode() == f"{place.log_dir}\n"


def test_a_command_of_the_largest_size_runs(place: Place) -> None:
    line = "x='it''s'\n"
    command = line * ((MAX_TASK_BYTES - 200) // len(line)) + 'echo "$x"'

    ran = place.run(command)

    assert (ran.status, ran.out) == (0, b"its\n")


def test_a_command_that_leaves_most_of_its_text_unread_ends_quietly(place: Place) -> None:
    ran = place.run("exit 4\n" + "# padding\n" * 20_000)

    assert (ran.status, ran.err) == (4, b"")


def test_line_ends_of_dos_arrive_and_are_not_in_the_script(place: Place) -> None:
    script = place.script('printf "%s|" "$VALUE" "a\r\nb\r\n"', env={"VALUE": "x\r\ny"}, init=("A=1\r\nB=2",))

    ran = place.start(script).finish()

    assert b"\r\n" not in script
    assert ran.out == b"x\r\ny|a\r\nb\r\n|"


def test_other_users_cannot_read_the_command_in_the_list_of_processes(place: Place) -> None:
    ready = place.log_dir / "ready"
    process = place.start(place.script(f"secret=hunter2; touch {ready}; sleep 600", env={"TOKEN": "hunter2"}))
    until(ready)

    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _belongs(path, process.process.pid)]
    process.signal_all(signal.SIGKILL)
    process.finish()

    assert lines
    assert not any(b"hunter2" in line for line in lines)


def _belongs(cmdline: Path, session: int) -> bool:
    return int((cmdline.parent / "stat").read_bytes().rpartition(b") ")[2].split()[3]) == session


def test_standard_input_is_that_of_the_job(place: Place) -> None:
    script = place.script("read -r line; echo got $line")
    file = place.log_dir / "script"
    file.write_bytes(script)

    ran = subprocess.run(
        ["bash", str(file)],
        input=b"something\n",
        capture_output=True,
        check=False,
        env={**os.environ, "SCRIPTHUT_JOB_ID": "1"},
    )

    assert ran.stdout == b"got something\n"


@pytest.mark.parametrize("cut", [0.05, 0.3, 0.6, 0.9, 0.97, 0.999])
def test_a_cut_script_runs_nothing(place: Place, cut: float) -> None:
    script = place.script("touch ran; echo ran")

    ran = place.start(script[: int(len(script) * cut)]).finish()

    assert ran.out == b""
    assert not place.records.exists()
    assert not (place.log_dir.parent / "ran").exists()


def test_sigterm_reaches_the_command_and_is_noted(place: Place) -> None:
    ready = place.log_dir / "ready"
    process = place.start(place.script(f"trap 'echo saved; exit 3' TERM; touch {ready}; while :; do sleep 0.05; done"))
    until(ready)

    process.send(signal.SIGTERM)
    ran = process.finish()

    assert (ran.status, ran.out) == (3, b"saved\n")
    assert place.record.exit_code == 3
    assert place.record.flags == {"terminated"}


def test_sigterm_to_everything_ends_as_143(place: Place) -> None:
    ready = place.log_dir / "ready"
    process = place.start(place.script(f"touch {ready}; sleep 600"))
    until(ready)

    process.signal_all(signal.SIGTERM)
    ran = process.finish()

    assert ran.status == 143
    assert place.record.exit_code == 143


def test_a_command_that_ignores_sigterm_still_leaves_a_record_before_sigkill(place: Place) -> None:
    ready = place.log_dir / "ready"
    process = place.start(place.script(f"trap '' TERM; touch {ready}; while :; do sleep 0.05; done"))
    until(ready)

    process.signal_all(signal.SIGTERM)
    until(Path(layout.manifest_path(str(place.log_dir), RUN, TASK)))
    process.signal_all(signal.SIGKILL)
    process.finish()

    assert place.record.exit_code == 143
    assert place.record.flags == {"terminated", "unlisted"}


def test_a_command_that_survives_sigterm_has_the_last_word(place: Place) -> None:
    ready, go = place.log_dir / "ready", place.log_dir / "go"
    process = place.start(place.script(f"trap '' TERM; touch {ready}; until [ -e {go} ]; do sleep 0.02; done; exit 0"))
    until(ready)

    process.send(signal.SIGTERM)
    until(Path(layout.manifest_path(str(place.log_dir), RUN, TASK)))
    go.touch()
    ran = process.finish()

    assert ran.status == 0
    assert place.record.exit_code == 0
    assert place.record.flags == {"terminated"}


def tools(directory: Path, name: str, text: str) -> dict[str, str]:
    """Put a tool of one's own before that of the system, which `text` finds as `$real`."""
    directory.mkdir()
    (directory / name).write_text(f"#!/bin/sh\nreal={shutil.which(name)}\n{text}\n")
    (directory / name).chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


def start_tidy(place: Place, env: dict[str, str]) -> tuple[Started, int]:
    """Start a task that ends with 0 when it is told to end; also return the process id of its author's shell."""
    pid = place.log_dir / "pid"
    command = f"trap 'exit 0' TERM; echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 600 & wait $!"
    process = place.start(place.script(f'touch "$SCRIPTHUT_OUTPUT_DIR/a"; {command}'), env=env)
    until(pid)
    return process, int(pid.read_text())


@pytest.mark.parametrize("tool", ["find", "head", "cat", "mv"])
def test_sigterm_that_comes_while_the_record_is_written_is_noted(place: Place, tmp_path: Path, tool: str) -> None:
    reached, go = tmp_path / "reached", tmp_path / "go"
    slow = f'case $* in *pid) exec "$real" "$@" ;; esac\n"$real" "$@"\ntouch {reached}'
    env = tools(tmp_path / "tools", tool, f"{slow}\nuntil [ -e {go} ]; do sleep 0.01; done")
    process, author = start_tidy(place, env)

    os.kill(author, signal.SIGTERM)
    until(reached)
    process.signal_all(signal.SIGTERM)
    go.touch()
    ran = process.finish()

    assert (ran.status, ran.err) == (0, b"")
    assert (place.record.exit_code, place.record.flags) == (0, frozenset({"terminated"}))
    assert [entry.path for entry in place.record.entries] == [b"a"]


def test_sigterm_that_comes_a_little_later_than_to_the_command_is_noted(tmp_path: Path) -> None:
    env = tools(tmp_path / "tools", "find", 'sleep 0.3; exec "$real" "$@"')
    places = [Place(tmp_path / str(later_ms) / "logs") for later_ms in range(20)]
    for place in places:
        place.log_dir.mkdir(parents=True)
    started = [start_tidy(place, env) for place in places]

    for later_ms, (process, author) in enumerate(started):
        os.kill(author, signal.SIGTERM)
        time.sleep(later_ms / 1000)
        process.signal_all(signal.SIGTERM)
    statuses = {process.finish().status for process, _ in started}

    assert statuses == {0}
    assert [place.record.flags for place in places] == [{"terminated"}] * len(places)


def test_sigterm_that_came_while_the_record_was_written_is_noted_before_sigkill(place: Place, tmp_path: Path) -> None:
    told, go, hung = tmp_path / "told", tmp_path / "go", tmp_path / "hung"
    again = f"[ ! -e {place.records}/{TASK}.manifest ] || {{ touch {hung}; sleep 600; }}"
    first = f'touch {told}; until [ -e {go} ]; do sleep 0.01; done; exec "$real" "$@"'
    process, author = start_tidy(place, tools(tmp_path / "tools", "find", f"{again}\n{first}"))

    os.kill(author, signal.SIGTERM)
    until(told)
    process.signal_all(signal.SIGTERM)
    go.touch()
    until(hung)
    process.signal_all(signal.SIGKILL)
    process.finish()

    assert place.record.exit_code == 0
    assert place.record.flags == {"terminated", "unlisted"}


def test_a_record_is_written_again_when_what_writes_it_is_killed(place: Place, tmp_path: Path) -> None:
    once = tmp_path / "once"
    env = tools(tmp_path / "tools", "find", f'mkdir {once} 2> /dev/null && kill -KILL $PPID\nexec "$real" "$@"')

    ran = place.start(place.script('touch "$SCRIPTHUT_OUTPUT_DIR/a"; exit 3'), env=env).finish()

    assert ran.status == 3
    assert (place.record.exit_code, place.record.flags) == (3, frozenset())
    assert [entry.path for entry in place.record.entries] == [b"a"]


@pytest.mark.parametrize("name", ["INT", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_that_a_scheduler_sends_by_request_reach_the_command(place: Place, name: str) -> None:
    ready = place.log_dir / "ready"
    process = place.start(place.script(f"trap 'echo got; exit 9' {name}; touch {ready}; while :; do sleep 0.05; done"))
    until(ready)

    process.send(signal.Signals[f"SIG{name}"])
    ran = process.finish()

    assert (ran.status, ran.out) == (9, b"got\n")
    assert place.record.exit_code == 9


def test_a_second_job_of_the_same_submission_ends_before_the_command(place: Place) -> None:
    place.run("echo once >> ../count", working_dir=str(place.log_dir), job="1")
    first = place.record

    ran = place.run("echo once >> ../count", working_dir=str(place.log_dir), job="2")

    assert ran.status == 1
    assert b"job 1 already runs this task" in ran.err
    assert (place.log_dir.parent / "count").read_text() == "once\n"
    assert place.record == first


def test_of_many_jobs_of_one_submission_exactly_one_runs(place: Place) -> None:
    script = place.script(f"echo once >> {place.log_dir}/count")

    jobs = [place.start(script, job=str(number)) for number in range(12)]
    statuses = sorted(job.finish().status for job in jobs)

    assert statuses == [0] + [1] * 11
    assert (place.log_dir / "count").read_text() == "once\n"


def test_a_requeued_job_runs_again_as_the_next_attempt(place: Place) -> None:
    place.run("echo $SCRIPTHUT_ATTEMPT", job="1")

    ran = place.run("echo $SCRIPTHUT_ATTEMPT", job="1", restarts="1")

    assert (ran.status, ran.out) == (0, b"2\n")
    assert place.record.attempt == 2


def test_attempts_are_counted_where_the_scheduler_does_not(place: Place) -> None:
    outs = [place.run("echo $SCRIPTHUT_ATTEMPT", job="1", restarts="").out for _ in range(3)]

    assert outs == [b"1\n", b"2\n", b"3\n"]


def test_a_requeue_between_claim_and_note_still_runs(place: Place) -> None:
    (place.records / f"{TASK}.claim" / NONCE).mkdir(parents=True)

    assert place.run("true", job="1", restarts="0").status == 1
    assert place.run("true", job="1", restarts="1").status == 0


def test_another_submission_of_the_same_task_runs(place: Place) -> None:
    place.run("true", job="1", nonce="one")

    ran = place.run("true", job="2", nonce="two")

    assert ran.status == 0
    assert (place.record.job_id, place.record.nonce) == ("2", "two")


def test_a_deleted_output_directory_costs_only_its_list(place: Place) -> None:
    ran = place.run('cd /; rm -rf "$SCRIPTHUT_OUTPUT_DIR"; exit 5')

    assert (ran.status, ran.err) == (5, b"")
    assert (place.record.exit_code, place.record.entries) == (5, ())


def test_a_deleted_records_directory_never_fails_the_task(place: Place) -> None:
    ran = place.run('rm -rf "$(dirname "$SCRIPTHUT_OUTPUT_DIR")"; exit 5')

    assert ran.status == 5
    assert not place.has_record
    assert b"exit record of this task could not be written" in ran.err


def test_an_output_place_that_cannot_be_made_never_fails_the_task(place: Place) -> None:
    (place.log_dir / "outputs").write_text("a file where a directory should be")

    ran = place.run("echo ran; exit 5")

    assert (ran.status, ran.out) == (5, b"ran\n")


def test_a_symlinked_output_directory_is_not_followed(place: Place, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "key").touch()

    place.run(f'rmdir "$SCRIPTHUT_OUTPUT_DIR"; ln -s {secrets} "$SCRIPTHUT_OUTPUT_DIR"')

    assert place.record.entries == ()


def test_only_regular_files_are_listed(place: Place) -> None:
    place.run('cd "$SCRIPTHUT_OUTPUT_DIR"; mkdir -p d/e; echo 1234 > d/e/f; ln -s /etc/passwd link; mkfifo pipe')

    (entry,) = place.record.entries
    assert (entry.path, entry.size_bytes) == (b"d/e/f", 5)
    assert entry.modified_at == pytest.approx((place.outputs / "d/e/f").stat().st_mtime)


def test_the_list_stops_at_its_limit_and_says_so(place: Place) -> None:
    place.run(f'cd "$SCRIPTHUT_OUTPUT_DIR" && seq -f f%.0f {MAX_FILES + 1} | xargs touch')

    assert len(place.record.entries) == MAX_FILES
    assert place.record.flags == {"truncated"}


def test_without_gnu_find_the_record_says_that_it_has_no_list(place: Place, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "find").write_text("#!/bin/sh\necho find: unrecognized: -printf >&2\nexit 1\n")
    (tools / "find").chmod(0o755)

    ran = place.start(
        place.script('touch "$SCRIPTHUT_OUTPUT_DIR/a"; exit 2'), env={"PATH": f"{tools}:{os.environ['PATH']}"}
    ).finish()

    assert (ran.status, ran.err) == (2, b"")
    assert (place.record.exit_code, place.record.flags, place.record.entries) == (2, frozenset({"unlisted"}), ())


def test_a_full_disk_costs_at_most_the_record(place: Place, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "head").write_text("#!/bin/sh\necho head: No space left on device >&2\nexit 1\n")
    (tools / "head").chmod(0o755)

    ran = place.start(place.script("exit 2"), env={"PATH": f"{tools}:{os.environ['PATH']}"}).finish()

    assert ran.status == 2
    assert (place.record.exit_code, place.record.flags) == (2, frozenset({"unlisted"}))


NAMES = st.lists(
    st.binary(min_size=1, max_size=40).filter(lambda name: not {0, ord("/")} & set(name) and name not in {b".", b".."}),
    max_size=8,
    unique=True,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=NAMES, content=st.binary(max_size=50))
def test_what_bash_writes_the_parser_reads(
    tmp_path_factory: pytest.TempPathFactory, names: list[bytes], content: bytes
) -> None:
    place = Place(tmp_path_factory.mktemp("place"))
    place.outputs.mkdir(parents=True)
    for name in names:
        Path(os.fsdecode(bytes(place.outputs) + b"/" + name)).write_bytes(content)

    place.run("exit 3")

    found = {entry.path: entry.size_bytes for entry in place.record.entries}
    assert found == dict.fromkeys(names, len(content))
    assert place.record.exit_code == 3
