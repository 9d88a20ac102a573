"""Runs on clusters whose jobs run as their owners: who has an account there, and who is refused."""

import pytest
from sqlalchemy.dialects.postgresql import insert

from scripthut_common import events
from scripthut_common.events import RunRequested
from scripthut_outputs.tables import IDENTITIES
from tests.integration.outputs.house import House, document


async def accounts(house: House) -> list[tuple[str, str | None]]:
    """As whom the poller was asked to run what, by run."""
    rows = await house.rows("SELECT body FROM outputs.outbox ORDER BY number")
    told = [events.decode(bytes(row.body)) for row in rows]
    return [(one.data.run_id, one.data.account) for one in told if one and isinstance(one.data, RunRequested)]


async def vouch(house: House, name: str, account: str | None) -> None:
    """Let a provider have vouched for somebody."""
    async with house.database.transaction() as connection:
        row = {"name": name, "issuer": "https://id.example.org", "subject": name, "account": account}
        await connection.execute(insert(IDENTITIES).values(row))


async def test_a_run_names_the_account_of_its_owner(house: House) -> None:
    await vouch(house, "bob", "bobby")

    answers = [
        await house.post("/runs", document(run_id="r1", cluster="same"), "bob"),
        await house.post("/runs", document(run_id="r2", cluster="table"), "ada"),
        await house.post("/runs", document(run_id="r3", cluster="claim"), "bob"),
        await house.post("/runs", document(run_id="r4", cluster="daint"), "bob"),
    ]

    assert [answer.status_code for answer in answers] == [201] * 4
    assert await accounts(house) == [("r1", "bob"), ("r2", "lovelace"), ("r3", "bobby"), ("r4", None)]
    rows = await house.rows("SELECT account FROM outputs.runs ORDER BY run_id")
    assert [row.account for row in rows] == ["bob", "lovelace", "bobby", None]


@pytest.mark.parametrize(
    ("who", "cluster", "reason"),
    [
        ("bob", "table", "ask the operator to add you to the table of accounts"),
        ("bob", "claim", "whoever vouches for you names none"),
        ("root", "same", "your name here is not one that an account of a person can have"),
    ],
)
async def test_who_has_no_account_there_is_refused_with_the_reason(
    house: House, who: str, cluster: str, reason: str
) -> None:
    answer = await house.post("/runs", document(run_id="r1", cluster=cluster), who)

    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert reason in answer.json()["detail"]
    assert await accounts(house) == []
    assert await house.rows("SELECT 1 FROM outputs.runs") == []


@pytest.mark.parametrize("claimed", ["root", "-u", "a;b", "ada\nroot", "", "slurm", "x" * 33, "../ada", "ada "])
async def test_a_claim_that_is_no_account_of_a_person_is_refused(house: House, claimed: str) -> None:
    await vouch(house, "ada", claimed)

    answer = await house.post("/runs", document(run_id="r1", cluster="claim"), "ada")

    assert answer.status_code == 403
    assert await accounts(house) == []


@pytest.mark.parametrize(("who", "cluster"), [("root", "table"), ("ada", "claim")])
async def test_whose_account_would_be_the_services_own_is_refused(house: House, who: str, cluster: str) -> None:
    await vouch(house, "ada", "outputs")

    answer = await house.post("/runs", document(run_id="r1", cluster=cluster), who)

    assert answer.status_code == 403
    assert "outputs is the service's own, as which nobody's jobs run" in answer.json()["detail"]
    assert await accounts(house) == []
