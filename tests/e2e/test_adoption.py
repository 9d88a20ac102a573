"""Jobs that two people submit by hand become runs of theirs: real Slurm, sshd and RabbitMQ, the services as processes.

The services log in as Alice. Bob lets others enter his directory, Carol does not.
"""

import base64
import pwd
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripthut_common.events import Evidence, ItemState, Outcome, RunState
from scripthut_outputs.ledger import FileState, OutputsState
from tests.e2e import running
from tests.testbed.accounts import BOB, CAROL
from tests.testbed.browser import Browser
from tests.testbed.clients import Client
from tests.testbed.postgres import PostgresServer
from tests.testbed.processes import wait_until
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.services import Pair, slurm_over
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

SCRIPT = Path(__file__).parents[2] / "deploy" / "scripthut-env.sh"
ELEMENTS = 20
FAILING = 7
_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # one red dot
_PLOT = f"""
echo {_PNG} | base64 -d > "$SCRIPTHUT_OUTPUT_DIR/dot.png"
printf '# Found\\n\\n![](dot.png)\\n' > "$SCRIPTHUT_TASK_SUMMARY"
"""
_ELEMENT = f"""
echo "- element $SLURM_ARRAY_TASK_ID" >> "$SCRIPTHUT_RUN_SUMMARY"
[ "$SLURM_ARRAY_TASK_ID" != {FAILING} ] || exit 3
"""


class ByHand:
    """What Bob and Carol do at the login node."""

    def __init__(self, slurm: SlurmCluster, script: Path, name: str) -> None:
        self._slurm = slurm
        self._script = script
        self.name = name
        for user in (BOB, CAROL):
            slurm.run("mkdir", "-m", "755" if user == BOB else "700", str(self.directory_of(user)), user=user)

    def directory_of(self, user: str) -> Path:
        """Below it everything of theirs is written."""
        return Path(pwd.getpwnam(user).pw_dir) / self.name

    def submit(self, commands: str, *options: str, user: str = BOB) -> str:
        """Hand in a script of their own with our one line in it; a module has said where to write."""
        text = f"#!/bin/bash\nset -euo pipefail\nsource {self._script}\n{commands}\n"
        return self._slurm.submit(text, f"--export=ALL,SCRIPTHUT_LOG_DIR=~/{self.name}", *options, user=user)

    def tag(self, task_id: str) -> str:
        """Name a task of the run that Bob's array makes."""
        return f"--comment=scripthut:{self.name}/{task_id}"


class Adopted:
    """The jobs after all have ended and been collected."""

    def __init__(self, pair: Pair, by_hand: ByHand, slurm: SlurmCluster) -> None:
        pair.poller.stop()
        away = by_hand.submit('echo "- was alone" > "$SCRIPTHUT_RUN_SUMMARY"; exit 5')
        slurm.wait_ended(away)
        pair.poller.start()
        plain = by_hand.submit(_PLOT)
        by_hand.submit(_ELEMENT, by_hand.tag("sweep"), f"--array=0-{ELEMENTS - 1}")
        closed = f"closed-{by_hand.name}"
        by_hand.submit(f"{_PLOT}exit 4", f"--comment=scripthut:{closed}/job", user=CAROL)
        self.pair = pair
        self.sweep = by_hand.name
        self.away, self.plain, self.closed = f"slurm-testbed-{away}", f"slurm-testbed-{plain}", closed
        self.run_ids = (self.sweep, self.away, self.plain, self.closed)
        with pair.client() as client:
            client.wait_run(self.sweep, lambda run: len(run.items) == ELEMENTS, "the array to be found")
            by_hand.submit("true", by_hand.tag("stolen"), user=CAROL)
            for run_id in self.run_ids:
                client.wait_run(run_id, running.is_over, f"{run_id} to end and be collected")
            for run_id in self.run_ids[:3]:
                running.wait_rendered(client, run_id)


@pytest.fixture(scope="module")
def adopted(
    slurm: SlurmCluster,
    login_node: Sshd,
    postgres: PostgresServer,
    rabbitmq: RabbitMq,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Adopted]:
    """A pair that adopts what Bob and Carol submit, and what became of their jobs."""
    name = f"adoption-{secrets.token_hex(4)}"
    described = slurm_over(
        login_node, slurm, adopt=[BOB, CAROL], adopt_log_dir=f"~/{name}", adopt_interval_s=1, commands_per_minute=600
    )
    with ExitStack() as stack:
        script = slurm.directory / "users" / SCRIPT.name
        shutil.copy(SCRIPT, script)
        by_hand = ByHand(slurm, script, name)
        for user in (BOB, CAROL):
            stack.callback(shutil.rmtree, by_hand.directory_of(user))
        database_uri, amqp_uri = stack.enter_context(running.servers(postgres, rabbitmq))
        pair = Pair(database_uri=database_uri, amqp_uri=amqp_uri, clusters={"testbed": described})
        yield Adopted(stack.enter_context(pair), by_hand, slurm)


@pytest.fixture
def client(adopted: Adopted) -> Iterator[Client]:
    with adopted.pair.client() as client:
        yield client


def _owners(client: Client) -> dict[str, str]:
    return {run["run_id"]: run["owner"] for run in client.get("/runs?limit=200").json()["runs"]}


def test_jobs_submitted_by_hand_are_runs_of_those_who_submitted_them(adopted: Adopted, client: Client) -> None:
    owners = _owners(client)

    expected = {adopted.sweep: BOB, adopted.away: BOB, adopted.plain: BOB, adopted.closed: CAROL}
    assert {run_id: owners.get(run_id) for run_id in adopted.run_ids} == expected
    assert {run_id: client.run(run_id).name for run_id in expected} == {run_id: run_id for run_id in expected}


def test_a_user_sees_adopted_runs_of_their_own_and_nobody_elses(adopted: Adopted) -> None:
    token = secrets.token_urlsafe(32)
    with (adopted.pair.directory / "door" / "tokens").open("a") as tokens:
        tokens.write(f"{BOB} user {token}\n")

    with Client(adopted.pair.url, token) as bob:
        wait_until(lambda: bob.get("/runs").is_success, "the token to count", 30)
        assert set(_owners(bob).values()) == {BOB}
        assert {adopted.sweep, adopted.away, adopted.plain} <= _owners(bob).keys()
        assert bob.get(f"/runs/{adopted.closed}").status_code == 404


def test_an_array_is_one_run_in_the_order_of_its_elements(adopted: Adopted, client: Client) -> None:
    run = client.run(adopted.sweep)
    sections = client.summary(adopted.sweep).sections

    expected = {f"sweep.{index}": (Outcome.SUCCEEDED, 0) for index in range(ELEMENTS)}
    expected[f"sweep.{FAILING}"] = (Outcome.FAILED, 3)
    assert list(running.verdicts(run).items()) == list(expected.items())
    assert run.state is RunState.FAILED
    assert [section.task_id for section in sections] == list(expected)
    assert all(f"element {index}<" in (one.rendered_html or "") for index, one in enumerate(sections))


def test_a_job_that_ended_while_no_poller_ran_is_shown_with_what_it_wrote(adopted: Adopted, client: Client) -> None:
    (item,) = client.run(adopted.away).items

    assert (item.state, item.outcome, item.exit_code) == (ItemState.FINAL, Outcome.FAILED, 5)
    (section,) = client.summary(adopted.away).sections
    assert "was alone" in (section.rendered_html or "")


def test_a_strangers_tag_does_not_enter_the_run(adopted: Adopted, client: Client) -> None:
    log = adopted.pair.poller.log
    wait_until(lambda: f"{adopted.sweep}/stolen" in log.read_text(), "the tag to be refused", 30)

    assert re.search(
        r'^scripthut_poller_refused_jobs_total{cluster="testbed"} [1-9]', adopted.pair.metrics("poller"), re.MULTILINE
    )
    assert "stolen" not in running.verdicts(client.run(adopted.sweep))


def test_what_cannot_be_read_has_a_state_and_a_reason_that_says_what_to_do(adopted: Adopted, client: Client) -> None:
    (item,) = client.run(adopted.closed).items
    (row,) = client.outputs(adopted.closed, "job").outputs

    assert (item.outcome, item.confirmed) == (Outcome.FAILED, True)
    assert "exit code 4" in (item.reason or "")
    assert item.evidence is Evidence.SCHEDULER
    assert item.outputs_state is OutputsState.INCOMPLETE
    assert row.state is FileState.UNREADABLE
    assert "chmod o+x" in (row.reason or "")


async def test_the_page_of_a_found_job_shows_its_picture(adopted: Adopted, browser: Browser, tmp_path: Path) -> None:
    async with browser.visit() as visit:
        await visit.page.goto(adopted.pair.login_url())
        answer = await visit.page.goto(f"{adopted.pair.url}/ui/runs/{adopted.plain}")
        image = visit.page.locator("#panel-job img").first
        await image.scroll_into_view_if_needed()
        await visit.screenshot(tmp_path / "found.png")

        assert answer is not None
        assert answer.status == 200
        assert await image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
        assert visit.errors == []


async def test_the_page_of_a_closed_directory_says_why_it_shows_nothing(
    adopted: Adopted, browser: Browser, tmp_path: Path
) -> None:
    async with browser.visit() as visit:
        await visit.page.goto(adopted.pair.login_url())
        await visit.page.goto(f"{adopted.pair.url}/ui/runs/{adopted.closed}/tasks/job")
        await visit.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        await visit.screenshot(tmp_path / "closed.png")

        assert "chmod o+x" in await visit.page.inner_text("main")


def test_a_pair_that_was_not_told_to_adopts_nothing(adopted: Adopted, pair: Pair) -> None:
    with pair.client() as other:
        assert _owners(other).keys().isdisjoint(adopted.run_ids)
        assert {BOB, CAROL}.isdisjoint(_owners(other).values())


def test_stored_files_are_those_on_the_cluster(adopted: Adopted, client: Client) -> None:
    stored = client.outputs(adopted.plain, "job").outputs

    assert [(running.name_of(one), one.state) for one in stored] == [
        (b"task-summary.md", FileState.STORED),
        (b"dot.png", FileState.STORED),
    ]
    assert client.read(stored[1].url or "") == base64.b64decode(_PNG)
