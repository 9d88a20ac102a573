"""What three people do: come in, each in another way, submit a run, and watch it until it has ended."""

import asyncio
import json
import secrets
import shlex
from collections.abc import Mapping
from typing import Any

import httpx

from tests.e2e import running
from tests.e2e.department import CLUSTER, Department, Person
from tests.integration.outputs.streams import Stream, opened
from tests.testbed.browser import Visit, open_browser
from tests.testbed.clients import Client
from tests.testbed.oidc.browsing import log_in
from tests.testbed.processes import wait_until

# What would be a line of its own, and red, in a log that shows it as it is.
FORGED = '\n{"event": "forged", "level": "error"}\x1b[31m'
READABLE = "open to everybody"


async def spend(department: Department) -> None:
    """Let everybody come in, submit, follow and see the end."""
    gina, hugo, ines = department.people.values()
    await _log_in(department, gina)
    await asyncio.to_thread(_take_line, department, hugo)
    _come_by_proxy(department, ines)
    department.open_file.write_text(READABLE)
    for person in (gina, ines):
        with Client(department.pair.url, person.token) as client:
            client.submit(document(department, person))
    written = department.etc / "run.json"
    written.write_text(json.dumps(document(department, hugo)))
    assert department.terminal(hugo.token, "submit", str(written)) == f"{hugo.run_id}\n"
    async with asyncio.TaskGroup() as group:
        for person in department.people.values():
            group.create_task(_follow(department, person))
    for person in department.people.values():
        with Client(department.pair.url, person.token) as client:
            await asyncio.to_thread(client.wait_run, person.run_id, running.is_over, "their run to be over")
            await asyncio.to_thread(running.wait_rendered, client, person.run_id)


async def come_in(department: Department, person: Person, visit: Visit) -> None:
    """Have a browser of theirs at the list of runs."""
    page, url = visit.page, department.pair.url
    if "cookie" in person.headers:
        pairs = [pair.partition("=")[::2] for pair in person.headers["cookie"].split("; ")]
        await page.context.add_cookies([{"name": name, "value": value, "url": url} for name, value in pairs])
    elif "authorization" in person.headers:
        await page.goto(f"{url}/login")
        await page.get_by_label("Your token").fill(person.token)
        await page.get_by_role("button", name="Sign in").click()
    else:
        await page.set_extra_http_headers({key: value for key, value in person.headers.items() if key != "origin"})
    await page.goto(f"{url}/ui/")


def document(department: Department, person: Person) -> dict[str, Any]:
    """Describe a run of somebody: what they are after, and links to what is not theirs."""
    return {
        "run_id": person.run_id,
        "name": f"Run of {person.name}{FORGED}",
        "cluster": CLUSTER,
        "follow": True,
        "tasks": [
            {"id": "work", "command": _work(person)},
            {"id": "lure", "command": _lure(department, department.others(person)[0])},
        ],
    }


def _work(person: Person) -> str:
    return f"""\
umask 077
chmod 0700 "$SCRIPTHUT_OUTPUT_DIR"
id -un > "$SCRIPTHUT_OUTPUT_DIR/who"
echo {shlex.quote(person.secret)} > "$SCRIPTHUT_OUTPUT_DIR/mine.txt"
echo "# Step 1 of {person.name}" > "$SCRIPTHUT_TASK_SUMMARY"
until [ -e {person.gate} ]; do sleep 0.2; done
echo "# Result of {person.name}" > "$SCRIPTHUT_TASK_SUMMARY"
echo "- said by {person.name}" > "$SCRIPTHUT_RUN_SUMMARY"
echo "log of {person.name}"
"""


def _lure(department: Department, other: Person) -> str:
    forged = FORGED.replace("\n", r"\n").replace("\x1b", r"\033")
    return f"""\
cd "$SCRIPTHUT_OUTPUT_DIR"
ln -s {other.output_dir}/mine.txt stolen.txt
ln -s {other.output_dir} stolen
ln -s {department.open_file} open.txt
echo mine > "$(printf {shlex.quote("plot" + forged)})"
"""


async def _log_in(department: Department, person: Person) -> None:
    """At the provider, in a browser; their program's token is made on the page of tokens."""
    async with open_browser() as browser, browser.visit() as visit:
        page = visit.page
        await page.goto(f"{department.pair.url}/ui/")
        await log_in(page, person.name)
        await page.get_by_role("link", name="Tokens", exact=True).click()
        await page.get_by_label("What it is for").fill("nightly <b>plots</b>")
        await page.get_by_role("checkbox", name="submit").check()
        await page.get_by_role("button", name="Make it").click()
        person.token = await page.locator("#token").inner_text()
        cookies = await page.context.cookies(department.pair.url)
        assert visit.errors == []
    cookie = "; ".join(f"{one['name']}={one['value']}" for one in cookies)
    person.headers = {"cookie": cookie, "origin": department.pair.url}


def _take_line(department: Department, person: Person) -> None:
    """Be given a line of the tokens file, which is read again when it changes."""
    person.token = secrets.token_urlsafe(24)
    person.headers = _bearer(person)
    with (department.pair.directory / "door" / "tokens").open("a") as file:
        file.write(f"{person.name} user {person.token}\n")
    with department.asking(person.headers) as client:
        wait_until(lambda: client.get("/runs").status_code == 200, "the line to be read", every_s=0.2)


def _come_by_proxy(department: Department, person: Person) -> None:
    """Through a reverse proxy that knows them; their program's token is made by a call of theirs."""
    person.headers = {**department.proxy, "x-forwarded-user": person.name}
    with department.asking(person.headers) as client:
        made = client.post("/tokens", json={"label": "a script", "scopes": ["read", "submit"]})
    assert made.status_code == 201, made.text
    person.token = made.json()["token"]


def _bearer(person: Person) -> Mapping[str, str]:
    return {"authorization": f"Bearer {person.token}"}


async def _follow(department: Department, person: Person) -> None:
    """Read the live stream, see what the task shows while it runs, let it go on, and read to the end of the run.

    From the run's beginning on: the first step may have been seen before anybody listened.
    """
    async with department.http(person.headers) as client, opened(client, person.run_id, since=0) as stream:
        assert stream.answer.status_code == 200
        person.shown = await _first_step(client, stream, person)
        person.gate.touch()
        told = await stream.until("run", state="succeeded", is_collecting=False)
        person.told = [one.name for one in told]


async def _first_step(client: httpx.AsyncClient, stream: Stream, person: Person) -> str:
    """Wait for what the stream says is new, until the page of the first step is among it."""
    while True:
        await stream.until("outputs", task_id="work")
        answer = await client.get(f"/runs/{person.run_id}/tasks/work/outputs")
        shown = "".join(one.get("rendered_html") or "" for one in answer.json()["outputs"])
        if "Step 1" in shown:
            return shown
