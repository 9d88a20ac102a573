"""What somebody tries at the addresses of another's run: every answer is that of a run which nobody has."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.errors import BadMessage
from scripthut_outputs.access.policy import Policy
from scripthut_outputs.catalog.applying import Applying
from scripthut_outputs.catalog.changes import touch_access
from scripthut_outputs.catalog.owning import give_runs
from scripthut_outputs.controllers import archives
from scripthut_outputs.ledger import Place
from tests.integration.outputs.house import ORIGIN, House, ended, item, said
from tests.integration.outputs.serving_pages import Served
from tests.integration.outputs.streams import opened

READ = (
    *("", "/summary", "/summary/t0", "/archive", "/events", "/tasks/t0", "/tasks/t0/detail/output"),
    *("/tasks/t0/detail/outputs", "/tasks/t0/outputs", "/tasks/t0/outputs/rendered?path=YS5tZA=="),
    *("/tasks/t0/outputs/archive", "/tasks/t0/outputs/file/a.md", "/shares", "/events?since=0", "?limit=1&cursor=x"),
    *("/tasks/t9", "/tasks/t0/outputs/file/none", "/tasks/t0/outputs/file/%2e%2e/%2e%2e/r2/tasks/t0/outputs/file/a.md"),
)
PAGES = ("", "?since=0", "?cursor=x", "/tasks/t0", "/tasks/t0?since=0", "/tasks/t0/stdout", "/tasks/t0/files/a.md")
WRITTEN = (
    *(("POST", "/cancel"), ("POST", "/outputs/collect"), ("POST", "/tasks/t0/outputs/collect"), ("PUT", "/pin")),
    *(("DELETE", "/pin"), ("PUT", "/visibility"), ("POST", "/shares"), ("DELETE", "/shares/x")),
)
BUTTONS = ("cancel", "collect", "pin", "unpin", "tasks/t0/collect", "visibility", "shares", "shares/x/revoke")
TRICKS: tuple[dict[str, str], ...] = (
    {},
    {"range": "bytes=0-0"},
    {"if-none-match": "*"},
    {"if-match": "*"},
    {"if-range": '"x"', "range": "bytes=0-"},
    {"last-event-id": "0"},
    {"origin": "https://friend.example.org"},
    {"x-forwarded-user": "ada", "x-original-url": "/runs/r2", "x-http-method-override": "GET"},
)


async def fill(house: House) -> str:
    """A run of ada's; give the SHA-256 of its file, which is no secret to whoever has the same bytes."""
    await house.apply(ended())
    await house.store("r1", "t0", b"", b"a log", Place.STDOUT, kind="text")
    await house.store("r1", "t0", b"", b"- said", Place.RUN_SUMMARY, kind="markdown")
    return await house.store("r1", "t0", b"a.md", b"# secret")


def same(theirs: httpx.Response, missing: httpx.Response) -> bool:
    """Whether two answers tell nothing apart; a page may name the address that was asked for."""
    heads = [
        {name: value for name, value in one.headers.items() if name != "content-length"} for one in (theirs, missing)
    ]
    return (
        theirs.status_code == missing.status_code
        and heads[0] == heads[1]
        and theirs.text.replace("r1", "r9") == missing.text
    )


@pytest.mark.parametrize("is_warm", [True, False])
async def test_another_persons_run_is_one_that_nobody_has(house: House, *, is_warm: bool) -> None:
    sha256 = await fill(house)
    house.cache.is_listening = is_warm
    etags = [f'"{sha256}"', f'W/"{sha256}"']
    for path in ("", "/tasks/t0/outputs", "/tasks/t0/outputs/file/a.md", "/summary"):
        answer = await house.get(f"/runs/r1{path}")
        etags.append(answer.headers.get("etag", '"x"'))
    etags.append((await house.get("/ui/runs/r1")).headers["etag"])

    tricks = [*TRICKS, *({"if-none-match": etag} for etag in etags)]
    addresses = [f"/runs/{{}}{rest}" for rest in READ] + [f"/ui/runs/{{}}{rest}" for rest in PAGES]
    async with house.client("bob") as client:
        for address, trick, method in itertools.product(addresses, tricks, ("GET", "HEAD", "OPTIONS")):
            theirs, missing = [await client.request(method, address.format(run), headers=trick) for run in ("r1", "r9")]
            assert same(theirs, missing), (method, address, trick)
            assert theirs.status_code in {404, 405, 204}, (method, address)


async def test_nothing_of_another_persons_run_is_changed(house: House) -> None:
    await fill(house)
    body = msgspec.json.encode({"visibility": "instance"})
    cookie = house.session("bob")

    async with house.client("bob") as client:
        for method, rest in WRITTEN:
            theirs, missing = [await client.request(method, f"/runs/{run}{rest}", content=body) for run in ("r1", "r9")]
            assert (theirs.status_code, same(theirs, missing)) == (404, True), (method, rest)
    async with house.client(None, cookie=cookie, origin=ORIGIN) as client:
        for rest in (
            "cancel",
            "collect",
            "pin",
            "unpin",
            "tasks/t0/collect",
            "visibility",
            "shares",
            "shares/x/revoke",
        ):
            theirs, missing = [await client.post(f"/ui/runs/{run}/{rest}", data={"days": "1"}) for run in ("r1", "r9")]
            assert (theirs.status_code, same(theirs, missing)) == (404, True), rest

    assert await house.rows("SELECT 1 FROM outputs.outbox UNION ALL SELECT 1 FROM outputs.share_links") == []
    assert await house.rows("SELECT 1 FROM outputs.runs WHERE pinned_at IS NOT NULL OR visibility != 'private'") == []


@contextmanager
def counted(house: House) -> Iterator[list[str]]:
    """The statements that are sent in the block."""
    sent: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("is_warm", [True, False])
async def test_a_refusal_costs_the_same_queries_as_nothing(house: House, *, is_warm: bool) -> None:
    await fill(house)
    house.cache.is_listening = True
    addresses = [*(f"/runs/{{}}{rest}" for rest in READ), *(f"/ui/runs/{{}}{rest}" for rest in PAGES)]

    for address in addresses:
        asked = {}
        for run in ("r1", "r9"):
            house.cache.clear()
            await house.get("/runs", "bob")
            if is_warm:
                await house.get("/runs/r1")
            with counted(house) as sent:
                assert (await house.get(address.format(run), "bob")).status_code == 404
            asked[run] = list(sent)
        assert asked["r1"], address
        assert asked["r1"] == asked["r9"], address


@pytest.mark.parametrize("sort", ["newest", "oldest", "name", "state"])
async def test_a_cursor_of_another_persons_list_shows_nothing_of_theirs(house: House, sort: str) -> None:
    await house.apply(*(item(run_id=f"r{number}") for number in range(4)), item(run_id="b0", owner="bob"))
    cursor = (await house.get(f"/runs?limit=1&sort={sort}")).json()["next"]

    for query in ("", "&owner=ada", "&cluster=daint", "&q=r", "&state=pending"):
        listed = (await house.get(f"/runs?sort={sort}{query}&cursor={cursor}", "bob")).json()["runs"]
        assert {run["run_id"] for run in listed} <= {"b0"}
        page = (await house.get(f"/ui/?sort={sort}{query}&cursor={cursor}", "bob")).text
        assert "/ui/runs/r" not in page


async def test_what_was_kept_for_one_is_not_given_to_another(house: House) -> None:
    house.policy = Policy(groups={"lattice": ("ada", "bob")})
    house.cache.is_listening = True
    await fill(house)
    async with house.database.transaction() as connection:
        await connection.execute(text("""UPDATE outputs.runs SET visibility = 'group', "group" = 'lattice'"""))
    house.cache.clear()

    for path in ("/ui/runs/r1", "/ui/runs/r1/tasks/t0", "/ui/runs/r1/tasks/t0/files/a.md"):
        pages = {actor: await house.get(path, actor) for actor in ("ada", "bob", "root", "ada", "bob")}
        for actor, page in pages.items():
            others = {"ada", "bob", "root"} - {actor, "ada"}
            assert f"<span>{actor}</span>" in page.text
            assert not any(f"<span>{other}</span>" in page.text for other in others)
        again = await house.get(path, "bob", **{"if-none-match": pages["ada"].headers["etag"]})
        assert again.status_code == 200
    assert "/cancel" not in (await house.get("/ui/runs/r1?since=0", "bob")).text


async def test_no_answer_may_be_kept_by_what_stands_between(house: House) -> None:
    await fill(house)

    for path in (
        *(f"/runs/r1{rest}" for rest in READ if "events" not in rest),
        *(f"/ui/runs/r1{rest}" for rest in PAGES),
    ):
        answer = await house.get(path)
        kept = answer.headers.get("cache-control", "")
        assert "public" not in kept, path
        assert answer.status_code != 200 or "private" in kept or "no-store" in kept, path


async def change(house: House, statement: str) -> None:
    async with house.database.transaction() as connection:
        await connection.execute(text(statement))
        await touch_access(connection)


async def share(house: House) -> tuple[str, str]:
    made = (await house.post("/runs/r1/shares", {})).json()
    return made["share_id"], made["url"].rpartition("/")[2]


@pytest.fixture
async def stream_client(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.address, timeout=30) as client:
        yield client


@pytest.mark.parametrize("ending", ["closed", "revoked", "expired", "group lost", "disabled", "file"])
async def test_a_stream_ends_when_the_right_to_it_does(
    house: House, stream_client: httpx.AsyncClient, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripthut_outputs.access.watched._LOOK_AGAIN_S", 0.0)
    house.policy = Policy(groups={"lattice": ("bob",)})
    await fill(house)
    share_id, signed = await share(house)
    await change(house, """UPDATE outputs.runs SET visibility = 'group', "group" = 'lattice'""")
    is_shared = ending in {"revoked", "expired"}
    token = signed if is_shared else "token-of-bob-0123456789"
    stream_client.headers["authorization"] = f"Bearer {token}"

    async with opened(stream_client) as stream:
        assert stream.answer.status_code == 200
        await stream.next()
        async with house.client() as owner:
            match ending:
                case "closed":
                    body = msgspec.json.encode({"visibility": "private"})
                    assert (await owner.put("/runs/r1/visibility", content=body)).status_code == 200
                case "revoked":
                    assert (await owner.delete(f"/runs/r1/shares/{share_id}")).status_code == 200
                case "expired":
                    await change(house, "UPDATE outputs.share_links SET expires_at = now()")
                case "group lost":
                    house.policy = Policy()
                    await change(house, "SELECT 1")
                case "disabled":
                    await change(
                        house,
                        "INSERT INTO outputs.identities (name, disabled_at) VALUES ('bob', now())",
                    )
                case "file":
                    house.tokens_file.write_text("ada user token-of-ada-0123456789\n")
                    await change(house, "SELECT 1")
        await stream.rest()

    over = await stream_client.get("/runs/r1/events")
    assert over.status_code == (401 if ending in {"disabled", "file"} else 404)


async def test_an_archive_is_cut_when_the_right_to_it_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "ASK_AGAIN_S", 0.0)
    await fill(house)
    for number in range(20):
        await house.store("r1", "t0", b"%d.bin" % number, random.Random(number).randbytes(200_000))
    await change(house, "UPDATE outputs.runs SET visibility = 'instance'")
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) == 2:
            await change(house, "UPDATE outputs.runs SET visibility = 'private'")

    with pytest.raises(Exception, match="there is no such run"):
        await ask_raw(house, b"/runs/r1/archive", send)

    assert sent[0]["status"] == 200
    assert all(message.get("more_body") for message in sent[1:])
    assert (await house.get("/runs/r1/archive", "bob")).status_code == 404


async def ask_raw(house: House, raw_path: bytes, send: Any) -> None:
    waiting = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await waiting.wait()
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "raw_path": raw_path, "path": raw_path.decode(), "query_string": b""}
    scope |= {"root_path": "", "scheme": "http", "server": ("localhost", 80), "client": ("127.0.0.1", 1)}
    scope |= {"headers": [(b"host", b"localhost"), (b"authorization", b"Bearer token-of-bob-0123456789")]}
    await house.app(scope, receive, send)  # type: ignore[arg-type]


DAINT = Cluster(
    name="daint", scheduler=SchedulerKind.SLURM, host="h", user="u", accounts={"ann": "a1", "ben": "b1", "bet": "b1"}
)
EIGER = Cluster(name="eiger", scheduler=SchedulerKind.SLURM, host="h", user="u", accounts="claim")
ALPS = Cluster(name="alps", scheduler=SchedulerKind.SLURM, host="h", user="u", accounts="same")
CLUSTERS = {one.name: one for one in (DAINT, EIGER, ALPS)}


@pytest.mark.parametrize(
    ("cluster", "account", "owner"),
    [
        ("daint", "a1", "ann"),
        ("daint", "ann", "daint:ann"),
        ("daint", "b1", "daint:b1"),
        ("eiger", "c1", "cid"),
        ("eiger", "cid", "eiger:cid"),
        ("eiger", "d1", "eiger:d1"),
        ("eiger", "e1", "eiger:e1"),
        ("alps", "ann", "ann"),
        ("nowhere", "ann", "nowhere:ann"),
        ("daint", None, "claimed"),
    ],
)
async def test_an_adopted_run_is_its_accounts_owners(
    house: House, cluster: str, account: str | None, owner: str
) -> None:
    await change(
        house,
        "INSERT INTO outputs.identities (name, account, disabled_at) VALUES ('cid', 'c1', null),"
        " ('dan', 'd1', null), ('dora', 'd1', null), ('eve', 'e1', now())",
    )
    applying = Applying(house.database, CLUSTERS)
    told: dict[str, Any] = {"cluster": cluster, "account": account, "owner": account or "claimed"}

    await applying.apply(said(item(**told)))
    await applying.apply(said(ended(**told)))

    assert [tuple(row) for row in await house.rows("SELECT owner, account FROM outputs.runs")] == [(owner, account)]
    assert [tuple(row) for row in await house.rows("SELECT state FROM outputs.items")] == [("final",)]


@pytest.mark.parametrize(
    "claim",
    [
        {"owner": "ann", "account": "b2"},
        {"owner": "b2", "account": "b2"},
        {"owner": "a1", "account": "b1"},
        {"owner": "ben"},
        {"owner": "a1", "account": "a1", "cluster": "eiger"},
    ],
)
async def test_a_job_that_is_tagged_with_anothers_run_is_none_of_it(house: House, claim: dict[str, str]) -> None:
    applying = Applying(house.database, CLUSTERS)
    await applying.apply(said(item(cluster="daint", owner="a1", account="a1")))

    with pytest.raises(BadMessage, match="run r1 is"):
        await applying.apply(said(item("t1", **({"cluster": "daint", "account": None} | claim))))  # type: ignore[arg-type]

    assert [tuple(row) for row in await house.rows("SELECT task_id FROM outputs.items")] == [("t0",)]


async def test_a_job_of_another_account_does_not_join_a_run_by_its_owners_name(house: House) -> None:
    await house.post(
        "/runs", {"name": "n", "cluster": "daint", "run_id": "r1", "tasks": [{"id": "t0", "command": "x"}]}
    )
    applying = Applying(house.database, CLUSTERS)

    with pytest.raises(BadMessage, match="no job of the account b1 belongs to it"):
        await applying.apply(said(item("t1", owner="ada", account="b1")))

    assert [tuple(row) for row in await house.rows("SELECT task_id FROM outputs.items")] == [("t0",)]


async def test_who_claims_an_account_later_gets_its_runs(house: House) -> None:
    applying = Applying(house.database, CLUSTERS)
    for run, account in (("r1", "c1"), ("r2", "c1"), ("r3", "d1")):
        await applying.apply(said(item(run_id=run, cluster="eiger", owner=account, account=account)))
    await applying.apply(said(item(run_id="r4", cluster="daint", owner="c1", account="c1")))
    assert (await house.get("/runs", "ada")).json()["runs"] == []

    await change(house, "INSERT INTO outputs.identities (name, account) VALUES ('ada', 'c1')")
    async with house.database.transaction() as connection:
        assert await give_runs(connection, CLUSTERS, "ada", "c1") == 2
        assert await give_runs(connection, CLUSTERS, "ada", "c1") == 0

    listed = (await house.get("/runs", "ada")).json()["runs"]
    assert {run["run_id"] for run in listed} == {"r1", "r2"}
    assert all(run["version"] > 1 for run in listed)
    # Its events go on naming the account.
    await applying.apply(said(ended(run_id="r1", cluster="eiger", owner="c1", account="c1")))
    assert (await house.get("/runs/r1", "ada")).json()["items"][0]["state"] == "final"


async def test_what_two_people_claim_is_given_to_neither(house: House) -> None:
    applying = Applying(house.database, CLUSTERS)
    await applying.apply(said(item(cluster="eiger", owner="c1", account="c1")))
    await change(house, "INSERT INTO outputs.identities (name, account) VALUES ('ada', 'c1'), ('bob', 'c1')")

    async with house.database.transaction() as connection:
        assert await give_runs(connection, CLUSTERS, "ada", "c1") == 0

    assert [tuple(row) for row in await house.rows("SELECT owner FROM outputs.runs")] == [("eiger:c1",)]
