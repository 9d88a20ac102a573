"""Personal tokens over HTTP: made, shown once, listed, used, expired, revoked; by their owner and by admins."""

import asyncio
import re
from datetime import datetime
from typing import Any

import httpx
import pytest

from scripthut_outputs.access import Scope
from scripthut_outputs.catalog.changes import ACCESS, Listener
from tests.eventually import eventually
from tests.integration.outputs.house import House, document, ended

ALL = [scope.value for scope in Scope]


async def make(house: House, actor: str | None = "ada", **asked: Any) -> dict[str, Any]:
    """Make a token as somebody; gives what the service says of it."""
    answer = await house.post("/tokens", {"label": "ci", "scopes": ["read"]} | asked, actor)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def bearing(house: House, token: str, method: str, path: str, body: Any = None) -> httpx.Response:
    """Ask with a token."""
    async with house.client(None, authorization=f"Bearer {token}") as client:
        return await client.request(method, path, json=body)


async def age(house: House, *, days: float) -> None:
    """Let all tokens be older than they are."""
    await house.rows(
        f"UPDATE outputs.access_tokens SET expires_at = expires_at - interval '{days} days' RETURNING token_id"
    )
    house.cache.clear()


async def test_a_token_is_shown_once_and_says_who_asks(house: House) -> None:
    await house.apply(ended())

    made = await make(house)

    assert re.fullmatch(r"sho_[A-Za-z0-9_-]{64}", made["token"])
    assert (await bearing(house, made["token"], "GET", "/runs/r1")).status_code == 200
    listed = (await house.get("/tokens")).json()["tokens"]
    assert [one["token_id"] for one in listed] == [made["token_id"]]
    assert "token" not in listed[0]
    assert made["token"] not in str(await house.rows("SELECT * FROM outputs.access_tokens"))


async def test_the_answer_that_shows_it_is_kept_by_nobody(house: House) -> None:
    answer = await house.post("/tokens", {"label": "ci", "scopes": ["read"]})

    assert answer.headers["cache-control"] == "no-store"


async def test_a_token_always_ends(house: House) -> None:
    made = await make(house)

    lasts = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert lasts.days == 30
    assert (await house.post("/tokens", {"label": "x", "scopes": ["read"], "days": None})).status_code == 201


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"days": 90.1}, "days"),
        ({"days": 0}, "days"),
        ({"days": -1}, "days"),
        ({"scopes": []}, "scopes"),
        ({"label": ""}, "label"),
        ({"label": "   "}, "label"),
        ({"label": "x" * 101}, "label"),
        ({"label": "two\nlines"}, "label"),
        ({"label": "\x1b[31mred"}, "label"),
        ({"label": "\u202egnp"}, "label"),
        ({"label": "\x00"}, "label"),
        ({"scopes": ["everything"]}, ""),
        ({"days": "1e400"}, ""),
        ({"owner": "root"}, ""),
    ],
)
async def test_what_cannot_be_made_is_refused_by_field(house: House, asked: dict[str, Any], field: str) -> None:
    answer = await house.post("/tokens", {"label": "ci", "scopes": ["read"]} | asked)

    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert await house.rows("SELECT * FROM outputs.access_tokens") == []


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[]", b"\xff", b'{"label":"x","scopes":["read"],"days":NaN}', b"[" * 60_000]
)
async def test_what_is_no_document_is_refused(house: House, body: bytes) -> None:
    assert (await house.post("/tokens", body)).status_code == 422


@pytest.mark.parametrize("scope", ALL)
async def test_a_token_is_good_for_its_scopes_alone(house: House, scope: str) -> None:
    await house.apply(ended())
    token = (await make(house, scopes=[scope]))["token"]

    answers = {
        "read": await bearing(house, token, "GET", "/runs"),
        "collect": await bearing(house, token, "POST", "/runs/r1/outputs/collect"),
        "submit": await bearing(house, token, "POST", "/runs", document(run_id="r2")),
        "admin": await bearing(house, token, "GET", "/tokens"),
    }

    assert {name for name, answer in answers.items() if answer.is_success} == {scope}


async def test_a_token_makes_none_that_may_more_than_itself(house: House) -> None:
    token = (await make(house, scopes=["admin", "read"]))["token"]

    more = await bearing(house, token, "POST", "/tokens", {"label": "x", "scopes": ["read", "submit"]})
    same = await bearing(house, token, "POST", "/tokens", {"label": "y", "scopes": ["read", "admin"]})

    assert more.status_code == 403
    assert "submit" in more.json()["detail"]
    assert same.status_code == 201
    assert [row.label for row in await house.rows("SELECT label FROM outputs.access_tokens")] == ["ci", "y"]


async def test_without_the_scope_for_it_nobody_lists_makes_or_revokes(house: House) -> None:
    made = await make(house, scopes=["read", "collect", "submit"])
    token = made["token"]

    assert (await bearing(house, token, "GET", "/tokens")).status_code == 403
    assert (await bearing(house, token, "GET", "/ui/tokens")).status_code == 403
    assert (await bearing(house, token, "POST", "/tokens", {"label": "x", "scopes": ["read"]})).status_code == 403
    assert (await bearing(house, token, "DELETE", f"/tokens/{made['token_id']}")).status_code == 403
    assert (await bearing(house, token, "POST", "/ui/sessions/end")).status_code == 403


async def test_a_revoked_token_is_told_so_in_every_process(house: House) -> None:
    made = await make(house)
    house.cache.begin()
    assert (await bearing(house, made["token"], "GET", "/runs")).status_code == 200

    async with house.client("ada") as client:
        revoked = await client.delete(f"/tokens/{made['token_id']}")
    answer = await bearing(house, made["token"], "GET", "/runs")

    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    assert answer.status_code == 401
    assert "revoked on" in answer.json()["detail"]


async def test_an_expired_token_is_told_so(house: House) -> None:
    made = await make(house, days=1)
    await age(house, days=1)

    answer = await bearing(house, made["token"], "GET", "/runs")

    assert answer.status_code == 401
    assert "expired on" in answer.json()["detail"]
    assert (await house.get("/tokens")).json()["tokens"][0]["state"] == "expired"


async def test_a_token_ends_with_its_owner(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await make(house, "bob")
    monkeypatch.setattr("scripthut_outputs.access.watched._LOOK_AGAIN_S", 0.0)

    house.tokens_file.write_text(f"ada user {'x' * 30}\n")
    answer = await bearing(house, made["token"], "GET", "/runs")

    assert answer.status_code == 401
    assert "no longer" in answer.json()["detail"]


async def test_an_admins_token_without_the_scope_is_no_admins(house: House) -> None:
    await house.apply(ended())
    token = (await make(house, "root", scopes=["read"]))["token"]

    assert (await bearing(house, token, "GET", "/runs/r1")).status_code == 200
    assert (await bearing(house, token, "GET", "/metrics")).status_code == 403
    assert (await bearing(house, token, "GET", "/tokens?owner=ada")).status_code == 403


async def test_other_peoples_tokens_are_none(house: House) -> None:
    made = await make(house, "ada")

    assert (await house.get("/tokens", "bob")).json()["tokens"] == []
    assert (await house.get("/tokens?owner=ada", "bob")).status_code == 403
    assert (await house.get("/ui/tokens?owner=ada", "bob")).status_code == 403
    async with house.client("bob") as client:
        theirs = await client.delete(f"/tokens/{made['token_id']}")
        nobodys = await client.delete("/tokens/0123456789abcdef")
        hostile = await client.delete("/tokens/%00'%3B--")
    assert theirs.status_code == nobodys.status_code == hostile.status_code == 404
    assert theirs.content == nobodys.content == hostile.content
    assert (await bearing(house, made["token"], "GET", "/runs")).status_code == 200


async def test_admins_list_and_revoke_everybodys(house: House) -> None:
    made = await make(house, "ada")

    listed = (await house.get("/tokens?owner=ada", "root")).json()["tokens"]
    async with house.client("root") as client:
        revoked = await client.delete(f"/tokens/{made['token_id']}")

    assert [one["token_id"] for one in listed] == [made["token_id"]]
    assert revoked.status_code == 200
    assert (await bearing(house, made["token"], "GET", "/runs")).status_code == 401


async def test_a_list_comes_in_pages(house: House) -> None:
    ids = [(await make(house, label=f"t{number}"))["token_id"] for number in range(5)]

    seen: list[str] = []
    path = "/tokens?limit=2"
    while path:
        page = (await house.get(path)).json()
        seen += [one["token_id"] for one in page["tokens"]]
        path = page["next"] and f"/tokens?limit=2&cursor={page['next']}"

    assert seen == ids[::-1]
    assert (await house.get("/tokens?cursor=nonsense")).status_code == 422


async def test_one_person_has_so_many_and_no_more(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripthut_outputs.catalog.access_tokens.MAX_GOOD", 2)
    monkeypatch.setattr("scripthut_outputs.catalog.access_tokens._KEPT_ENDED", 1)
    first, second = await make(house), await make(house)

    full = await house.post("/tokens", {"label": "ci", "scopes": ["read"]})
    others = await house.post("/tokens", {"label": "ci", "scopes": ["read"]}, "bob")
    async with house.client("ada") as client:
        for made in (first, second):
            await client.delete(f"/tokens/{made['token_id']}")
    await make(house)

    assert (full.status_code, others.status_code) == (409, 201)
    assert "revoke one" in full.json()["detail"]
    states = [one["state"] for one in (await house.get("/tokens")).json()["tokens"]]
    assert states == ["good", "revoked"]
    gone = await bearing(house, first["token"], "GET", "/runs")
    assert (gone.status_code, "no longer known" in gone.json()["detail"]) == (401, True)


class Heard:
    """What every process is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def begin(self) -> None:
        self.told.append("begin")

    def hear(self, run_id: str) -> None:
        self.told.append(run_id)

    def end(self) -> None:
        pass


async def test_use_is_noted_once_a_minute_and_wakes_nobody(house: House) -> None:
    heard = Heard()
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(Listener(house.database, heard).step())
        await eventually(lambda: heard.told == ["begin"])
        made = await make(house)
        for _ in range(3):
            await bearing(house, made["token"], "GET", "/runs")
        used_at = (await house.get("/tokens")).json()["tokens"][0]["used_at"]
        await bearing(house, made["token"], "GET", "/runs")
        await house.apply(ended())
        await eventually(lambda: "r1" in heard.told)
        listening.cancel()

    assert used_at is not None
    assert (await house.get("/tokens")).json()["tokens"][0]["used_at"] == used_at
    assert heard.told == ["begin", ACCESS, "r1"]


async def test_what_is_done_with_tokens_is_in_the_audit_log(house: House) -> None:
    made = await make(house, label="nightly")
    async with house.client("root") as client:
        await client.delete(f"/tokens/{made['token_id']}")

    acts = await house.rows("SELECT * FROM outputs.audit ORDER BY entry")

    assert [(one.act, one.actor, one.credential, one.target) for one in acts] == [
        ("token.created", "ada", "file", made["token_id"]),
        ("token.revoked", "root", "file", made["token_id"]),
    ]
    assert acts[0].details == {"label": "nightly", "scopes": ["read"], "days": 30.0}
    assert acts[0].address == "127.0.0.1"
    assert made["token"] not in str(acts)


async def test_a_token_of_another_installation_is_refused_without_a_query(house: House) -> None:
    other = "sho_" + "A" * 64
    await house.database.close()

    answer = await bearing(house, other, "GET", "/runs")

    assert answer.status_code == 401
    assert "not made here" in answer.json()["detail"]
