"""Sessions in browsers: begun by those who may all, ended everywhere at once, and what is written of it."""

import asyncio

import pytest

from scripthut_outputs.access.policy import Policy
from tests.integration.outputs.house import ORIGIN, TOKENS, House


def cookie(house: House, actor: str = "ada") -> str:
    return house.session(actor)


async def end(house: House, session: str) -> None:
    async with house.client(None, cookie=session, origin=ORIGIN) as client:
        answer = await client.post("/ui/sessions/end")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in answer.headers["set-cookie"]


async def test_signing_out_everywhere_ends_every_session_and_no_token(house: House) -> None:
    house.cache.begin()
    here, there, bobs = cookie(house), cookie(house), cookie(house, "bob")
    for session in (here, there, bobs):
        assert (await house.get("/runs", None, cookie=session)).status_code == 200

    await end(house, here)

    statuses = [(await house.get("/runs", None, cookie=session)).status_code for session in (here, there, bobs)]
    assert statuses == [401, 401, 200]
    assert (await house.get("/runs", "ada")).status_code == 200


async def test_who_signs_in_right_after_is_in(house: House) -> None:
    await end(house, cookie(house))

    assert (await house.get("/runs", None, cookie=cookie(house))).status_code == 200


async def test_who_is_taken_from_the_tokens_file_is_out_even_after_that(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await end(house, cookie(house))
    again = cookie(house)
    monkeypatch.setattr("scripthut_outputs.access.watched._LOOK_AGAIN_S", 0.0)

    house.tokens_file.write_text(f"bob user {TOKENS['bob']}\n")

    assert (await house.get("/runs", None, cookie=again)).status_code == 401


async def test_many_who_sign_out_at_once_all_are(house: House) -> None:
    sessions = [cookie(house) for _ in range(5)]

    async def sign_out(session: str) -> None:
        async with house.client(None, cookie=session, origin=ORIGIN) as client:
            answer = await client.post("/ui/sessions/end")
        # Whoever comes a moment later is out already, and asked to sign in.
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login")

    async with asyncio.TaskGroup() as group:
        for session in sessions[:2]:
            group.create_task(sign_out(session))

    for session in sessions:
        assert (await house.get("/runs", None, cookie=session)).status_code == 401


async def test_a_personal_token_begins_no_session(house: House) -> None:
    made = (await house.post("/tokens", {"label": "x", "scopes": ["read"]})).json()

    async with house.client(None, origin=ORIGIN) as client:
        answer = await client.post("/login", data={"token": made["token"]})

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert "for programs" in answer.text


async def test_a_token_that_ended_is_told_so_in_the_form(house: House) -> None:
    made = (await house.post("/tokens", {"label": "x", "scopes": ["read"]})).json()
    async with house.client("ada") as client:
        await client.delete(f"/tokens/{made['token_id']}")

    async with house.client(None, origin=ORIGIN) as client:
        answer = await client.post("/login", data={"token": made["token"]})

    assert answer.status_code == 403
    assert "This token was revoked on" in answer.text


async def test_who_comes_in_and_who_does_not_is_written(house: House) -> None:
    code = await house.login_codes.issue("bob", minutes=5)
    async with house.client(None, origin=ORIGIN) as client:
        await client.post("/login", data={"token": "a-wrong-one"})
        await client.post("/login", data={"token": TOKENS["ada"]})
        await client.get("/login", params={"code": code})
        await client.get("/login", params={"code": code})
    await end(house, cookie(house))

    acts = await house.rows("SELECT act, actor, credential, address, details FROM outputs.audit ORDER BY entry")

    assert [(one.act, one.actor, one.credential, (one.details or {}).get("shown")) for one in acts] == [
        ("login.refused", None, None, "form"),
        ("login", "ada", "file", None),
        ("login", "bob", "code", None),
        ("login.refused", None, None, "code"),
        ("sessions.ended", "ada", "session", None),
    ]
    assert {one.address for one in acts} == {"127.0.0.1"}
    assert "a-wrong-one" not in str(acts)


LEAKED, FRESH = TOKENS["ada"], "a-fresh-token-of-ada-0123456789"


async def by_form(house: House, token: str) -> str:
    async with house.client(None, origin=ORIGIN) as client:
        answer = await client.post("/login", data={"token": token})
    return answer.headers["set-cookie"].partition(";")[0]


async def by_link(house: House, actor: str = "ada") -> str:
    answer = await house.get(f"/login?code={await house.login_codes.issue(actor, minutes=5)}", None)
    return answer.headers["set-cookie"].partition(";")[0]


async def is_good(house: House, session: str) -> bool:
    return (await house.get("/runs", None, cookie=session)).status_code == 200


def write(house: House, *lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripthut_outputs.access.watched._LOOK_AGAIN_S", 0.0)
    house.tokens_file.write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("begun", ["form", "link"])
async def test_a_session_ends_when_the_token_that_began_it_is_replaced(
    house: House, monkeypatch: pytest.MonkeyPatch, begun: str
) -> None:
    session = await (by_form(house, LEAKED) if begun == "form" else by_link(house))
    other = await by_form(house, TOKENS["bob"])
    assert await is_good(house, session)

    write(house, f"bob user {TOKENS['bob']}", f"ada user {FRESH}", monkeypatch=monkeypatch)

    assert not await is_good(house, session)
    assert await is_good(house, other)
    assert await is_good(house, await by_form(house, FRESH))
    assert await is_good(house, await by_link(house))


async def test_of_two_lines_of_one_person_each_ends_its_own_sessions(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(house, f"ada user {FRESH}", f"ada user {LEAKED}", monkeypatch=monkeypatch)
    leaked, fresh = await by_form(house, LEAKED), await by_form(house, FRESH)
    assert await is_good(house, leaked)

    write(house, f"ada user {FRESH}", monkeypatch=monkeypatch)

    assert not await is_good(house, leaked)
    assert await is_good(house, fresh)


async def test_a_line_with_another_role_and_the_same_token_keeps_its_sessions(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await by_form(house, LEAKED)

    write(house, "# moved", f"ada admin {LEAKED}", monkeypatch=monkeypatch)

    assert (await house.get("/metrics", None, cookie=session)).status_code == 200


async def test_a_session_for_which_somebody_else_vouches_ends_with_no_line(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.policy = Policy(trusts_listed_names=True)
    session = house.sessions.cookie("ada").partition(";")[0]

    write(house, f"ada user {FRESH}", monkeypatch=monkeypatch)

    assert await is_good(house, session)


async def test_a_session_of_a_name_that_came_into_the_tokens_file_later_is_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = "INSERT INTO outputs.identities (name, issuer, subject) VALUES ('max', 'https://login.example.org', 'u1')"
    await house.rows(f"{row} RETURNING name")
    session = house.sessions.cookie("max").partition(";")[0]
    assert await is_good(house, session)

    write(house, f"max admin {FRESH}", monkeypatch=monkeypatch)

    assert not await is_good(house, session)


async def test_a_link_for_a_line_that_is_gone_begins_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    code = await house.login_codes.issue("ada", minutes=5)
    write(house, f"bob user {TOKENS['bob']}", monkeypatch=monkeypatch)

    answer = await house.get(f"/login?code={code}", None)

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
