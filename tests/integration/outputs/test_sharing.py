"""Opening a run to others: visibility, groups, share links."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from scripthut_outputs.access import Visibility
from scripthut_outputs.access.policy import Policy
from scripthut_outputs.access.shares import Shares
from tests.integration.outputs.house import ORIGIN, TOKENS, House, document, ended, item

LATTICE = Policy(groups={"lattice": ("ada", "bob"), "plasma": ("ada",)})


async def put(house: House, path: str, body: Any, actor: str | None = "ada") -> httpx.Response:
    async with house.client(actor) as client:
        return await client.put(path, content=msgspec.json.encode(body))


async def delete(house: House, path: str, actor: str | None = "ada") -> httpx.Response:
    async with house.client(actor) as client:
        return await client.delete(path)


async def share(house: House, run_id: str = "r1", actor: str = "ada", **asked: Any) -> dict[str, Any]:
    answer = await house.post(f"/runs/{run_id}/shares", asked, actor)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def acts(house: House) -> list[tuple[Any, ...]]:
    found = await house.rows("SELECT act, actor, run_id, target FROM outputs.audit ORDER BY entry")
    return [tuple(row) for row in found]


async def visit(house: House, url: str, cookie: str | None = None) -> httpx.Response:
    async with house.client(None, **({"cookie": cookie} if cookie else {})) as client:
        return await client.get(url)


async def opened(house: House, **asked: Any) -> str:
    """Make a link to r1 and open it as a stranger; give the cookie."""
    answer = await visit(house, (await share(house, **asked))["url"])
    assert answer.status_code == 303, answer.text
    return answer.headers["set-cookie"].partition(";")[0]


async def test_a_run_is_private_until_it_is_opened(house: House) -> None:
    house.policy = LATTICE
    created = await house.post("/runs", document(run_id="r1"))

    assert (created.json()["visibility"], created.json()["group"]) == ("private", None)
    assert (await house.get("/runs/r1", "bob")).status_code == 404


@pytest.mark.parametrize(
    ("default", "fields", "seen"),
    [
        (Visibility.PRIVATE, {"group": "lattice"}, ("group", "lattice")),
        (Visibility.PRIVATE, {"visibility": "group", "group": "plasma"}, ("group", "plasma")),
        (Visibility.PRIVATE, {"visibility": "instance"}, ("instance", None)),
        (Visibility.INSTANCE, {}, ("instance", None)),
        (Visibility.INSTANCE, {"visibility": "private"}, ("private", None)),
        (Visibility.GROUP, {}, ("private", None)),
        (Visibility.GROUP, {"group": "plasma"}, ("group", "plasma")),
    ],
)
async def test_a_document_says_who_may_read_or_the_installation_does(
    house: House, default: Visibility, fields: dict[str, str], seen: tuple[str, str | None]
) -> None:
    house.policy = msgspec.structs.replace(LATTICE, default_visibility=default)

    created = await house.post("/runs", document(run_id="r1", **fields))

    assert created.status_code == 201
    assert (created.json()["visibility"], created.json()["group"]) == seen


async def test_where_groups_read_a_creators_only_group_does(house: House) -> None:
    house.policy = msgspec.structs.replace(LATTICE, default_visibility=Visibility.GROUP)

    created = await house.post("/runs", document(), "bob")

    assert (created.json()["visibility"], created.json()["group"]) == ("group", "lattice")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"group": "plasma"}, "group"),
        ({"visibility": "group"}, "group"),
        ({"visibility": "private", "group": "lattice"}, "group"),
        ({"visibility": "everybody"}, "visibility"),
        ({"visibility": 3}, "visibility"),
        ({"group": ""}, "group"),
        ({"group": ["lattice"]}, "group"),
    ],
)
async def test_what_a_run_cannot_be_opened_to_is_refused_by_its_field(
    house: House, fields: dict[str, Any], field: str
) -> None:
    house.policy = LATTICE

    refused = await house.post("/runs", document(**fields), "bob")

    assert refused.status_code == 422
    assert [one["field"] for one in refused.json()["errors"]] == [field]
    assert await house.rows("SELECT * FROM outputs.runs") == []


async def test_the_owner_opens_a_run_and_closes_it(house: House) -> None:
    house.policy = LATTICE
    await house.apply(item())

    answer = await put(house, "/runs/r1/visibility", {"visibility": "group", "group": "lattice"})
    assert (answer.status_code, answer.json()["group"]) == (200, "lattice")
    assert (await house.get("/runs/r1", "bob")).status_code == 200
    assert [run["run_id"] for run in (await house.get("/runs", "bob")).json()["runs"]] == ["r1"]
    await put(house, "/runs/r1/visibility", {"visibility": "private"})

    assert (await house.get("/runs/r1", "bob")).status_code == 404
    assert (await house.get("/runs", "bob")).json()["runs"] == []
    assert await acts(house) == [("run.visibility", "ada", "r1", None)] * 2


async def test_who_may_read_a_run_may_do_nothing_else_to_it(house: House) -> None:
    house.policy = LATTICE
    await house.apply(item())
    await put(house, "/runs/r1/visibility", {"visibility": "instance"})

    for answer in (
        await house.post("/runs/r1/cancel", actor="bob"),
        await house.post("/runs/r1/shares", {}, "bob"),
        await put(house, "/runs/r1/visibility", {"visibility": "private"}, "bob"),
        await put(house, "/runs/r1/pin", None, "bob"),
    ):
        assert answer.status_code == 403
        assert "you may read this run" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body", [{}, [], {"visibility": "group"}, {"visibility": "group", "group": "other"}, {"visibility": 1}, {"x": 1}]
)
async def test_a_run_is_not_opened_by_what_cannot_be_read(house: House, body: Any) -> None:
    house.policy = LATTICE
    await house.apply(item())

    refused = await put(house, "/runs/r1/visibility", body)

    assert refused.status_code == 422
    assert refused.json()["errors"]
    assert (await house.get("/runs/r1")).json()["visibility"] == "private"


async def test_an_admin_opens_anybodys_run_to_any_group(house: House) -> None:
    await house.apply(item())

    answer = await put(house, "/runs/r1/visibility", {"visibility": "group", "group": "any"}, "root")

    assert (answer.status_code, answer.json()["group"]) == (200, "any")


async def test_a_link_opens_its_run_and_nothing_else(house: House) -> None:
    await house.apply(ended(), ended(run_id="r2"))
    await house.store("r1", "t0", b"a.txt", b"for you")
    cookie = await opened(house, label="for the referee")

    for path in (
        *("/runs/r1", "/runs/r1/tasks/t0", "/runs/r1/tasks/t0/outputs", "/runs/r1/tasks/t0/outputs/file/a.txt"),
        *("/runs/r1/summary", "/runs/r1/archive", "/ui/runs/r1", "/ui/runs/r1/tasks/t0"),
        "/ui/runs/r1/tasks/t0/files/a.txt",
    ):
        assert (await visit(house, path, cookie)).status_code == 200, path
    for path in ("/runs/r2", "/runs/r2/archive", "/ui/runs/r2", "/runs/r2/events", "/runs/r9"):
        assert (await visit(house, path, cookie)).status_code == 404, path
    for path in ("/runs", "/clusters", "/schema", "/metrics"):
        assert (await visit(house, path, cookie)).status_code == 403, path
    assert (await visit(house, "/ui/", cookie)).headers["location"].startswith("/login")
    async with house.client(None, cookie=cookie, origin=ORIGIN) as client:
        for path in ("cancel", "shares", "outputs/collect", "tasks/t0/outputs/collect"):
            assert (await client.post(f"/runs/r1/{path}")).status_code == 403, path
        assert (await client.put("/runs/r1/visibility")).status_code == 403
        assert (await client.put("/runs/r1/pin")).status_code == 403
        assert (await client.get("/runs/r1/shares")).status_code == 403
    assert [act[0] for act in await acts(house)] == ["share.created", "share.opened"]


async def test_a_guests_page_offers_nothing_that_a_guest_may_not(house: House) -> None:
    await house.apply(item(), ended("t1", position=1))
    await house.store("r1", "t1", b"a.txt", b"for you")
    cookie = await opened(house)

    for path in ("/ui/runs/r1", "/ui/runs/r1/tasks/t1", "/ui/runs/r1/tasks/t1/files/a.txt", "/ui/runs/r1?since=0"):
        page = (await visit(house, path, cookie)).text
        assert "<form" not in page.replace('<form class="filters"', ""), path
        assert 'href="/ui/"' not in page, path
        assert "share:" not in page, path


async def test_a_link_is_good_as_a_bearer_token(house: House) -> None:
    await house.apply(ended())
    token = (await share(house))["url"].rpartition("/")[2]
    bearer = f"Bearer {token}"

    assert (await house.get("/runs/r1", None, authorization=bearer)).status_code == 200
    assert (await house.get("/runs/r9", None, authorization=bearer)).status_code == 404
    assert (await house.get("/runs", None, authorization=bearer)).status_code == 403
    assert (await house.post("/runs/r1/cancel", actor=None, authorization=bearer)).status_code == 403


async def test_who_is_logged_in_stays_who_they_are(house: House) -> None:
    await house.apply(ended(), ended(run_id="r2", owner="bob"))
    cookie = f"{await opened(house)}; {house.session('bob')}"

    assert (await visit(house, "/runs/r1", cookie)).status_code == 200
    assert (await visit(house, "/runs/r2", cookie)).status_code == 200
    assert [run["run_id"] for run in (await visit(house, "/runs", cookie)).json()["runs"]] == ["r2"]
    assert "bob" in (await visit(house, "/ui/runs/r1", cookie)).text


async def test_who_reads_by_a_link_alone_is_noted_with_it(house: House) -> None:
    await house.apply(ended(), ended(run_id="r2"))
    await put(house, "/runs/r2/visibility", {"visibility": "instance"})
    links = [await share(house, run) for run in ("r1", "r2")]
    cookie = None
    for link in links:
        opening = await visit(house, link["url"], cookie)
        cookie = opening.headers["set-cookie"].partition(";")[0]

    for also in ("", f"; {house.session('bob')}"):
        for run in ("r1", "r2"):
            assert (await visit(house, f"/runs/{run}", f"{cookie}{also}")).status_code == 200
    await house.looks.flush()

    rows = await house.rows("SELECT actor, run_id, credential FROM outputs.audit WHERE act = 'run.read' ORDER BY entry")
    first, second = (f"share:{link['share_id']}" for link in links)
    assert [tuple(row) for row in rows] == [
        (second, "r1", first),
        (second, "r2", second),
        ("bob", "r1", first),
        ("bob", "r2", "session"),
    ]


async def test_a_browser_keeps_several_links(house: House) -> None:
    await house.apply(ended(), ended(run_id="r2"), ended(run_id="r3"))
    first = await opened(house)

    second = await visit(house, (await share(house, "r2"))["url"], first)

    cookie = second.headers["set-cookie"].partition(";")[0]
    assert [(await visit(house, f"/runs/{run}", cookie)).status_code for run in ("r1", "r2", "r3")] == [200, 200, 404]


async def test_the_cookie_of_a_link_is_kept_from_scripts(house: House) -> None:
    await house.apply(ended())
    url = (await share(house))["url"]

    answer = await visit(house, url)

    assert answer.headers["location"] == "/ui/runs/r1"
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(answer.headers["set-cookie"].split("; "))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_over_tls_the_cookie_of_a_link_is_for_tls_and_this_host_alone(house: House) -> None:
    shares = Shares(house.parts.share_links, house.parts.access.directory, b"key", is_secure=True)
    await house.apply(ended())
    link = await house.parts.share_links.find((await share(house))["share_id"])
    assert link is not None

    cookie = shares.cookie(link, None, 0.0)

    assert cookie.startswith("__Host-scripthut_shares_")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert shares.in_cookies(cookie.partition(";")[0].encode()) == [link.share_id]


async def check_it_is_over(house: House, url: str, cookie: str) -> None:
    """The address, the cookie and the token are those of a run that nobody has."""
    token = url.rpartition("/")[2]
    assert (await visit(house, url)).status_code == 404
    assert "set-cookie" not in (await visit(house, url)).headers
    for path in ("", "/tasks/t0", "/archive", "/events", "/tasks/t0/outputs/file/a.txt", "/summary"):
        for headers in ({"cookie": cookie}, {"authorization": f"Bearer {token}"}):
            over = await house.get(f"/runs/r1{path}", None, **headers)
            missing = await house.get(f"/runs/r9{path}", None, **headers)
            assert (over.status_code, over.content) == (404, missing.content), path
            assert over.headers == missing.headers
    over, missing = await visit(house, "/ui/runs/r1", cookie), await visit(house, "/ui/runs/r9", cookie)
    assert (over.status_code, over.text.replace("r1", "r9")) == (404, missing.text)


async def test_a_link_that_was_taken_back_opens_nothing(house: House) -> None:
    house.cache.is_listening = True
    await house.apply(ended())
    await house.store("r1", "t0", b"a.txt", b"for you")
    made = await share(house)
    cookie = (await visit(house, made["url"])).headers["set-cookie"].partition(";")[0]
    assert (await visit(house, "/runs/r1", cookie)).status_code == 200

    left = await delete(house, f"/runs/r1/shares/{made['share_id']}")

    assert (left.status_code, left.json()) == (200, {"shares": []})
    await check_it_is_over(house, made["url"], cookie)
    assert (await acts(house))[-1] == ("share.revoked", "ada", "r1", made["share_id"])


async def test_a_link_that_is_too_old_opens_nothing(house: House) -> None:
    await house.apply(ended())
    made = await share(house)
    cookie = (await visit(house, made["url"])).headers["set-cookie"].partition(";")[0]
    async with house.database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE outputs.share_links SET expires_at = now() - interval '1 second'")

    await check_it_is_over(house, made["url"], cookie)
    assert (await house.get("/runs/r1/shares")).json() == {"shares": []}


async def test_a_link_is_worth_what_its_maker_may(house: House) -> None:
    house.policy = Policy(admins=("bob",))
    await house.apply(ended())
    made = await share(house, actor="bob")
    cookie = (await visit(house, made["url"])).headers["set-cookie"].partition(";")[0]
    assert (await visit(house, "/runs/r1", cookie)).status_code == 200

    house.policy = Policy()

    await check_it_is_over(house, made["url"], cookie)


async def test_a_link_of_somebody_who_is_gone_opens_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.apply(ended())
    made = await share(house)
    cookie = (await visit(house, made["url"])).headers["set-cookie"].partition(";")[0]
    monkeypatch.setattr("scripthut_outputs.access.watched._LOOK_AGAIN_S", 0.0)

    house.tokens_file.write_text(f"bob user {TOKENS['bob']}\n")

    await check_it_is_over(house, made["url"], cookie)


async def test_a_link_tells_how_long_it_is_good_and_its_address_once(house: House) -> None:
    await house.apply(ended())
    before = datetime.now(UTC)

    made, longer = await share(house, label="<b>"), await share(house, days=90)
    listed = (await house.get("/runs/r1/shares")).json()["shares"]

    assert made["label"] == "<b>"
    assert datetime.fromisoformat(made["expires_at"]) - before >= timedelta(days=7) - timedelta(minutes=1)
    assert datetime.fromisoformat(longer["expires_at"]) - before >= timedelta(days=90) - timedelta(minutes=1)
    assert [one["share_id"] for one in listed] == [longer["share_id"], made["share_id"]]
    assert all("url" not in one for one in listed)
    secret = made["url"].rpartition("/")[2].rpartition(".")[2]
    assert secret not in str(await house.rows("SELECT * FROM outputs.share_links"))
    assert secret not in str(await house.rows("SELECT * FROM outputs.audit"))


@pytest.mark.parametrize(
    "asked",
    [{"days": 0}, {"days": 91}, {"days": 1.5}, {"days": "7"}, {"label": "x" * 201}, {"label": "a\0"}, {"x": 1}, []],
)
async def test_a_link_is_not_made_of_what_cannot_be_read(house: House, asked: Any) -> None:
    await house.apply(ended())

    refused = await house.post("/runs/r1/shares", asked)

    assert refused.status_code == 422
    assert refused.json()["errors"]
    assert await house.rows("SELECT * FROM outputs.share_links") == []


async def test_a_link_of_one_run_is_not_taken_back_by_anothers_owner(house: House) -> None:
    await house.apply(ended(), ended(run_id="r2", owner="bob"))
    made = await share(house)

    for path in (f"/runs/r2/shares/{made['share_id']}", f"/runs/r1/shares/{made['share_id']}"):
        assert (await delete(house, path, "bob")).status_code == 404

    assert (await visit(house, made["url"])).status_code == 303


@pytest.mark.parametrize("change", [lambda url: url[:-1] + ("a" if url[-1] != "a" else "b"), lambda url: url + "x"])
async def test_an_address_that_was_tampered_with_opens_nothing(house: House, change: Any) -> None:
    await house.apply(ended())

    assert (await visit(house, change((await share(house))["url"]))).status_code == 404


async def test_neither_a_session_nor_a_link_of_another_installation_is_ours(house: House) -> None:
    await house.apply(ended())
    shares = house.parts.access.shares
    made = await share(house)
    session = house.session("ada").partition("=")[2]

    for forged in (session, shares.signed(made["share_id"]), f"{shares.signed('x')}", "", "!!", "a" * 5000):
        cookie = f"{shares.cookie_name}={forged}"
        assert (await visit(house, "/runs/r1", cookie)).status_code == 401
    assert (await visit(house, "/runs/r1", f"{house.sessions.cookie_name}={shares.signed('ada')}")).status_code == 401


async def test_a_run_has_no_more_links_than_a_page_can_list(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripthut_outputs.catalog.shares.MAX_OF_A_RUN", 2)
    await house.apply(ended())

    made = await asyncio.gather(*(house.post("/runs/r1/shares", {}) for _ in range(5)))

    assert sorted(answer.status_code for answer in made) == [201, 201, 413, 413, 413]


async def form(house: House, path: str, actor: str = "ada", **fields: str) -> httpx.Response:
    cookie = house.session(actor)
    async with house.client(None, cookie=cookie, origin=ORIGIN) as client:
        return await client.post(path, data=fields)


async def test_the_page_opens_a_run_without_a_script(house: House) -> None:
    house.policy = LATTICE
    await house.apply(item())

    answer = await form(house, "/ui/runs/r1/visibility", visibility="group:lattice")

    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/runs/r1")
    page = (await house.get("/ui/runs/r1")).text
    assert '<option value="group:lattice" selected>' in page
    assert "open to" in page
    for wrong in ("group:other", "", "group", "x"):
        assert (await form(house, "/ui/runs/r1/visibility", visibility=wrong)).status_code == 422


async def test_the_page_shows_a_link_once_and_takes_it_back(house: House) -> None:
    await house.apply(item())

    made = await form(house, "/ui/runs/r1/shares", label="<i>referee", days="3")
    page = (await house.get("/ui/runs/r1")).text

    assert made.status_code == 200
    assert made.headers["cache-control"] == "no-store"
    assert f"{ORIGIN}/share/shs_" in made.text
    assert "<i>" not in made.text + page
    assert "&lt;i&gt;referee" in page
    assert "shs_" not in page
    ((share_id,),) = await house.rows("SELECT share_id FROM outputs.share_links")
    assert (await form(house, f"/ui/runs/r1/shares/{share_id}/revoke")).status_code == 303
    assert "referee" not in (await house.get("/ui/runs/r1")).text
    for wrong in ("0", "91", "x", "1.5"):
        assert (await form(house, "/ui/runs/r1/shares", days=wrong)).status_code == 422


async def test_only_who_may_share_sees_the_panel(house: House) -> None:
    house.cache.is_listening = True
    house.policy = LATTICE
    await house.apply(item())
    await put(house, "/runs/r1/visibility", {"visibility": "instance"})

    for _ in range(2):
        seen = {actor: 'id="sharing"' in (await house.get("/ui/runs/r1", actor)).text for actor in TOKENS}
        assert seen == {"ada": True, "bob": False, "root": True}
        assert "/pin" not in (await house.get("/ui/runs/r1", "bob")).text
