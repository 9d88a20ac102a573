"""A real run of thirty tasks: real Slurm behind real sshd, real RabbitMQ and PostgreSQL, both services as processes."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

from scripthut_common.events import Outcome, RunState
from scripthut_outputs.ledger import FileState, OutputsState
from tests.e2e import running
from tests.e2e.conftest import Finished
from tests.e2e.thirty import HOSTILE_NAMES, PLAIN_WORD, PLOTS
from tests.testbed.accounts import ALICE
from tests.testbed.processes import Daemon
from tests.testbed.services import Pair
from tests.testbed.slurm import SlurmCluster

_IMAGE = re.compile(r'<img[^>]*\bsrc="([^"]*)"')
_SESSION = "Starting session:"


def test_all_thirty_items_are_shown_in_submission_order_with_the_right_verdicts(finished: Finished) -> None:
    expected = running.expected_verdicts(finished.thirty.expected, finished.run)

    assert list(running.verdicts(finished.run).items()) == list(expected.items())
    assert finished.run.state is RunState.FAILED
    assert all(item.job_id for item in finished.run.items)


def test_every_task_ran_exactly_once(finished: Finished) -> None:
    expected = {task_id: 1 for task_id, task in finished.thirty.expected.items() if task.is_executed}

    assert finished.thirty.executions == expected


def test_every_file_is_byte_identical_to_what_lies_on_the_cluster(finished: Finished) -> None:
    left_out = {("large", b"left")}
    for task_id in finished.thirty.expected:
        on_cluster = finished.thirty.files(finished.run_id, task_id)

        collected = running.stored(finished.client, finished.run_id, task_id)

        wanted = {path: sha256 for path, sha256 in on_cluster.items() if (task_id, path) not in left_out}
        assert collected == wanted, task_id


def test_every_ending_is_collected_and_tasks_that_wrote_nothing_have_no_panel(finished: Finished) -> None:
    items = {item.task_id: item for item in finished.run.items}

    assert {item.outputs_state for item in items.values()} <= {OutputsState.COLLECTED, OutputsState.NONE}
    assert all(items[name].has_outputs for name in ("fails-with-3", "kills-itself", "cancelled", "names"))
    assert not any(items[f"quiet-{number}"].has_outputs for number in range(4))
    assert items["never"].outputs_state is OutputsState.NONE


def test_file_names_survive_as_bytes(finished: Finished) -> None:
    outputs = finished.client.outputs(finished.run_id, "names").outputs

    assert {running.name_of(output) for output in outputs} == set(HOSTILE_NAMES)


def test_what_was_left_out_says_why(finished: Finished) -> None:
    def reasons(task_id: str) -> dict[bytes, FileState]:
        found = finished.client.outputs(finished.run_id, task_id).outputs
        return {running.name_of(output): output.state for output in found}

    assert reasons("large") == {b"taken": FileState.STORED, b"left": FileState.TOO_LARGE}
    not_regular = dict.fromkeys((b"link", b"fifo", b"root"), FileState.NOT_REGULAR)
    assert reasons("links") == {b"real": FileState.STORED} | not_regular


def test_the_summary_stands_in_submission_order_and_its_images_resolve(finished: Finished) -> None:
    summary = finished.client.summary(finished.run_id)

    assert [section.task_id for section in summary.sections] == [f"plot-{name}" for name in PLOTS]
    for section in summary.sections:
        on_cluster = finished.thirty.files(finished.run_id, section.task_id)
        urls = [unescape(url) for url in _IMAGE.findall(section.rendered_html or "")]
        hashes = [hashlib.sha256(finished.client.read(url)).hexdigest() for url in urls]
        assert hashes == [on_cluster[b"plots/residuals.png"], on_cluster[b"plots/error #1.png"]]


def test_markdown_is_rendered_with_its_table_and_images(finished: Finished) -> None:
    outputs = finished.client.outputs(finished.run_id, "plot-eta").outputs

    assert running.name_of(outputs[0]) == b"task-summary.md"
    html = outputs[0].rendered_html or ""
    assert "<table>" in html
    for url in _IMAGE.findall(html):
        assert finished.client.get(unescape(url)).headers["content-type"] == "image/png"


def test_no_shell_saw_names_values_and_paths(finished: Finished) -> None:
    thirty = finished.thirty
    written = {
        "environment": (b"nasty", thirty.nasty.encode()),
        "working-directory": (b"here", f"{thirty.hostile_dir}\n".encode()),
        "init": (b"word", PLAIN_WORD.encode()),
    }

    for task_id, (path, content) in written.items():
        collected = running.stored(finished.client, finished.run_id, task_id)
        assert collected == {path: hashlib.sha256(content).hexdigest()}
    assert list(thirty.canary.iterdir()) == []
    homes = (thirty.log_dir.parent, Path(f"~{ALICE}").expanduser(), finished.pair.directory)
    assert [found for home in homes for found in home.rglob("pwned")] == []


def test_the_ends_of_logs_are_shown_also_of_failures(finished: Finished) -> None:
    talked = finished.client.detail(finished.run_id, "talks", "output")
    failed = finished.client.detail(finished.run_id, "fails-with-3", "error")
    missed = finished.client.detail(finished.run_id, "fails-to-find", "error")

    assert (talked.content or "").endswith("latin \ufffdt\ufffd last line\n")
    assert failed.content == "the solver diverged at step 2\n"
    assert "no_such_solver: command not found" in (missed.content or "")


def test_the_reason_of_a_failure_is_told(finished: Finished) -> None:
    failed = finished.client.task(finished.run_id, "fails-with-3")

    assert (failed.reason, failed.scheduler_word) == ("ended with exit code 3", "FAILED")
    assert failed.started_at is not None
    assert failed.ended_at is not None
    assert failed.node


def test_reading_costs_the_cluster_nothing(finished: Finished) -> None:
    client, run_id = finished.client, finished.run_id
    with _paused(finished.pair.poller, finished.pair.collector):
        before = _sessions(finished)

        for path in ("/runs", f"/runs/{run_id}", f"/runs/{run_id}/summary", "/ui/", f"/ui/runs/{run_id}"):
            assert client.get(path).status_code == 200
        for task_id in finished.thirty.expected:
            for word in ("output", "error", "script", "json"):
                client.detail(run_id, task_id, word)
            running.stored(client, run_id, task_id)

        assert before > 0
        assert _sessions(finished) == before


def test_a_run_is_cancelled_through_the_api(pair: Pair, slurm: SlurmCluster) -> None:
    tasks: list[dict[str, object]] = [{"id": f"t{number}", "command": "sleep 600"} for number in range(3)]
    tasks.append({"id": "later", "command": "true", "deps": ["t0"]})
    with pair.client() as client:
        run_id = client.submit({"name": "to cancel", "cluster": "testbed", "tasks": tasks})
        client.wait_run(run_id, lambda run: any(item.started_at for item in run.items), "the run to start")

        client.cancel(run_id)

        run = client.wait_run(run_id, running.is_over, "the cancelled run to end")
    assert {item.outcome for item in run.items} == {Outcome.CANCELLED}


def test_log_dirs_of_any_name_work(pair: Pair, slurm: SlurmCluster) -> None:
    root = slurm.directory_of(ALICE) / "odd"
    folders = [root / name for name in ('it\'s $(touch pwned) "quoted"', "%j %% %x", "new\nline 😀", "back\\slash")]
    command = 'echo content > "$SCRIPTHUT_OUTPUT_DIR/file"; echo said; exit 4'
    document = {"name": "odd", "cluster": "testbed", "tasks": [{"id": "t", "command": command}]}
    with pair.client() as client:
        runs = {folder: client.submit(document | {"log_dir": str(folder)}) for folder in folders}

        for folder, run_id in runs.items():
            run = client.wait_run(run_id, running.is_over, f"the run in {folder} to end")
            assert running.verdicts(run) == {"t": (Outcome.FAILED, 4)}
            assert running.stored(client, run_id, "t") == {b"file": hashlib.sha256(b"content\n").hexdigest()}
            assert client.detail(run_id, "t", "output").content == "said\n"
            assert (folder / f"scripthut_{run_id}_t.out").read_text() == "said\n"


@contextmanager
def _paused(*daemons: Daemon) -> Iterator[None]:
    """Let others' sessions not be counted."""
    for daemon in daemons:
        daemon.pause()
    try:
        yield
    finally:
        for daemon in daemons:
            daemon.resume()


def _sessions(finished: Finished) -> int:
    return finished.login_node.daemon.log.read_text(errors="replace").count(_SESSION)
