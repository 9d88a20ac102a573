"""`deploy/scripthut-env.sh` in real bash, in scripts as people write them: it gives, notes, never gets in the way."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from scripthut_common import layout
from scripthut_common.manifest import MAGIC, MAX_BYTES, MAX_FILES, ExitRecord, parse
from scripthut_poller import notices, wrapper
from scripthut_poller.adopting import nonce_of
from scripthut_poller.notices import Notice

SCRIPT = Path(__file__).parents[3] / "deploy" / "scripthut-env.sh"
SOURCE = f"source {SCRIPT}\n"
NAMES = ("OUTPUT_DIR", "TASK_SUMMARY", "RUN_SUMMARY", "RUN_ID", "TASK_ID", "ATTEMPT")
SHOW = "\n".join(f'echo "$SCRIPTHUT_{name}"' for name in NAMES)
STRICT = "set -euo pipefail\nset -C\nshopt -s failglob nullglob\ntrap 'echo ERR >&2' ERR\nset -E\nIFS=,\n"


class Home:
    """An account's home, and jobs that run in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_dir = str(path / "scripthut")

    def start(self, script: str, *, shell: str = "bash", **env: str) -> subprocess.Popen[bytes]:
        file = self.path / "job.sh"
        file.write_text(script)
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "PBS_"))}
        env = {**plain, "HOME": str(self.path), **env}
        return subprocess.Popen(
            [shell, str(file)],
            env=env,
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, script: str, *, shell: str = "bash", **env: str) -> tuple[int, str, str]:
        process = self.start(script, shell=shell, **env)
        out, err = process.communicate(timeout=60)
        return process.returncode, out.decode(), err.decode()

    def record(self, run_id: str, task_id: str) -> ExitRecord:
        return parse(Path(layout.manifest_path(self.log_dir, run_id, task_id)).read_bytes())

    @property
    def announced(self) -> list[str]:
        return sorted(one.name for one in Path(self.log_dir, "announced").iterdir())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_job_without_a_tag_gets_the_paths_of_the_contract_and_announces_itself(home: Home) -> None:
    status, out, err = home.run(SOURCE + SHOW, SLURM_JOB_ID="12", SLURM_CLUSTER_NAME="daint")

    run_id, task_id = "slurm-daint-12", "job"
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        layout.output_dir(home.log_dir, run_id, task_id),
        layout.task_summary_path(home.log_dir, run_id, task_id),
        layout.run_summary_path(home.log_dir, run_id, task_id),
        run_id,
        task_id,
        "1",
    ]
    assert home.announced == ["12,slurm-daint-12,job"]
    record = home.record(run_id, task_id)
    assert (record.job_id, record.nonce, record.attempt, record.exit_code) == ("12", nonce_of("12"), 1, 0)


@pytest.mark.parametrize(
    ("env", "run_id", "task_id", "job_id", "announced"),
    [
        ({"SLURM_JOB_ID": "14", "SCRIPTHUT_TAG": "r1/t1"}, "r1", "t1", "14", "14,r1,t1"),
        (
            {"SLURM_JOB_ID": "15", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"},
            "slurm-12",
            "job.3",
            "12_3",
            "12,slurm-12,job",
        ),
        (
            {"SLURM_JOB_ID": "15", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3", "SCRIPTHUT_TAG": "r/t"},
            "r",
            "t.3",
            "12_3",
            "12,r,t",
        ),
        ({"PBS_JOBID": "21.pbs01"}, "pbs-21.pbs01", "job", "21.pbs01", "21.pbs01,pbs-21.pbs01,job"),
        (
            {"PBS_JOBID": "21[3].pbs01", "PBS_ARRAY_INDEX": "3", "SCRIPTHUT_TAG": "r/t"},
            "r",
            "t.3",
            "21[3].pbs01",
            "21[].pbs01,r,t",
        ),
    ],
)
def test_tags_and_elements_of_arrays_have_the_names_that_the_scan_gives_them(
    home: Home, env: dict[str, str], run_id: str, task_id: str, job_id: str, announced: str
) -> None:
    status, _, err = home.run(SOURCE + "echo x > $SCRIPTHUT_OUTPUT_DIR/f; exit 3", **env)

    record = home.record(run_id, task_id)
    assert (status, err) == (3, "")
    assert (record.job_id, record.nonce, record.exit_code) == (job_id, nonce_of(job_id), 3)
    assert [entry.path for entry in record.entries] == [b"f"]
    assert home.announced == [announced]


@pytest.mark.parametrize("run", ["slurm-daint-1", "slurm-1234567", "pbs-0.pbs01"])
def test_names_that_are_made_here_begin_with_a_letter_and_are_no_numbers(run: str) -> None:
    assert layout.is_id(run)
    with pytest.raises(ValueError, match="could not convert"):
        float(run)


# Those that end bash after its EXIT trap, but for the marks of a fault of its own.
FATAL = [
    signal.Signals[f"SIG{name}"]
    for name in ("HUP", "INT", "TERM", "USR1", "USR2", "PIPE", "ALRM", "VTALRM", "XCPU", "XFSZ", "ABRT", "SYS")
]
ENDINGS = [
    ("true", 0),
    ("exit 7", 7),
    ("false; true", 0),
    ("exit 255", 255),
    ("(exit 6)", 6),
    ("no-such-command-here", 127),
    ("sleep 2 > /dev/null 2>&1 & true", 0),
    *((f"kill -{number.name[3:]} $$; sleep 5", -number) for number in FATAL),
    ("yes | head -n 1 > /dev/null; exit 3", 3),
    ("trap 'exit 3' USR1; kill -USR1 $$; sleep 5", 3),
    ("trap '' TERM; kill -TERM $$; exit 5", 5),
    ("trap 'exit 3' TERM; kill -TERM $$; sleep 5", 3),
    ("exec 1>&- 2>&-; exit 4", 4),
    ("kill -QUIT $$; exit 4", 4),
    ("cd /; exit 4", 4),
    ("trap 'scripthut_end \"$?\"; true' EXIT; exit 4", 4),
]


@pytest.mark.parametrize(("command", "status"), ENDINGS)
def test_any_ending_keeps_its_status_and_leaves_a_record(home: Home, command: str, status: int) -> None:
    ended, _, _ = home.run(SOURCE + command, SLURM_JOB_ID="12")

    assert ended == status
    assert home.record("slurm-12", "job").exit_code == (status if status >= 0 else 128 - status)


@pytest.mark.parametrize(
    ("command", "status"),
    [("true", 0), ("exit 7", 7), ("false", 1), ("echo $UNSET", 1), ("false | true", 1), ("x=$(false)", 1)],
)
@pytest.mark.parametrize("job", [{"SLURM_JOB_ID": "12"}, {"PBS_JOBID": "12.pbs01"}])
def test_strict_scripts_end_as_they_would_without_us(
    home: Home, command: str, status: int, job: dict[str, str]
) -> None:
    alone, _, said_alone = home.run(STRICT + command, **job)
    ended, _, said = home.run(STRICT + SOURCE + command, **job)

    assert (ended, alone) == (status, status)
    assert _without_lines(said) == _without_lines(said_alone)
    run_id = "slurm-12" if "SLURM_JOB_ID" in job else "pbs-12.pbs01"
    assert home.record(run_id, "job").exit_code == status


def _without_lines(said: str) -> str:
    return re.sub(r"line [0-9]+", "line", said)


@pytest.mark.parametrize("options", ["set -euo pipefail\n", "", "set -o posix\n"])
@pytest.mark.parametrize("status", [0, 5])
def test_a_trap_that_was_there_before_still_runs_and_sees_the_status(home: Home, options: str, status: int) -> None:
    before = "trap 'echo \"was $?\"' EXIT\n"

    ended, out, err = home.run(options + before + SOURCE + f"exit {status}", SLURM_JOB_ID="12")

    assert (ended, out, err) == (status, f"was {status}\n", "")
    assert home.record("slurm-12", "job").exit_code == status


@pytest.mark.parametrize("options", ["set -euo pipefail\n", ""])
def test_a_signal_runs_the_scripts_own_exit_trap_once_and_still_kills(home: Home, options: str) -> None:
    before = "trap 'echo \"cleaned $1\"; exit 3' EXIT\n"
    after = "trap 'scripthut_end \"$?\"; echo cleaned; false; true' EXIT\n"

    first = home.run(options + "set -- up\n" + before + SOURCE + "kill -TERM $$; sleep 5", SLURM_JOB_ID="12")
    second = home.run(options + SOURCE + after + "kill -TERM $$; sleep 5", SLURM_JOB_ID="13")

    assert first == (-signal.SIGTERM, "cleaned up\n", "")
    assert second == (-signal.SIGTERM, "cleaned\n", "")
    assert home.record("slurm-12", "job").exit_code == home.record("slurm-13", "job").exit_code == 143


def test_sigterm_while_a_program_runs_leaves_a_record(home: Home) -> None:
    process = home.start(SOURCE + "echo begun; sleep 600; echo unreached", SLURM_JOB_ID="12")
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    time.sleep(0.2)

    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)

    assert home.record("slurm-12", "job").exit_code == 143


def cat(home: Home, text: str) -> dict[str, str]:
    """Put a `cat` of one's own before that of the system: it adds the list of files to the record."""
    file = home.path / "tools" / "cat"
    file.parent.mkdir()
    file.write_text(f'#!/bin/sh\n{text}\nexec {shutil.which("cat")} "$@"\n')
    file.chmod(0o755)
    return {"PATH": f"{file.parent}:{os.environ['PATH']}", "SLURM_JOB_ID": "12"}


def test_sigterm_while_the_end_is_noted_is_how_the_script_ended(home: Home) -> None:
    reached, go = home.path / "reached", home.path / "go"
    process = home.start(SOURCE, **cat(home, f"touch {reached}\nuntil [ -e {go} ]; do sleep 0.01; done"))
    while not reached.exists():
        time.sleep(0.01)

    os.killpg(process.pid, signal.SIGTERM)
    go.touch()

    assert process.wait(30) == 143
    assert home.record("slurm-12", "job").exit_code == 143


def test_sigterm_that_only_those_hear_who_note_the_end_loses_nothing(home: Home) -> None:
    status, _, err = home.run(SOURCE + "exit 3", **cat(home, "kill -TERM $PPID $$"))

    assert (status, err) == (3, "")
    assert home.record("slurm-12", "job").exit_code == 3


def test_a_requeued_job_is_another_attempt(home: Home) -> None:
    for restarts in ("0", "2"):
        home.run(SOURCE, SLURM_JOB_ID="12", SLURM_RESTART_COUNT=restarts)
    for _ in range(2):
        home.run(SOURCE, PBS_JOBID="12.pbs01")

    assert home.record("slurm-12", "job").attempt == 3
    assert home.record("pbs-12.pbs01", "job").attempt == 2


def test_outside_of_a_job_the_working_directory_is_named_and_nothing_is_made(home: Home) -> None:
    status, out, err = home.run("set -euo pipefail\n" + SOURCE + SHOW + "\nexit 3", SCRIPTHUT_TASK_SUMMARY="mine.md")

    assert (status, err) == (3, "")
    assert out.splitlines() == [str(home.path), "mine.md", f"{home.path}/run-summary.md", "local", "local", "1"]
    assert [one.name for one in home.path.iterdir()] == ["job.sh"]


def test_a_task_of_scripthut_that_sources_it_keeps_its_own_paths(home: Home) -> None:
    ours = {"SCRIPTHUT_JOB_ID": "12", "SCRIPTHUT_OUTPUT_DIR": "/ours", "SCRIPTHUT_RUN_ID": "r"}

    _, out, _ = home.run(SOURCE + 'echo "$SCRIPTHUT_OUTPUT_DIR"', SLURM_JOB_ID="12", **ours)
    _, nested, _ = home.run(SOURCE + 'echo "$SCRIPTHUT_RUN_ID"', SLURM_JOB_ID="13", **ours)

    assert out == "/ours\n"
    assert nested == "slurm-13\n"
    assert home.announced == ["13,slurm-13,job"]


def test_scripts_that_call_one_another_leave_one_record(home: Home) -> None:
    inner = home.path / "inner.sh"
    inner.write_text(SOURCE + "exit 9")

    status, _, _ = home.run(SOURCE + SOURCE + f"bash {inner}; (exit 2); exit 0", SLURM_JOB_ID="12", SCRIPTHUT_TAG="r/t")

    assert status == 0
    assert home.record("r", "t").exit_code == 0
    assert home.announced == ["12,r,t"]


ILL_TAGS = [
    "r", "../x/y", "r/../t", "r/_run", "/t", "r/", "r/t/u", "r t/u", "r/t\nx", "r/" + "t" * 129, "$(id)/t", "r/`id`",
]  # fmt: skip


@pytest.mark.parametrize("tag", ILL_TAGS)
def test_a_tag_that_is_none_is_told_and_not_used(home: Home, tag: str) -> None:
    status, out, err = home.run(STRICT + SOURCE + 'echo "$SCRIPTHUT_RUN_ID"', SLURM_JOB_ID="12", SCRIPTHUT_TAG=tag)

    assert (status, out) == (0, "slurm-12\n")
    assert "tag" in err
    assert home.announced == ["12,slurm-12,job"]


def test_where_nothing_can_be_written_the_script_runs_all_the_same(home: Home) -> None:
    Path(home.log_dir).write_text("in the way")

    status, out, err = home.run(STRICT + SOURCE + 'echo x > "$SCRIPTHUT_OUTPUT_DIR/f"; exit 4', SLURM_JOB_ID="12")

    assert (status, out) == (4, "")
    assert "cannot write" in err


@pytest.mark.parametrize("log_dir", ["~/mine", "absolute"])
def test_the_log_directory_can_be_named(home: Home, log_dir: str) -> None:
    named = log_dir.replace("absolute", f"{home.path}/mine")

    home.run(SOURCE, SLURM_JOB_ID="12", SCRIPTHUT_LOG_DIR=named)

    assert (home.path / "mine/outputs/slurm-12/_run/job.manifest").exists()


def test_other_shells_pass_it_by(home: Home) -> None:
    assert home.run(f". {SCRIPT}\necho on\nexit 3", shell="dash", SLURM_JOB_ID="12") == (3, "on\n", "")


def test_it_writes_records_with_the_very_functions_of_our_own_batch_scripts() -> None:
    text = SCRIPT.read_text()

    for name in ("count", "list", "write", "record"):
        known = re.search(rf"^_sh_{name}\(\) \{{\n.*?^\}}\n", wrapper._SETTING_OUT, re.DOTALL | re.MULTILINE)
        assert known is not None
        assert known.group(0) in text
    limits = f"_sh_magic={MAGIC.decode()} _sh_max_files={MAX_FILES} _sh_max_bytes={MAX_BYTES - wrapper._HEAD_BYTES}"
    assert limits in text


def test_what_is_announced_is_read(home: Home) -> None:
    home.run(SOURCE, PBS_JOBID="21[3].pbs01", SCRIPTHUT_TAG="r/t")

    read = notices._notice(home.announced[0])

    assert read == Notice(job_id="21[].pbs01", run_id="r", task_id="t")
