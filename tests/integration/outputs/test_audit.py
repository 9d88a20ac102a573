"""The audit log: who saw or changed what, from where; nothing of it is changed, nothing of it is missing."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from scripthut_common.database import Database
from scripthut_common.errors import DatabaseUnavailable
from scripthut_outputs import app
from scripthut_outputs.access.addresses import Addresses
from scripthut_outputs.catalog.auditing import Act, Asked, Audit
from scripthut_outputs.catalog.looks import Looks
from scripthut_outputs.commands import main
from scripthut_outputs.controllers.noting import Noting
from tests.integration.outputs.house import House, document, ended
from tests.testbed.ports import reserve_port

HOSTILE = "\x1b[31m\u202e<script>alert(1)</script>\0"


async def log(house: House) -> list[tuple[Any, ...]]:
    """Everything in it, oldest first, after what waits was written."""
    await house.looks.flush()
    rows = await house.rows("SELECT act, actor, run_id, target FROM outputs.audit ORDER BY entry")
    return [tuple(row) for row in rows]


def look(run_id: str = "r1", actor: str = "root", address: str = "192.0.2.1") -> tuple[str, str, str | None, str, str]:
    return actor, "file", run_id, "run.read", address


async def test_what_changes_a_run_is_noted_with_it(house: House) -> None:
    await house.post("/runs", document(run_id="r1"))
    await house.post("/runs/r1/cancel")
    async with house.client() as client:
        await client.put("/runs/r1/pin")
        await client.put("/runs/r1/pin")
        await client.delete("/runs/r1/pin")
    await house.apply(ended("t0", "r2"))
    await house.post("/runs/r2/tasks/t0/outputs/collect")
    await house.post("/runs/r2/outputs/collect")

    assert await log(house) == [
        ("run.created", "ada", "r1", None),
        ("run.cancelled", "ada", "r1", None),
        ("run.pinned", "ada", "r1", None),
        ("run.unpinned", "ada", "r1", None),
        ("run.collected_again", "ada", "r2", "t0"),
        ("run.collected_again", "ada", "r2", None),
    ]


async def test_the_buttons_of_the_pages_are_noted_too(house: House) -> None:
    await house.apply(ended())
    cookie = house.session("root")
    for path in ("pin", "unpin", "cancel", "collect", "tasks/t0/collect"):
        answer = await house.post(f"/ui/runs/r1/{path}", actor=None, cookie=cookie, origin="http://localhost:8080")
        assert answer.status_code == 303

    noted = await house.rows("SELECT act, actor, credential FROM outputs.audit ORDER BY entry")
    acts = ["run.pinned", "run.unpinned", "run.cancelled", "run.collected_again", "run.collected_again"]
    assert [tuple(row) for row in noted] == [(act, "root", "session") for act in acts]


async def test_the_same_request_again_changes_nothing_and_is_not_noted(house: House) -> None:
    for _ in range(2):
        await house.post("/runs", document(run_id="r1"))
    await house.post("/runs/r9/cancel")

    assert [act for act, *_ in await log(house)] == ["run.created"]


async def test_what_cannot_be_noted_does_not_happen(house: House) -> None:
    async with house.database.transaction() as connection:
        await connection.execute(text("ALTER TABLE outputs.audit ADD CONSTRAINT full_up CHECK (act = '')"))
    try:
        answer = await house.post("/runs", document(run_id="r1"))

        assert answer.status_code == 500
        assert await house.rows("SELECT 1 FROM outputs.runs") == []
        assert await house.rows("SELECT 1 FROM outputs.outbox") == []
    finally:
        async with house.database.transaction() as connection:
            await connection.execute(text("ALTER TABLE outputs.audit DROP CONSTRAINT full_up"))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/runs/r1", "run.read"),
        ("/runs/r1/tasks/t0", "run.read"),
        ("/runs/r1/tasks/t0/outputs", "run.read"),
        ("/runs/r1/tasks/t0/detail/output", "file.read"),
        ("/runs/r1/tasks/t0/outputs/file/a.txt", "file.read"),
        ("/runs/r1/archive", "archive.read"),
        ("/runs/r1/tasks/t0/outputs/archive", "archive.read"),
        ("/ui/runs/r1", "run.read"),
        ("/ui/runs/r1/tasks/t0", "run.read"),
        ("/ui/runs/r1/tasks/t0/files/a.txt", "file.read"),
    ],
)
async def test_who_reads_what_is_not_theirs_is_noted_once(house: House, path: str, kind: str) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.txt", b"text")

    for actor in ("root", "root", "ada", "bob"):
        await house.get(path, actor)

    assert await log(house) == [(kind, "root", "r1", None)]


async def test_who_opens_a_stream_is_noted(house: House) -> None:
    await house.apply(ended())

    async with house.client("root") as client:
        await client.head("/runs/r1/events")

    assert await log(house) == [("stream.opened", "root", "r1", None)]


async def test_admins_are_noted_who_list_everybodys_runs(house: House) -> None:
    for actor in ("ada", "root", "root"):
        await house.get("/runs", actor)
        await house.get("/ui/", actor)

    assert await log(house) == [("list.read", "root", None, None)]


async def test_owners_are_noted_where_that_is_wanted(house: House) -> None:
    await house.apply(ended())
    noting = Noting(house.looks, has_own=True)
    house.app = app.build(msgspec.structs.replace(house.parts, noting=noting), house.rules)

    await house.get("/runs/r1", "ada")

    assert await log(house) == [("run.read", "ada", "r1", None)]


async def test_the_address_is_that_of_whom_our_proxy_speaks_for(house: House) -> None:
    await house.apply(ended())
    rules = msgspec.structs.replace(house.rules, addresses=Addresses(["127.0.0.0/8"]))
    house.app = app.build(house.parts, rules)

    await house.get("/runs/r1", "root", **{"x-forwarded-for": "6.6.6.6, 203.0.113.9"})
    await log(house)

    assert [row.address for row in await house.rows("SELECT address FROM outputs.audit")] == ["203.0.113.9"]


async def test_who_reads_from_two_addresses_is_noted_with_both(house: House) -> None:
    await house.apply(ended())
    house.app = app.build(house.parts, msgspec.structs.replace(house.rules, addresses=Addresses(["127.0.0.0/8"])))

    for address in ("203.0.113.9", "203.0.113.9", "203.0.113.10"):
        await house.get("/runs/r1", "root", **{"x-forwarded-for": address})
    await log(house)

    addresses = [row.address for row in await house.rows("SELECT address FROM outputs.audit ORDER BY entry")]
    assert addresses == ["203.0.113.9", "203.0.113.10"]


async def test_a_look_is_noted_again_after_ten_minutes(database: Database) -> None:
    seconds = [0.0]
    looks = Looks(database, clock=lambda: seconds[0])

    counts = []
    for seconds[0] in (0.0, 1.0, 599.0, 600.0, 700.0):
        looks.note(look())
        counts.append(looks.waiting)

    assert counts == [1, 1, 1, 2, 2]


async def test_each_reader_run_credential_kind_and_address_is_one_look(database: Database) -> None:
    looks = Looks(database)

    for one in (
        look(),
        look("r2"),
        look(actor="bob"),
        ("root", "session", "r1", "run.read", "192.0.2.1"),
        ("root", "file", "r1", "x", "192.0.2.1"),
        look(address="192.0.2.2"),
    ):
        looks.note(one)

    assert looks.waiting == 6


async def test_what_finds_no_room_is_counted_said_and_noted_later(database: Database) -> None:
    looks = Looks(database, max_waiting=2)

    for run_id in ("r1", "r2", "r3", "r4"):
        looks.note(look(run_id))
    with capture_logs() as logs:
        await looks.flush()
    looks.note(look("r3"))
    looks.note(look("r1"))

    assert (looks.written, looks.dropped, looks.waiting) == (2, 2, 1)
    assert [(line["event"], line["dropped"]) for line in logs] == [("audit_looks_dropped", 2)]


async def test_how_much_is_remembered_is_bounded(database: Database) -> None:
    looks = Looks(database, max_remembered=3)

    for number in range(10):
        looks.note(look(f"r{number}"))
    looks.note(look("r9"))
    looks.note(look("r0"))

    assert looks.waiting == 11


async def test_while_the_database_is_away_looks_wait_in_order(database: Database) -> None:
    away = Database(f"postgresql://nobody@127.0.0.1:{reserve_port()}/none")
    looks = Looks(away)
    looks.note(look("r1"))
    looks.note(look("r2"))

    with pytest.raises(DatabaseUnavailable):
        await looks.flush()
    looks.note(look("r3"))
    with capture_logs() as logs:
        await looks.close()
    looks._database = database
    await looks.flush()

    assert [line["lost"] for line in logs] == [3]
    page = await Audit(database).read(Asked(), limit=10)
    assert [entry.run_id for entry in reversed(page.entries)] == ["r1", "r2", "r3"]
    await away.close()


async def test_a_look_has_the_time_at_which_it_was_and_not_at_which_it_was_written(database: Database) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    looks = Looks(database, now=lambda: at)
    looks.note(look())
    await looks.flush()

    assert [entry.at for entry in (await Audit(database).read(Asked(), limit=1)).entries] == [at]


@pytest.mark.parametrize("attempt", ["UPDATE outputs.audit SET actor = 'bob'", "DELETE FROM outputs.audit"])
async def test_nothing_of_it_is_changed(database: Database, attempt: str) -> None:
    await Audit(database).did(Act(act="run.read", actor="ada"))

    with pytest.raises(DBAPIError, match="append-only"):
        async with database.transaction() as connection:
            await connection.execute(text(attempt))

    assert [entry.actor for entry in (await Audit(database).read(Asked(), limit=9)).entries] == ["ada"]


async def test_pruning_drops_what_is_too_old_and_nothing_else(database: Database) -> None:
    aged = "SELECT 'day.' || n, now() - make_interval(days => n) FROM unnest(ARRAY[1, 399, 401]) n"
    async with database.transaction() as connection:
        await connection.execute(text(f"INSERT INTO outputs.audit (act, at) {aged}"))

    assert await Audit(database).prune(keep_days=400) is False

    found = await Audit(database).read(Asked(), limit=9)
    assert {entry.act for entry in found.entries} == {"day.1", "day.399"}


async def test_pruning_reads_a_range_of_an_index(database: Database) -> None:
    plenty = "SELECT 'x', now() - make_interval(mins => n) FROM generate_series(1, 20000) n"
    async with database.transaction() as connection:
        await connection.execute(text(f"INSERT INTO outputs.audit (act, at) {plenty}"))
        await connection.execute(text("ANALYZE outputs.audit"))
        old = "EXPLAIN SELECT entry FROM outputs.audit WHERE at < now() - interval '13 days' ORDER BY at LIMIT 10000"
        plan = "\n".join(await connection.scalars(text(old)))

    assert "ix_audit_at" in plan


async def test_it_is_read_page_by_page_newest_first(house: House) -> None:
    for number in range(5):
        await house.parts.audit.did(Act(act="run.read", actor="bob", run_id=f"r{number}"))

    seen, cursor = [], ""
    while True:
        page = (await house.get(f"/admin/audit?limit=2{cursor}", "root")).json()
        seen += [entry["run_id"] for entry in page["entries"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"

    assert seen == ["r4", "r3", "r2", "r1", "r0"]


async def test_it_is_filtered(house: House) -> None:
    for actor, run_id in (("bob", "r1"), ("bob", "r2"), ("eve", "r1")):
        await house.parts.audit.did(Act(act="run.read", actor=actor, run_id=run_id))

    async def found(query: str) -> list[tuple[str, str]]:
        answer = (await house.get(f"/admin/audit?{query}", "root")).json()
        return [(entry["actor"], entry["run_id"]) for entry in answer["entries"]]

    assert await found("run=r1") == [("eve", "r1"), ("bob", "r1")]
    assert await found("actor=bob") == [("bob", "r2"), ("bob", "r1")]
    assert await found("run=r1&actor=bob") == [("bob", "r1")]
    assert len(await found("since=2026-01-01T00:00:00Z")) == 3
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert await found(f"since={tomorrow}") == []


FAR = ("since=0001-01-01T00:00:00%2B14:00", "since=9999-12-31T23:59:59-14:00")


@pytest.mark.parametrize("query", ["cursor=nonsense", "since=yesterday", "limit=0", "run=%00", "actor=a%00", *FAR])
async def test_what_cannot_be_asked_is_told(house: House, query: str) -> None:
    assert (await house.get(f"/admin/audit?{query}", "root")).status_code in {400, 422}


async def test_only_admins_read_it(house: House) -> None:
    assert (await house.get("/admin/audit", "ada")).status_code == 403
    assert (await house.get("/admin/audit", None)).status_code == 401


async def test_the_command_prints_what_is_hostile_as_plain_text(
    database: Database, migrated_uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await Audit(database).did(Act(act=HOSTILE, actor=HOSTILE, run_id="r1", details={HOSTILE: [HOSTILE]}))
    monkeypatch.setenv("SCRIPTHUT_OUTPUTS_DATABASE_URL", migrated_uri)

    assert await asyncio.to_thread(main, ["audit", "--run", "r1"]) == 0
    plain = capsys.readouterr().out
    assert await asyncio.to_thread(main, ["audit", "--json", "--since", "1d"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert plain.replace("\n", "").isprintable()
    assert len(plain.splitlines()) == 1
    assert all(line.isascii() for line in lines)
    assert [json.loads(line)["run_id"] for line in lines] == ["r1"]


def test_the_command_says_what_since_may_be(
    migrated_uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCRIPTHUT_OUTPUTS_DATABASE_URL", migrated_uri)

    assert main(["audit", "--since", "yesterday"]) == 1
    assert "--since" in capsys.readouterr().err
