"""The examples of docs/api.md and docs/terminal.md run as they stand, against the served application."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from scripthut_common.events import ItemState
from scripthut_outputs.client.exits import EPILOG, Exit
from scripthut_outputs.commands import asking
from scripthut_outputs.ledger import Place
from tests.integration.docs.pages import DOCS, blocks
from tests.integration.outputs.client.terminal import Terminal
from tests.integration.outputs.house import TOKENS, House, ended, item


async def bash(script: str, folder: Path, **variables: str) -> tuple[int, str, str]:
    """Run a script as somebody types it: it ends at the first command that fails."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script, cwd=folder, env=variables, stdout=-1, stderr=-1, stdin=-3
    )
    async with asyncio.timeout(150):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def fill(house: House, run_id: str, task_id: str) -> None:
    """A task that has ended, with a table, a log, and a word about the run."""
    await house.apply(ended(task_id, run_id))
    await house.store(run_id, task_id, b"results/table.csv", b"1,2\n")
    await house.store(run_id, task_id, b"task-summary.md", b"# Hello\n")
    await house.store(run_id, task_id, b"", b"- done\n", Place.RUN_SUMMARY, kind="markdown")
    await house.store(run_id, task_id, b"", b"out\n", Place.STDOUT)


async def test_every_call_of_the_api_page_works(house: House, url: str, tmp_path: Path) -> None:
    await fill(house, "first-light", "hello")
    await house.observe()
    script = "\n".join(f"{block}\necho; echo '-- next'" for block in blocks("api.md", "bash") if "/events" not in block)

    code, out, err = await bash(script, tmp_path, PATH="/usr/bin:/bin", URL=url, TOKEN=TOKENS["ada"])

    assert (code, err) == (0, ""), out
    answers = out.split("-- next\n")
    assert json.loads(answers[1])["run_id"] == "sweep-1"
    assert [run["run_id"] for run in json.loads(answers[3])["runs"]] == ["sweep-1"]
    assert {fault["field"] for fault in json.loads(answers[-2])["errors"]} >= {"name", "cluster"}
    assert (tmp_path / "table.csv").read_text() == "1,2\n"
    assert (tmp_path / "run.zip").read_bytes().startswith(b"PK")


async def test_the_live_stream_of_the_api_page_tells_where_the_run_stands(
    house: House, url: str, tmp_path: Path
) -> None:
    await fill(house, "first-light", "hello")
    first, *others = blocks("api.md", "bash")
    (stream,) = (block for block in others if "/events" in block)

    # `head` leaves while more is to come, which curl takes for a fault.
    script = f"set +o pipefail; {first}\nRUN=first-light\n{stream}"
    code, out, err = await bash(script, tmp_path, PATH="/usr/bin:/bin", URL=url, TOKEN=TOKENS["ada"])

    assert code == 0, err
    retry, _, event, told = out.splitlines()
    assert retry == "retry: 3000"
    assert event in {"event: item", "event: outputs", "event: summary"}
    assert told.startswith("data: {")


async def test_the_api_page_shows_every_address(house: House) -> None:
    page = (DOCS / "api.md").read_text("utf-8").replace("sweep-1", "$RUN").replace("results/table.csv", "$PATH")
    page = page.replace("/tokens/$ID", "/tokens/$TOKEN")
    shown = set(
        re.findall(r"/[\w/.$-]*[\w$]", page.replace("detail/output?", "detail/$KIND?").replace("{run}", "$RUN"))
    )

    paths = (await house.get("/schema")).json()["paths"]

    addresses = {path: re.sub(r"\{(\w+?)(_id)?\}", lambda found: f"${found[1].upper()}", path) for path in paths}
    assert "/schema" in shown
    assert [path for path, one in addresses.items() if one not in shown and not path.startswith("/schema")] == []


async def test_the_walk_through_of_the_terminal_page_works(house: House, terminal: Terminal) -> None:
    program = terminal.folder / "bin" / "scripthut-outputs"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m scripthut_outputs "$@"\n')
    program.chmod(0o755)
    (terminal.folder / "task-summary.md").write_text("# Hello\n")
    walk = [block for block in blocks("terminal.md", "bash") if not block.startswith("export ")]
    variables = terminal.environment() | {"PATH": f"{program.parent}:/usr/bin:/bin"}

    async def play() -> None:
        """Let the run's tasks end once it is there."""
        while not (rows := await house.rows("SELECT run_id FROM outputs.runs")):  # noqa: ASYNC110  polled on purpose
            await asyncio.sleep(0.05)
        run_id = rows[0].run_id
        await house.apply(item("mesh", run_id, state=ItemState.RUNNING))
        for position, task_id in enumerate(("mesh", "solve")):
            await house.apply(ended(task_id, run_id, position=position))
        await house.store(run_id, "solve", b"a.csv", b"1,2\n")

    playing = asyncio.ensure_future(play())
    code, out, err = await bash("\n".join(walk).replace("'sim.*'", "'s*'"), terminal.folder, **variables)
    await playing

    assert code == 0, (out, err)
    assert (terminal.folder / "results" / "solve" / "a.csv").read_text() == "1,2\n"
    assert "['mesh', 'solve']" in out
    assert (terminal.folder / "task-summary.preview.html").exists()


@pytest.mark.parametrize("command", sorted(asking.COMMANDS))
def test_the_terminal_page_tells_every_command(command: str) -> None:
    assert f"| `{command}" in (DOCS / "terminal.md").read_text("utf-8")


def test_the_terminal_page_and_the_help_tell_the_same_statuses() -> None:
    page = (DOCS / "terminal.md").read_text("utf-8")

    told = {int(number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert told == {int(number) for number in re.findall(r"^  (\d+) ", EPILOG, re.MULTILINE)}
    assert told <= set(Exit)
