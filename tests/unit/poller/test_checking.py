"""What the answers to the trials of a check mean, as tables."""

import subprocess
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_poller.checking import answers, probes
from scripthut_poller.checking.answers import Reply
from scripthut_poller.checking.findings import Verdict, printable

FINE, WARNING, FAILED = Verdict.FINE, Verdict.WARNING, Verdict.FAILED
_TOOLS = partial(answers.tools, ("squeue", "sbatch"))
_ADOPTED = partial(answers.readable, "bob")
_SPACE = "path /w/a\nthere /w/a\nspace /dev/sda1 100 50 {left} 50% /w\nfiles /dev/sda1 {inodes} 1 {inodes} 1% /w\n"


@pytest.mark.parametrize(
    ("judge", "stdout", "verdict", "words"),
    [
        (answers.slurm_version, "slurm-wlm 22.05.8\n", FINE, "slurm-wlm 22.05.8"),
        (answers.slurm_version, "slurm 20.11.9\n", FINE, "20.11.9"),
        (answers.slurm_version, "slurm 20.02.7\n", FAILED, "too old"),
        (answers.slurm_version, "version: 3.4.1\n", FAILED, "printed 'version: 3.4.1'"),
        (answers.pbs_version, "pbs_version = 23.06.06\n", FINE, "23.06.06"),
        (answers.pbs_version, "pbs_version = 14.1.2\n", FAILED, "too old"),
        (answers.pbs_version, "Version: 6.1.3\nCommit: x\n", FAILED, "printed 'Version: 6.1.3"),
        (answers.pbs_version, "", FAILED, "printed ''"),
        (answers.bash, "5.2\n", FINE, "5.2"),
        (answers.bash, "4.3\n", FINE, "4.3"),
        (answers.bash, "4.2\n", FAILED, "too old"),
        (answers.python3, "3.6\n", FINE, "3.6"),
        (answers.python3, "3.5\n", WARNING, "too old"),
        (answers.python3, "2.7\n", WARNING, "too old"),
        (answers.reader, "python3 3.11\nfind works\ntar (GNU tar) 1.34\n", FINE, "read by python3 3.11"),
        (answers.reader, "python3 3.6\n", FINE, "outputs are read by python3 3.6"),
        (answers.reader, "python3 3.5\nfind works\ntar (GNU tar) 1.30\n", WARNING, "fewer guarantees"),
        (answers.reader, "find works\ntar (GNU tar) 1.30\n", WARNING, "read by sh, GNU find and tar"),
        (answers.reader, "find works\nbsdtar 3.6.2\n", FAILED, "outputs cannot be read"),
        (answers.reader, "tar (GNU tar) 1.30\n", FAILED, "neither python3 (3.6 or newer) nor GNU find"),
        (answers.reader, "", FAILED, "outputs cannot be read"),
        (answers.find, "/ works\n", FINE, "GNU"),
        (answers.find, "", WARNING, "it said nothing"),
        (answers.tar, "tar (GNU tar) 1.34\nmore", FINE, "tar (GNU tar) 1.34"),
        (answers.clock, "1000\n", FINE, "within 1 s"),
        (answers.clock, "1030\n", FINE, "within 30 s"),
        (answers.clock, "4600\n", WARNING, "60 min ahead of ours"),
        (answers.clock, "940\n", WARNING, "60 s behind ours"),
        (answers.clock, "%s\n", FAILED, "printed '%s'"),
        (_TOOLS, "squeue\t/opt/bin/squeue\nsbatch\t/usr/bin/sbatch\nPATH\t/x\n", FINE, "in /opt/bin, /usr/bin"),
        (_TOOLS, "squeue\t/opt/bin/squeue\nsbatch\t\nPATH\t/x\n", FAILED, "not in PATH: sbatch (PATH is /x)"),
        (_TOOLS, "", FAILED, "not in PATH: squeue sbatch"),
        (answers.directory, _SPACE.format(left=9_000_000, inodes=9000), FINE, "/w/a: writable, 9 GiB free"),
        (answers.directory, _SPACE.format(left=9_000, inodes=9000), WARNING, "only 9 MiB free"),
        (answers.directory, _SPACE.format(left=9_000_000, inodes=90), WARNING, "only 90 more files fit"),
        (answers.directory, _SPACE.format(left=9_000_000, inodes=0), FINE, "writable"),
        (answers.directory, "path /w/a\nthere /w\n", FINE, "/w/a: not there yet, can be made in /w"),
        (answers.directory, "path /w\nthere /w\ntype tmpfs\n", WARNING, "lies in memory (tmpfs)"),
        (
            answers.directory,
            "path /w\nthere /w\nrefused mkdir: x: Disk quota exceeded\n",
            FAILED,
            "/w: Disk quota exceeded",
        ),
        (answers.directory, "", FAILED, "it said nothing"),
        (_ADOPTED, "ok /home/bob/scripthut\n", FINE, "bob: /home/bob/scripthut: readable"),
        (_ADOPTED, "missing /home/bob/scripthut\n", WARNING, "not there yet"),
        (_ADOPTED, "closed /home/bob/scripthut\n", FAILED, "may not read it"),
        (_ADOPTED, "nobody\n", FAILED, "bob: the cluster knows no such account"),
        (_ADOPTED, "", FAILED, "it said nothing"),
        (answers.held_back, "x\nDBD Agent queue size: 0\n", FINE, "holds 0 records"),
        (answers.held_back, "x\nDBD Agent queue size: 5000\n", WARNING, "holds 5000 records"),
        (answers.held_back, "nonsense\n", WARNING, "cannot be told: nonsense"),
        (answers.trial, "", FINE, "would take a plain job"),
        (answers.server, "    server_state = Active\n", FINE, "the server is Active"),
        (answers.server, "    server_state = Terminating\n", FAILED, "Terminating"),
        (answers.server, "", FAILED, "it said nothing"),
        (answers.history, "job_history_enable = True\n", FINE, "336.0 h"),
        (answers.history, "job_history_enable = True\njob_history_duration = 00:10:00\n", WARNING, "10 min only"),
        (answers.history, "job_history_enable = False\n", WARNING, "exit records alone decide"),
        (answers.history, "server_state = Active\n", WARNING, "exit records alone decide"),
        (answers.ports, "12\n", FINE, "12 rest"),
        (answers.ports, "400\n", WARNING, "400 reserved ports"),
        (answers.ports, "", WARNING, "cannot be told"),
    ],
)
def test_what_an_answer_means(judge: answers.Judge, stdout: str, verdict: Verdict, words: str) -> None:
    finding = judge(Reply(stdout=stdout, sent_at_s=1000.0, took_s=1.0))

    assert (finding.verdict, words in finding.said) == (verdict, True), finding
    assert bool(finding.advice) == (verdict is not FINE)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", "slurmctld is down"),
        ("slurm_load_jobs error: Socket timed out on send/recv operation", "slurmctld hangs"),
        ("sacct: error: Problem talking to the database: Connection refused", "slurmdbd is down"),
        ("sbatch: error: Munge encode failed: Failed to access socket", "munged does not run"),
        ("pbsconf error: pbs conf variables not found: PBS_HOME PBS_EXEC", "lacks the scheduler's configuration"),
        ("qstat: cannot connect to server pbs01 (errno=15010)", "the PBS server is down"),
        ("qstat: cannot connect to server x (errno=15008)\nUnknown Host.", "name cannot be resolved"),
        ("pbs_iff: all reserved ports in use", "each call takes a port"),
        ("something that nobody has seen before", "try it by hand"),
    ],
)
def test_what_helps_against_a_complaint(said: str, advice: str) -> None:
    finding = answers.unsuccessful("`qstat`", Reply(stdout="", stderr=said, exit_status=1))

    assert finding.verdict is FAILED
    assert advice in finding.advice


def test_a_job_that_is_refused_for_what_it_lacks_is_a_warning_and_a_dead_controller_is_not() -> None:
    lacking = Reply(stdout="", stderr="allocation failure: Invalid account or account/partition", exit_status=1)
    dead = Reply(stdout="", stderr="allocation failure: Unable to contact slurm controller", exit_status=1)

    assert answers.trial(lacking).verdict is WARNING
    assert answers.trial(dead).verdict is FAILED


@pytest.mark.parametrize(
    ("took_s", "noise_bytes", "verdict"),
    [([0.1, 0.2, 9.0], 0, FINE), ([0.1, 2.0, 3.0], 0, WARNING), ([0.1, 0.1, 0.1], 5, WARNING)],
)
def test_what_a_command_costs(took_s: list[float], noise_bytes: int, verdict: Verdict) -> None:
    assert answers.times(took_s, noise_bytes).verdict is verdict


@pytest.mark.parametrize(("opened", "wanted", "verdict"), [(8, 8, FINE), (2, 8, FAILED), (0, 8, FAILED)])
def test_how_many_sessions_are_enough(opened: int, wanted: int, verdict: Verdict) -> None:
    assert answers.sessions(opened, wanted).verdict is verdict


@given(st.text(max_size=3000))
def test_whatever_a_cluster_says_becomes_one_bounded_printable_line(words: str) -> None:
    line = printable(words)

    assert line.isprintable()
    assert len(line) <= 400


@given(st.text(max_size=300), st.integers(0, 255))
def test_no_answer_breaks_a_judge(stdout: str, exit_status: int) -> None:
    cluster = Cluster(name="x", scheduler=SchedulerKind.SLURM, adopt=("bob",), announced_roots=("/w",))
    trials = [
        *probes.of_machine(cluster),
        *(probe for of in (probes.BEFORE, probes.AFTER) for one in of.values() for probe in one),
    ]

    assert all(probe.judge(Reply(stdout=stdout, exit_status=exit_status)).said.isprintable() for probe in trials)


def test_a_directory_is_tried_where_it_is_or_would_be_and_left_as_it_was(tmp_path: Path) -> None:
    weird = tmp_path / "a b'\"$(touch x)"
    weird.mkdir()

    here, deeper = (_run(path, home=tmp_path) for path in (str(weird), f"{weird}/not/yet"))
    at_home = _run("~/not-yet", home=weird)

    assert f"path {weird}\nthere {weird}\n" in here
    assert f"path {weird}/not/yet\nthere {weird}\n" in deeper
    assert f"path {weird}/not-yet\nthere {weird}\n" in at_home
    assert "refused" not in here + deeper + at_home
    assert list(weird.iterdir()) == []


def _run(path: str, home: Path) -> str:
    argv = ["/bin/sh", "-c", probes.DIRECTORY.text, "sh", path]
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    return subprocess.run(argv, env=environment, capture_output=True, check=True, text=True).stdout
