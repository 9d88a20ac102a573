"""Runs that grow while they run: real Slurm behind real sshd, both services as processes."""

import json

from scripthut_common.events import Extension, Outcome, RunState
from tests.e2e import running
from tests.testbed.accounts import ALICE
from tests.testbed.services import Pair
from tests.testbed.slurm import SlurmCluster


def test_a_run_grows_by_a_list_that_a_task_writes(pair: Pair, slurm: SlurmCluster) -> None:
    folder = slurm.directory_of(ALICE) / "grows"
    write = """
    cat > work.json <<'EOF'
    {"tasks": [
      {"id": "sim.1", "command": "echo 1 > one"},
      {"id": "sim.2", "command": "echo 2 > two"},
      {"id": "sum", "command": "cat one two > \\"$SCRIPTHUT_TASK_SUMMARY\\"", "deps": ["sim.*"]}
    ]}
EOF
    """
    plan = {"id": "plan", "command": f"mkdir -p {folder}; cd {folder}; {write}", "generates_source": "grows/work.json"}
    plan["working_dir"] = str(folder.parent)
    later = {"id": "later", "command": "true", "deps": ["plan"]}

    with pair.client() as client:
        run_id = client.submit({"name": "grows", "cluster": "testbed", "tasks": [plan, later]})
        run = client.wait_run(run_id, lambda run: len(run.items) == 5 and running.is_over(run), "the run to end", 150)

        assert run.state is RunState.SUCCEEDED
        assert [item.task_id for item in run.items] == ["plan", "later", "sim.1", "sim.2", "sum"]
        detail = client.detail(run_id, "plan", "generated")
        assert [task["id"] for task in json.loads(detail.content or "")["tasks"]] == ["sim.1", "sim.2", "sum"]
        assert detail.generates_source == "grows/work.json"
        assert client.outputs(run_id, "sum").has_outputs


def test_a_list_that_is_somebody_elses_file_is_refused_and_not_shown(pair: Pair) -> None:
    plan = {"id": "plan", "command": "ln -sfn /etc/passwd trap.json", "generates_source": "trap.json"}

    with pair.client() as client:
        run_id = client.submit({"name": "trap", "cluster": "testbed", "tasks": [plan]})
        run = client.wait_run(run_id, running.is_over, "the run to end")

        (item,) = run.items
        assert (run.state, item.outcome, item.extension) == (RunState.FAILED, Outcome.SUCCEEDED, Extension.REFUSED)
        assert "belongs to another account" in (item.extension_error or "")
        detail = client.detail(run_id, "plan", "generated")
        assert (detail.content, detail.error) == (None, item.extension_error)
        assert "root:" not in client.read(f"/runs/{run_id}").decode()
