"""Personal tokens in a terminal: made, listed, used, revoked."""

import re
from typing import Any

import pytest

from tests.integration.outputs.client.terminal import Terminal
from tests.integration.outputs.house import House


async def test_a_token_is_the_only_thing_on_standard_output_and_is_good_at_once(terminal: Terminal) -> None:
    made = await terminal.run("tokens", "create", "nightly plots", "--scope", "read", "--days", "7")

    assert made.code == 0
    assert re.fullmatch(r"sho_[A-Za-z0-9_-]{64}\n", made.out)
    assert made.out.strip() not in made.err
    assert (await terminal.run("runs", actor=None, SCRIPTHUT_TOKEN=made.out.strip())).code == 0
    listed = await terminal.run("tokens", "list")
    assert "nightly plots" in listed.out
    assert made.out.strip() not in listed.out


async def test_json_tells_all_of_a_token(terminal: Terminal) -> None:
    made = (await terminal.run("tokens", "create", "x", "--scope", "submit", "--scope", "read", "--json")).json

    assert made["scopes"] == ["read", "submit"]
    listed = (await terminal.run("tokens", "list", "--json")).json
    assert [one["token_id"] for one in listed["tokens"]] == [made["token_id"]]


async def test_a_revoked_token_is_told_so(terminal: Terminal) -> None:
    made = (await terminal.run("tokens", "create", "x", "--scope", "read", "--json")).json

    revoked = await terminal.run("tokens", "revoke", made["token_id"])
    refused = await terminal.run("runs", actor=None, SCRIPTHUT_TOKEN=made["token"])

    assert (revoked.code, refused.code) == (0, 6)
    assert made["token_id"] in revoked.out
    assert "this token was revoked on" in refused.err
    assert made["token"] not in refused.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("create", "x", "--scope", "read", "--days", "91"), 1, "at most 90"),
        (("create", "", "--scope", "read"), 1, "printable characters"),
        (("create", "x"), 2, "--scope"),
        (("create", "x", "--scope", "everything"), 2, "everything"),
        (("create", "x", "--scope", "read", "--days", "0"), 2, "must be from"),
        (("revoke", "0123456789abcdef"), 6, "no such thing"),
        (("revoke", "../runs"), 6, "no such thing"),
        (("list", "--owner", "bob"), 6, "only admins"),
    ],
)
async def test_what_cannot_be_done_is_said(
    terminal: Terminal, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = await terminal.run("tokens", *arguments)

    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err


async def test_admins_see_and_revoke_those_of_others(house: House, terminal: Terminal) -> None:
    answer: Any = await house.post("/tokens", {"label": "hers", "scopes": ["read"]})

    listed = await terminal.run("tokens", "list", "--owner", "ada", actor="root")
    revoked = await terminal.run("tokens", "revoke", answer.json()["token_id"], actor="root")

    assert "hers" in listed.out
    assert "of ada" in revoked.out


async def test_nothing_is_listed_where_there_is_nothing(terminal: Terminal) -> None:
    listed = await terminal.run("tokens", "list")

    assert (listed.code, listed.out) == (0, "")
    assert "no tokens" in listed.err
