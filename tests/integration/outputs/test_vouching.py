"""Who somebody is by the word of others: whose a name is, which word counts, and who hears of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.errors import Conflict, NotFound
from scripthut_outputs.access import Role
from scripthut_outputs.access.policy import PROXY, Oidc, Policy, Proxy
from scripthut_outputs.catalog.applying import Applying
from scripthut_outputs.catalog.auditing import Act
from scripthut_outputs.catalog.identities import Identities, Vouched
from scripthut_outputs.tables import ACCESS_TOKENS
from tests.integration.outputs.house import House, item, said

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ISSUER = "https://login.example.org"


def word(name: str = "grace", subject: str | None = "u1", *, after_s: float = 0, **said: Any) -> Vouched:
    issuer = PROXY if subject is None else ISSUER
    return Vouched(name=name, issuer=issuer, subject=subject, at=NOW + timedelta(seconds=after_s), **said)


async def vouch(house: House, *words: Vouched) -> None:
    for one in words:
        await Identities(house.database, house.cache).vouch(one, credential="oidc", address="192.0.2.1")


async def kept(house: House, columns: str = "name, subject") -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await house.rows(f"SELECT {columns} FROM outputs.identities ORDER BY name")]


async def test_of_many_who_come_first_at_once_one_has_the_name(house: House) -> None:
    words = [word(subject=f"u{number}") for number in range(8)]

    ended = await asyncio.gather(*(vouch(house, said) for said in words), return_exceptions=True)

    assert sum(one is None for one in ended) == 1
    assert sum(isinstance(one, Conflict) for one in ended) == 7
    assert len(await kept(house)) == 1
    assert len(await house.rows("SELECT * FROM outputs.audit WHERE act = 'login.refused'")) == 7


async def test_of_many_names_of_one_subject_one_is_theirs(house: House) -> None:
    ended = await asyncio.gather(
        *(vouch(house, word(f"grace-{number}")) for number in range(8)), return_exceptions=True
    )

    assert sum(one is None for one in ended) == 1
    assert len(await kept(house)) == 1


async def test_a_name_without_a_subject_is_bound_by_the_first_who_has_one(house: House) -> None:
    await vouch(house, word("ada", None), word("grace", None), word("grace", "u1"), word("grace", None))

    assert await kept(house) == [("ada", None), ("grace", "u1")]
    with pytest.raises(Conflict):
        await vouch(house, word("grace", "u2"))
    await vouch(house, word("ada", None, groups=frozenset({"lattice"}), after_s=1))
    assert await kept(house, "name, groups") == [("ada", ["lattice"]), ("grace", [])]


async def test_the_newest_word_counts_and_silence_changes_nothing(house: House) -> None:
    await vouch(
        house,
        word(groups=frozenset({"a"}), account="g", after_s=10),
        word(groups=frozenset({"b"}), account="h", after_s=5),
        word(after_s=20),
        word(account=None, after_s=15),
    )

    assert await kept(house, "groups, account, seen_at") == [(["a"], "g", NOW + timedelta(seconds=20))]
    await vouch(house, word(account=None, after_s=30))
    assert await kept(house, "account") == [(None,)]


async def test_a_refusal_says_in_the_log_who_and_from_where(house: House) -> None:
    await vouch(house, word())

    for _ in range(3):
        identities = Identities(house.database, house.cache)
        for _ in range(2):
            with pytest.raises(Conflict, match="'grace' is somebody else's here"):
                await identities.vouch(word(subject="u2"), credential="oidc", address="192.0.2.1")

    rows = await house.rows("SELECT actor, credential, address, details FROM outputs.audit")
    assert len(rows) == 3
    assert (rows[0].actor, rows[0].credential, rows[0].address) == ("grace", "oidc", "192.0.2.1")
    assert (rows[0].details["subject"], rows[0].details["issuer"]) == ("u2", "https://login.example.org")


async def test_who_was_unknown_a_moment_ago_is_known_at_once(house: House, tmp_path: Path) -> None:
    house.cache.begin()
    secret = "a secret that the proxy shares with us"
    (tmp_path / "secret").write_text(secret)
    proxy = Proxy(
        addresses=("127.0.0.1/32",),
        secret_file=str(tmp_path / "secret"),
        groups_header="x-groups",
        admin_groups=("wheel",),
    )
    house.policy = Policy(proxy=proxy)
    shown = {"x-forwarded-user": "grace", "x-scripthut-proxy-secret": secret}

    assert (await house.get("/runs", None, **shown)).status_code == 200
    assert (await house.get("/metrics", None, **shown, **{"x-groups": "wheel"})).status_code == 200
    assert (await house.get("/metrics", None, **shown)).status_code == 403


async def test_who_comes_in_gets_the_runs_that_waited_for_their_account(house: House) -> None:
    clusters = {"daint": Cluster(name="daint", scheduler=SchedulerKind.SLURM, accounts="claim")}
    await Applying(house.database, clusters).apply(said(item("t0", owner="gh12", account="gh12")))
    before = await house.rows("SELECT owner FROM outputs.runs")

    await Identities(house.database, house.cache, clusters).vouch(word(account="gh12"), credential="oidc")

    assert [row.owner for row in before] == ["daint:gh12"]
    assert [row.owner for row in await house.rows("SELECT owner FROM outputs.runs")] == ["grace"]
    assert await noted(house) == [
        ("identity.changed", {"changed": ["account"]}),
        ("run.owner", {"count": 1, "accounts": ["daint:gh12"]}),
    ]


async def test_a_name_that_was_unbound_keeps_nothing_of_whoever_had_it(house: House) -> None:
    await vouch(house, word(groups=frozenset({"wheel"}), account="gh"))
    expires_at = datetime(2100, 1, 1, tzinfo=UTC)
    made = {"owner": "grace", "label": "", "scopes": ["read"], "expires_at": expires_at}
    async with house.database.transaction() as connection:
        await connection.execute(insert(ACCESS_TOKENS).values(token_id="t", token_sha256=b"t", **made))

    act = Act(act="identity.unbound", actor="root", credential="command", target="grace")
    await Identities(house.database, house.cache).unbind("grace", act)
    await vouch(house, word(subject="u2", after_s=60))

    assert await kept(house, "subject, groups, account") == [("u2", [], None)]
    assert await house.rows("SELECT 1 FROM outputs.access_tokens WHERE revoked_at IS NULL") == []
    written = await house.rows("SELECT act FROM outputs.audit ORDER BY entry")
    assert [row.act for row in written] == ["identity.changed", "identity.unbound"]
    with pytest.raises(NotFound):
        await Identities(house.database, house.cache).unbind("nobody", act)


async def test_nobody_comes_in_by_a_name_of_the_tokens_file_unless_the_access_file_says_so(house: House) -> None:
    identities = house.parts.access.identities

    with pytest.raises(Conflict, match="stands in the tokens file"):
        await identities.vouch(word("root"), credential="oidc")
    assert await kept(house) == []

    house.policy = Policy(trusts_listed_names=True)
    await identities.vouch(word("root", after_s=120, subject="u3"), credential="oidc")
    assert await kept(house) == [("root", "u3")]


async def test_admins_are_those_whose_group_the_access_file_names_now(house: House) -> None:
    await vouch(house, word(groups=frozenset({"wheel"})))
    directory = house.parts.access.directory

    roles = []
    for admin_groups in (("wheel",), (), None):
        oidc = None if admin_groups is None else Oidc(issuer=ISSUER, client_id="c", admin_groups=admin_groups)
        house.policy = Policy(oidc=oidc)
        actor = await directory.actor("grace", credential="session")
        assert actor is not None
        roles.append((actor.role, actor.groups))

    assert roles == [
        (Role.ADMIN, frozenset({"wheel"})),
        (Role.USER, frozenset({"wheel"})),
        (Role.USER, frozenset()),
    ]


async def noted(house: House) -> list[tuple[str, Any]]:
    rows = await house.rows("SELECT act, actor, credential, details FROM outputs.audit ORDER BY entry")
    assert {(row.actor, row.credential) for row in rows} <= {("grace", "oidc")}
    return [(row.act, row.details) for row in rows]


async def test_what_changes_of_somebody_is_written_and_what_does_not_is_not(house: House) -> None:
    await vouch(house, word(), word(after_s=1))
    assert await noted(house) == []

    await vouch(house, word(groups=frozenset({"a"}), account="g", after_s=2))
    await vouch(house, word(groups=frozenset({"a"}), account="g", after_s=3))
    await vouch(house, word(groups=frozenset({"b"}), account="g", after_s=4))
    await vouch(house, word(groups=frozenset({"a"}), after_s=1))

    assert await noted(house) == [
        ("identity.changed", {"changed": ["groups", "account"]}),
        ("identity.changed", {"changed": ["groups"]}),
    ]
    rows = await house.rows("SELECT DISTINCT address FROM outputs.audit")
    assert [row.address for row in rows] == ["192.0.2.1"]


async def test_what_cannot_be_written_gives_nobody_rights(house: House) -> None:
    async with house.database.transaction() as connection:
        await connection.execute(text("ALTER TABLE outputs.audit ADD CONSTRAINT full_up CHECK (act = '')"))
    try:
        with pytest.raises(DBAPIError):
            await vouch(house, word(groups=frozenset({"wheel"})))
        assert await kept(house) == []
    finally:
        async with house.database.transaction() as connection:
            await connection.execute(text("ALTER TABLE outputs.audit DROP CONSTRAINT full_up"))
