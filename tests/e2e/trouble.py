"""A run that trouble comes to, and what must be seen of it while the trouble lasts and when it is over."""

from functools import partial

from scripthut_common.events import Outcome, RunState
from tests.e2e import running
from tests.testbed.accounts import ALICE
from tests.testbed.clients import Client
from tests.testbed.processes import wait_until
from tests.testbed.services import Pair
from tests.testbed.slurm import SlurmCluster


class Trouble:
    """One task ends before the trouble, one meanwhile; and another run is submitted meanwhile."""

    def __init__(self, pair: Pair, slurm: SlurmCluster, client: Client) -> None:
        self._pair = pair
        self._client = client
        self._folder = slurm.directory_of(ALICE)
        self._gate = self._folder / "gate"
        self._executions = self._folder / "executions-in-bad-luck"
        for left in (self._gate, self._executions):
            left.unlink(missing_ok=True)
        waits = f"until test -e {self._gate}; do sleep 0.1; done\n"
        self._runs = {self._submit(before="", meanwhile=waits): ["before", "meanwhile"]}
        self._run_id = next(iter(self._runs))
        client.wait_run(self._run_id, lambda run: running.is_running(run, "meanwhile"), "the job to run")

    def open_gate(self) -> None:
        """Let the waiting job end."""
        self._gate.touch()

    def goes_on_meanwhile(self) -> None:
        """Let the waiting job end, and ask for another."""
        self.open_gate()
        self._runs[self._submit(later="")] = ["later"]

    def check_told(self, processes: set[str], words: str, *, page_says: str) -> None:
        """See that these processes say what is wrong, that the page does, and that all live on."""
        for name in sorted(processes):
            wait_until(partial(self._says, name, words), f"{name} to say {words!r}", 60, 0.2)
        wait_until(lambda: page_says in self._page(), f"the run page to say {page_says!r}", 60, 0.5)
        assert all(daemon.is_alive for daemon in self._pair.daemons.values())

    def check_decided_meanwhile(self) -> None:
        """See that verdicts are there all the same, marked as not confirmed."""
        self._client.wait_run(self._run_id, lambda run: run.state is RunState.SUCCEEDED, "the run to end")
        assert not self._client.task(self._run_id, "meanwhile").confirmed

    def check_carried_on(self) -> None:
        """See that everything works again, and that no item was lost or doubled."""
        for name in self._pair.daemons:
            wait_until(partial(self._is_ready, name), f"{name} to be ready again", 90, 0.2)
        for run_id, tasks in self._runs.items():
            run = self._client.wait_run(run_id, running.is_over, "the run to end and be collected", 120)
            assert running.verdicts(run) == dict.fromkeys(tasks, (Outcome.SUCCEEDED, 0))
            for task_id in tasks:
                assert list(running.stored(self._client, run_id, task_id)) == [b"file"]
        wanted = sorted(task_id for tasks in self._runs.values() for task_id in tasks)
        assert sorted(self._executions.read_text().split()) == wanted

    def _submit(self, **commands: str) -> str:
        # A content that no blob has yet: what is stored already needs no room.
        leaves = f'echo "$SCRIPTHUT_TASK_ID" >> {self._executions}\n'
        leaves += 'head -c 20000 /dev/urandom > "$SCRIPTHUT_OUTPUT_DIR/file"'
        tasks = [{"id": task_id, "command": command + leaves} for task_id, command in commands.items()]
        return self._client.submit({"name": "trouble", "cluster": "testbed", "tasks": tasks})

    def _says(self, name: str, words: str) -> bool:
        return words in str(self._pair.report(name))

    def _is_ready(self, name: str) -> bool:
        return not self._pair.report(name)

    def _page(self) -> str:
        return self._client.get(f"/ui/runs/{self._run_id}").text
