"""What a task writes while it runs: real Slurm behind real sshd, both services as processes."""

import secrets
from pathlib import Path

from scripthut_outputs.ledger import OutputsState
from tests.e2e import running
from tests.testbed.accounts import ALICE
from tests.testbed.clients import Client
from tests.testbed.processes import wait_until
from tests.testbed.services import Pair
from tests.testbed.slurm import SlurmCluster


def test_every_step_is_shown_while_the_task_runs_and_the_end_replaces_it(following: Pair, slurm: SlurmCluster) -> None:
    gates = slurm.directory_of(ALICE) / f"gates-{secrets.token_hex(4)}"
    steps = "\n".join(
        f'echo "# Step {step}" > "$SCRIPTHUT_TASK_SUMMARY"; echo step {step}\n'
        f'echo {step} > "$SCRIPTHUT_OUTPUT_DIR/only-{step}"\n'
        f'echo "- step {step}" > "$SCRIPTHUT_RUN_SUMMARY"; until [ -e {gates}/{step} ]; do sleep 0.1; done\n'
        f'rm "$SCRIPTHUT_OUTPUT_DIR/only-{step}"'
        for step in (1, 2)
    )
    command = f'mkdir -p {gates}; chmod 777 {gates}\n{steps}\necho "# Done" > "$SCRIPTHUT_TASK_SUMMARY"'
    document = {"name": "steps", "cluster": "testbed", "follow": True, "tasks": [{"id": "solve", "command": command}]}

    with following.client() as client:
        run_id = client.submit(document)
        for step in (1, 2):
            wait_until(lambda: _shows(client, run_id, f"Step {step}<"), f"step {step} to be shown", 90, every_s=0.2)  # noqa: B023  within its turn
            outputs = client.outputs(run_id, "solve")
            assert {output.path for output in outputs.outputs} == {"task-summary.md", f"only-{step}"}
            assert (outputs.outputs_state, outputs.outcome) == (OutputsState.PARTIAL, None)
            assert outputs.followed_at is not None
            wait_until(lambda: _summary(client, run_id) == f"step {step}", "the fragment to be shown", every_s=0.2)  # noqa: B023
            assert f"step {step}\n" in (client.detail(run_id, "solve", "output").content or "")
            _open(gates, step)
        run = client.wait_run(run_id, running.is_over, "the run to end")
        wait_until(lambda: _shows(client, run_id, "Done<"), "the end to be shown", every_s=0.2)

        (item,) = run.items
        outputs = client.outputs(run_id, "solve")
        assert (item.outputs_state, item.followed_at) == (OutputsState.COLLECTED, None)
        assert [(output.path, output.followed_at) for output in outputs.outputs] == [("task-summary.md", None)]


def _open(gates: Path, step: int) -> None:
    (gates / str(step)).touch()


def _shows(client: Client, run_id: str, words: str) -> bool:
    outputs = client.outputs(run_id, "solve").outputs
    return any(words in (output.rendered_html or "") for output in outputs)


def _summary(client: Client, run_id: str) -> str:
    sections = client.summary(run_id).sections
    html = "".join(section.rendered_html or "" for section in sections)
    return html.replace("<ul>", "").replace("</ul>", "").replace("<li>", "").replace("</li>", "").strip()
