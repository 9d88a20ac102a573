"""A task whose wrapper is killed, so that no exit record vouches for what it wrote."""

from scripthut_common.events import Outcome
from scripthut_outputs.ledger import OutputsState
from tests.e2e import running
from tests.testbed.services import Pair

_COMMAND = """\
echo "so far" > "$SCRIPTHUT_OUTPUT_DIR/file"
echo "last words" >&2
kill -KILL $SLURM_TASK_PID
sleep 5
"""


def test_what_a_task_wrote_that_was_killed_hard_is_shown_at_once_and_collected_when_two_looks_agree(
    pair: Pair,
) -> None:
    with pair.client() as client:
        run_id = client.submit(
            {"name": "killed", "cluster": "testbed", "tasks": [{"id": "killed", "command": _COMMAND}]}
        )

        client.wait_run(run_id, lambda run: run.items[0].outputs_state is OutputsState.PARTIAL, "the first look")
        early = client.outputs(run_id, "killed")
        run = client.wait_run(run_id, running.is_over, "the run to end and be collected")
        late = client.outputs(run_id, "killed")

        assert (early.collection_reason or "").startswith("no exit record: looked once, will look again at ")
        assert running.verdicts(run)["killed"][0] is Outcome.FAILED
        assert (late.outputs_state, late.collection_reason) == (OutputsState.COLLECTED, None)
        assert list(running.stored(client, run_id, "killed")) == [b"file"]
        assert client.detail(run_id, "killed", "error").content == "last words\n"
