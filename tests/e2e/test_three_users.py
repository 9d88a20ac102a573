"""Three people, one department: real sshd, real Slurm, jobs as their owners; each sees their own and nothing else."""

import asyncio
import io
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from playwright.async_api import expect
from sqlalchemy import text

from scripthut_common.database import Database
from scripthut_outputs.ledger import FileState
from tests.e2e import lying, morning, strangers
from tests.e2e.department import CLUSTER, GROUP, Department, Person, opened
from tests.integration.outputs import streams
from tests.testbed.accounts import SERVICE
from tests.testbed.browser import Browser, Visit
from tests.testbed.clients import Client
from tests.testbed.oidc import OidcProvider
from tests.testbed.postgres import PostgresServer
from tests.testbed.processes import ServerError, run, wait_until
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.slurm import SlurmCluster

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", params=["sudo", "certificate"])
def department(
    request: pytest.FixtureRequest,
    slurm: SlurmCluster,
    postgres: PostgresServer,
    rabbitmq: RabbitMq,
    oidc_providers: Callable[[str], OidcProvider],
    with_sudo: None,
    with_browser: None,
) -> Iterator[Department]:
    """All is set up, and everybody has a run that has ended."""
    with opened(request.param, slurm, postgres, rabbitmq, oidc_providers) as department:
        try:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, morning.spend(department)).result()
        except BaseException as error:
            error.add_note(department.pair.logs())
            raise
        yield department


@pytest.fixture
def gina(department: Department) -> Person:
    return department.people["gina"]


@pytest.fixture
def hugo(department: Department) -> Person:
    return department.people["hugo"]


@pytest.fixture
def ines(department: Department) -> Person:
    return department.people["ines"]


@pytest.fixture
def admin(department: Department) -> Iterator[Client]:
    with department.pair.client() as client:
        yield client


def get(department: Department, person: Person, path: str) -> httpx.Response:
    with department.asking(person.headers) as client:
        return client.get(path)


def share(department: Department, owner: Person) -> dict[str, Any]:
    with department.asking(owner.headers) as client:
        made = client.post(f"/runs/{owner.run_id}/shares", json={"label": "for the referee"})
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return {**found, "url": f"{department.pair.url}{found['url']}"}


def open_to(department: Department, owner: Person, visibility: str, group: str | None = None) -> None:
    asked = {"visibility": visibility} | ({} if group is None else {"group": group})
    with department.asking(owner.headers) as client:
        answer = client.put(f"/runs/{owner.run_id}/visibility", json=asked)
    assert answer.status_code == 200, answer.text


def test_the_operator_is_told_that_everybody_can_be_become(department: Department) -> None:
    for person in department.people.values():
        assert f"runs as {person.account} (uid " in department.check(person.account)


def test_each_job_ran_as_its_owner_where_the_service_cannot_read(department: Department) -> None:
    for person in department.people.values():
        assert (person.output_dir / "who").read_text() == f"{person.account}\n"
        for path in (person.output_dir, *person.output_dir.iterdir()):
            assert path.owner() == person.account
        assert person.output_dir.stat().st_mode & 0o777 == 0o700
        with pytest.raises(ServerError, match="Permission denied"):
            run(["cat", person.output_dir / "mine.txt"], user=SERVICE)


def test_each_followed_their_run_while_it_ran_and_has_what_it_wrote(department: Department) -> None:
    for person in department.people.values():
        assert f"Step 1 of {person.name}" in person.shown
        assert {"item", "outputs", "run"} <= set(person.told)
        task = f"/runs/{person.run_id}/tasks/work"
        with Client(department.pair.url, person.token) as client:
            assert client.read(f"{task}/outputs/file/who") == f"{person.account}\n".encode()
            assert client.read(f"{task}/outputs/file/mine.txt") == f"{person.secret}\n".encode()
            assert client.detail(person.run_id, "work", "output").content == f"log of {person.name}\n"
            assert f"said by {person.name}" in str(client.summary(person.run_id).sections[0].rendered_html)


def test_each_list_has_the_runs_of_whoever_asks(department: Department) -> None:
    for person in department.people.values():
        for query in ("", "?q=Run", "?sort=oldest", f"?cluster={CLUSTER}", "?limit=200"):
            listed = get(department, person, f"/runs{query}").json()["runs"]
            assert person.run_id in {one["run_id"] for one in listed}
            assert {one["owner"] for one in listed} == {person.name}
        for other in department.others(person):
            for query in (f"?owner={other.name}", f"?q={other.run_id}", f"?q={other.name}"):
                assert get(department, person, f"/runs{query}").json()["runs"] == []


async def test_each_sees_their_runs_and_their_run_in_a_browser(
    department: Department, browser: Browser, tmp_path: Path
) -> None:
    for person in department.people.values():
        async with browser.visit() as visit:
            await morning.come_in(department, person, visit)
            page = visit.page
            listed = await page.locator("main").inner_text()
            assert f"Run of {person.name}" in listed
            assert not any(f"Run of {other.name}" in listed for other in department.others(person))
            await visit.screenshot(tmp_path / f"runs-of-{person.name}.png")

            await page.goto(f"{department.pair.url}/ui/runs/{person.run_id}")
            await expect(page.get_by_role("heading", name=f"Result of {person.name}")).to_be_visible()
            await expect(page.locator("#summary")).to_contain_text(f"said by {person.name}")
            await visit.screenshot(tmp_path / f"run-of-{person.name}.png")
            check_quiet(visit)

            other = department.others(person)[0]
            answer = await page.goto(f"{department.pair.url}/ui/runs/{other.run_id}")
            assert answer is not None
            assert answer.status == 404


def check_quiet(visit: Visit) -> None:
    assert [line for line in visit.console if not line.startswith("verbose:")] == []
    assert (visit.errors, visit.dialogs, visit.refused) == ([], [], [])


def test_links_to_what_is_not_theirs_are_not_served(department: Department) -> None:
    for person in department.people.values():
        other = department.others(person)[0]
        task = f"/runs/{person.run_id}/tasks/lure"
        with Client(department.pair.url, person.token) as client:
            rows = {one.path: one for one in client.outputs(person.run_id, "lure").outputs}
            archive = client.read(f"{task}/outputs/archive") + client.read(f"/runs/{person.run_id}/archive")
            for name in ("stolen.txt", "stolen/mine.txt", "stolen/who", "open.txt"):
                assert client.get(f"{task}/outputs/file/{name}").status_code == 404

        assert {one.sha256 for name, one in rows.items() if name in {"stolen.txt", "stolen", "open.txt"}} == {None}
        assert "link" in str(rows["stolen.txt"].reason)
        assert "link" in str(rows["open.txt"].reason)
        assert other.secret not in unpacked(archive)
        assert morning.READABLE not in unpacked(archive)


def unpacked(archive: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        return "".join(packed.read(name).decode("utf-8", "replace") for name in packed.namelist())


def test_anothers_run_is_one_that_nobody_has_on_every_route_by_every_trick(
    department: Department, admin: Client
) -> None:
    links = {person.name: share(department, person) for person in department.people.values()}
    before = {person.name: admin.run(person.run_id) for person in department.people.values()}
    for victim in department.people.values():
        tags, link = strangers.tags_of(department, victim), links[victim.name]
        for attacker in department.others(victim):
            assert strangers.differences(department, attacker, victim, tags, link["share_id"]) == []
            with department.asking(attacker.headers) as client:
                mine = f"/runs/{attacker.run_id}"
                for path in (
                    f"{mine}/tasks/work/outputs/file/%2e%2e/%2e%2e/%2e%2e/{victim.run_id}/tasks/work/outputs/file/who",
                    f"{mine}/tasks/work/outputs/file/..%2f..%2f{victim.run_id}%2fwork%2fmine.txt",
                    f"{mine}%2f..%2f{victim.run_id}",
                ):
                    assert client.get(path).status_code == 404
                assert client.delete(f"{mine}/shares/{link['share_id']}").status_code == 404
        assert httpx.get(link["url"]).status_code == 303

    assert {person.name: admin.run(person.run_id) for person in department.people.values()} == before


def test_a_cursor_of_anothers_list_or_one_that_was_tampered_with_shows_nothing_of_theirs(
    department: Department, gina: Person, hugo: Person, admin: Client
) -> None:
    everybodys = msgspec.json.decode(admin.read("/runs?limit=1"))["next"]
    theirs = get(department, gina, f"/runs/{gina.run_id}/tasks/work/outputs?limit=1").json()["next"]
    tampered = [everybodys[:-2] + "AA", "A" + everybodys[1:], everybodys * 2, "x", "%00", "' OR 1=1 --"]
    for cursor in (everybodys, theirs, *tampered):
        answer = get(department, hugo, f"/runs?limit=200&cursor={cursor}")
        assert answer.status_code in {200, 422}
        assert {one["owner"] for one in answer.json().get("runs", ())} <= {hugo.name}
        for rest in ("", "/tasks/work/outputs"):
            assert get(department, hugo, f"/runs/{gina.run_id}{rest}?cursor={cursor}").status_code == 404
            assert gina.name not in get(department, hugo, f"/runs/{hugo.run_id}{rest}?cursor={cursor}").text


def test_the_proxys_word_without_its_secret_and_a_name_beside_a_token_make_nobody_else(
    department: Department, gina: Person, hugo: Person
) -> None:
    forged = {"x-forwarded-user": gina.name}
    with department.asking(forged) as client:
        assert client.get(f"/runs/{gina.run_id}").status_code == 401
    with department.asking({**forged, **hugo.headers}) as client:
        assert client.get(f"/runs/{gina.run_id}").status_code == 404
        assert {one["owner"] for one in client.get("/runs").json()["runs"]} == {hugo.name}


async def test_a_run_is_opened_to_a_group_to_everybody_and_closed_again(
    department: Department, gina: Person, hugo: Person, ines: Person
) -> None:
    path = f"/runs/{gina.run_id}"
    file = f"{path}/tasks/work/outputs/file/mine.txt"
    open_to(department, gina, "group", GROUP)
    assert [get(department, one, file).status_code for one in (hugo, ines)] == [200, 404]
    with department.asking(hugo.headers) as client:
        assert client.post(f"{path}/cancel").status_code == 403
        assert client.put(f"{path}/visibility", json={"visibility": "private"}).status_code == 403

    open_to(department, gina, "instance")
    assert [get(department, one, file).status_code for one in (hugo, ines)] == [200, 200]
    async with department.http(ines.headers) as viewer, streams.opened(viewer, gina.run_id) as stream:
        await stream.next()
        await asyncio.to_thread(open_to, department, gina, "private")
        await stream.rest()

    assert [get(department, one, file).status_code for one in (hugo, ines)] == [404, 404]


async def test_a_share_link_opens_one_run_until_it_is_taken_back_or_too_old(
    department: Department, gina: Person, hugo: Person, browser: Browser, tmp_path: Path
) -> None:
    taken_back, too_old = share(department, gina), share(department, gina)
    async with browser.visit() as visit:
        for link in (taken_back, too_old):
            await visit.page.goto(link["url"])
            await expect(visit.page.get_by_role("heading", name=f"Result of {gina.name}")).to_be_visible()
        check_quiet(visit)
        await visit.screenshot(tmp_path / "guest.png")
        answer = await visit.page.goto(f"{department.pair.url}/ui/runs/{hugo.run_id}")
        assert answer is not None
        assert answer.status == 404

        with department.asking(gina.headers) as client:
            revoked = client.delete(f"/runs/{gina.run_id}/shares/{taken_back['share_id']}")
        assert revoked.status_code == 200
        await age(department, too_old["share_id"])

        answer = await visit.page.goto(f"{department.pair.url}/ui/runs/{gina.run_id}")
        assert answer is not None
        assert answer.status == 404
    for link in (taken_back, too_old):
        with department.asking({"authorization": f"Bearer {link['url'].rpartition('/')[2]}"}) as client:
            assert client.get(link["url"]).status_code == 404
            for rest in ("", "/archive", "/events", "/tasks/work/outputs/file/mine.txt", "/summary"):
                over, none = client.get(f"/runs/{gina.run_id}{rest}"), client.get(f"/runs/{gina.run_id[::-1]}{rest}")
                assert (over.status_code, over.content) == (404, none.content)


async def age(department: Department, share_id: str) -> None:
    """Let a link be older than it is."""
    database = Database(department.database_uri)
    async with database.transaction() as connection:
        past = text("UPDATE outputs.share_links SET expires_at = now() - interval '1 second' WHERE share_id = :link")
        await connection.execute(past, {"link": share_id})
    await database.close()


def test_a_job_that_is_tagged_with_anothers_run_does_not_enter_it(department: Department, admin: Client) -> None:
    before = {person.name: admin.run(person.run_id) for person in department.people.values()}
    jobs = set[str]()
    for attacker in department.people.values():
        for victim in department.others(attacker):
            tag = f"--comment=scripthut:{victim.run_id}/by-{attacker.name}"
            jobs.add(department.slurm.submit("#!/bin/bash\ntrue\n", tag, user=attacker.account))
        own = f"--comment=scripthut:{attacker.run_id}-by-hand/t"
        department.slurm.submit("#!/bin/bash\ntrue\n", own, user=attacker.account)

    refused = "the run belongs to somebody else, or to another cluster"

    def not_adopted() -> set[str]:
        lines = department.logged("poller")
        return {one["job_id"] for one in lines if one["event"] == "job_not_adopted" and one["reason"] == refused}

    wait_until(lambda: jobs <= not_adopted(), "the jobs to be refused", 120, every_s=0.5)
    for person in department.people.values():
        with Client(department.pair.url, person.token) as client:
            adopted = client.wait_run(f"{person.run_id}-by-hand", lambda _: True, "their own job to be adopted")
        assert adopted.owner == person.name
        for other in department.others(person):
            assert get(department, other, f"/runs/{adopted.run_id}").status_code == 404
    assert {person.name: admin.run(person.run_id) for person in department.people.values()} == before


async def test_what_a_program_announces_of_anothers_directory_is_refused_with_the_reason(
    department: Department, gina: Person, hugo: Person, admin: Client
) -> None:
    lie = lying.announced(hugo, gina, run_id=f"{hugo.run_id}-lying")
    joining = lying.announced(hugo, gina, run_id=gina.run_id)
    before = admin.run(gina.run_id)
    await lying.announce(department.amqp_uri, lie, joining)

    with Client(department.pair.url, hugo.token) as client:

        def is_refused() -> bool:
            task = client.get(f"/runs/{lie.run_id}/tasks/work")
            return task.is_success and task.json()["collection_reason"] is not None

        await asyncio.to_thread(wait_until, is_refused, "the directory to be refused", 60, 0.2)
        assert "cannot be read" in str(client.task(lie.run_id, "work").collection_reason)
        (row,) = client.outputs(lie.run_id, "work").outputs
        assert (row.path, row.state, row.sha256) == (".", FileState.UNREADABLE, None)
        assert "could not open this directory" in str(row.reason)
    for service, why in (("outputs", f"run {gina.run_id} is gina's"), ("poller", "output_dir must lie beneath")):

        def are_aside() -> bool:
            return any(why in one for one in department.dead(service))  # noqa: B023  within its turn

        await asyncio.to_thread(wait_until, are_aside, f"what {service} was told to be put aside", 60, 0.5)
    assert admin.run(gina.run_id) == before


async def test_names_make_no_lines_in_logs(department: Department, gina: Person, hugo: Person) -> None:
    named = morning.FORGED.encode().hex("%")
    for person in (gina, hugo):
        with department.asking({**person.headers, "user-agent": f"forged {named}"}) as client:
            for path in (f"/runs/%{named}", f"/runs?q=%{named}", f"/runs/{person.run_id}/tasks/%{named}"):
                assert client.get(path).status_code in {200, 404}
    await lying.announce(
        department.amqp_uri, lying.announced(hugo, gina, run_id="forged"), source=f"a program{morning.FORGED}"
    )
    poller = department.pair.poller.log
    await asyncio.to_thread(wait_until, lambda: "forged" in poller.read_text(), "the poller to say so", 30, 0.2)

    for name, daemon in department.pair.daemons.items():
        assert "\x1b" not in daemon.log.read_text()
        assert [one for one in department.logged(name) if one["event"] == "forged"] == []


def test_the_audit_log_tells_who_saw_and_changed_what(
    department: Department, gina: Person, hugo: Person, ines: Person, admin: Client
) -> None:
    open_to(department, hugo, "group", GROUP)
    for person in (gina, ines):
        get(department, person, f"/runs/{hugo.run_id}/tasks/work/outputs/file/mine.txt")
    link = share(department, hugo)
    with httpx.Client(follow_redirects=True) as stranger:
        assert stranger.get(link["url"]).status_code == 200
    open_to(department, hugo, "private")

    def told() -> set[tuple[str, str | None, str | None]]:
        return {(one["act"], one["actor"], one["credential"]) for one in entries(admin, hugo)}

    guest, link_id = f"share:{link['share_id']}", link["share_id"]
    looks = {("file.read", gina.name, "session"), ("run.read", guest, guest)}
    wait_until(lambda: looks <= told(), "looks to be written", every_s=0.2)
    changes = {("run.created", hugo.name, "file"), ("run.visibility", hugo.name, "file")}
    assert changes <= told()
    targets = {(one["act"], one["actor"]) for one in entries(admin, hugo) if one["target"] == link_id}
    assert targets == {("share.created", hugo.name), ("share.opened", None)}
    # What was refused was not seen.
    assert [one for one in entries(admin, hugo) if one["actor"] == ines.name] == []
    for person in (gina, ines):
        (created,) = (one for one in entries(admin, person) if one["act"] == "run.created")
        assert created["credential"].startswith("token:")


def entries(admin: Client, owner: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.json.decode(admin.read(f"/admin/audit?run={owner.run_id}&limit=200"))[
        "entries"
    ]
    return found
