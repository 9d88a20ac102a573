"""What those see who run the installation, as pages and as JSON; nobody else sees any of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, text, update

from scripthut_outputs.access.policy import Policy, Quotas
from scripthut_outputs.catalog.auditing import Act
from scripthut_outputs.catalog.quotas import Quotas as Measuring
from scripthut_outputs.tables import ACCESS_TOKENS, COLLECTIONS, ITEMS
from tests.integration.outputs.house import House, ended

PAGES = ("", "/collections", "/storage", "/tokens", "/audit")
TWINS = ("/clusters", "/collections", "/storage", "/audit")
HOSTILE = "</bdi><script>alert(1)</script>\u202e\x1b[31m"


async def page(house: House, path: str = "", actor: str = "root") -> Any:
    cookie = house.session(actor)
    return await house.get(f"/ui/admin{path}", None, cookie=cookie)


async def press(house: House, path: str, actor: str = "root") -> Any:
    cookie = house.session(actor)
    return await house.post(f"/ui/admin{path}", actor=None, cookie=cookie, origin="http://localhost:8080")


async def fail(house: House, task_id: str = "t0", **collection: Any) -> None:
    """Let the collection of a task be stuck."""
    values = {"due_at": None, "failures": 3, "reason": HOSTILE} | collection
    async with house.database.transaction() as connection:
        await connection.execute(update(COLLECTIONS).where(COLLECTIONS.c.task_id == task_id).values(values))
        if values["due_at"] is None:
            state = update(ITEMS).where(ITEMS.c.task_id == task_id).values(outputs_state="failed")
            await connection.execute(state)


@pytest.mark.parametrize("path", PAGES)
async def test_pages_are_for_admins_alone(house: House, path: str) -> None:
    assert (await page(house, path)).status_code == 200
    assert (await page(house, path, "ada")).status_code == 403
    stranger = await house.get(f"/ui/admin{path}", None)
    assert (stranger.status_code, stranger.headers["location"].startswith("/login")) == (303, True)


@pytest.mark.parametrize("path", TWINS)
async def test_the_same_as_json_is_for_admins_alone(house: House, path: str) -> None:
    assert (await house.get(f"/admin{path}", "root")).status_code == 200
    assert (await house.get(f"/admin{path}", "ada")).status_code == 403
    assert (await house.get(f"/admin{path}", None)).status_code == 401


async def test_only_admins_are_led_there(house: House) -> None:
    await house.apply(ended())
    for path in ("/ui/", "/ui/runs/r1"):
        for actor, is_led in (("root", True), ("ada", False)):
            cookie = house.session(actor)
            assert ('href="/ui/admin"' in (await house.get(path, None, cookie=cookie)).text) is is_led


async def test_a_page_that_was_made_for_an_admin_is_not_given_to_others(house: House) -> None:
    await house.apply(ended())
    house.cache.begin()
    for actor, is_led in (("root", True), ("ada", False), ("root", True)):
        cookie = house.session(actor)
        assert ('href="/ui/admin"' in (await house.get("/ui/runs/r1", None, cookie=cookie)).text) is is_led


async def test_clusters_show_load_budget_and_what_keeps_them(house: House) -> None:
    await house.apply(ended())
    await house.observe("unreachable", error=HOSTILE, commands_per_minute=12.5)
    async with house.database.transaction() as connection:
        await connection.execute(text("UPDATE outputs.clusters SET collection_error = 'no route to host'"))

    shown = (await page(house)).text
    told = (await house.get("/admin/clusters", "root")).json()["clusters"]
    daint, eiger = (next(one for one in told if one["name"] == name) for name in ("daint", "eiger"))

    assert (daint["name"], daint["commands_per_minute"], daint["budget"], daint["due"]) == ("daint", 12.5, 60, 1)
    assert (daint["collection_error"], daint["is_served"]) == ("no route to host", True)
    assert (eiger["name"], eiger["state"], eiger["stale"]) == ("eiger", "unknown", True)
    assert "12.5 of 60" in shown
    assert "no route to host" in shown
    assert HOSTILE not in shown
    assert "&lt;script&gt;" in shown
    assert "\x1b" not in shown


async def test_what_is_stuck_is_listed_with_its_reason(house: House) -> None:
    now = datetime.now(UTC)
    for place in range(5):
        await house.apply(ended(f"t{place}", "r1", task_name=HOSTILE, position=place))
    await fail(house, "t0")
    await fail(house, "t1", due_at=now + timedelta(minutes=5))
    await fail(house, "t2", due_at=now - timedelta(minutes=20), failures=0)
    await fail(house, "t3", due_at=now - timedelta(minutes=1), failures=0)

    first = (await house.get("/admin/collections?limit=2", "root")).json()
    rest = (await house.get(f"/admin/collections?limit=2&cursor={first['next']}", "root")).json()
    shown = (await page(house, "/collections")).text

    rows = [*first["collections"], *rest["collections"]]
    assert [(row["task_id"], row["failures"]) for row in rows] == [("t0", 3), ("t1", 3), ("t2", 0)]
    assert rest["next"] is None
    assert shown.count("Collect again</button>") == 3
    assert "given up" in shown
    assert HOSTILE not in shown


async def test_what_is_stuck_is_collected_again_by_a_button_that_leads_back(house: House) -> None:
    await house.apply(ended())
    await fail(house)

    answer = await press(house, "/collect/r1/t0")

    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/admin/collections")
    assert [row.outputs_state for row in await house.rows("SELECT outputs_state FROM outputs.items")] == ["pending"]
    noted = await house.rows("SELECT act, actor, run_id, target FROM outputs.audit")
    assert [tuple(row) for row in noted] == [("run.collected_again", "root", "r1", "t0")]
    assert (await press(house, "/collect/r1/t0", "ada")).status_code == 403
    assert (await press(house, "/collect/r1/t9")).status_code == 404
    assert (await press(house, "/collect/r1/..%2f..")).status_code == 404


async def test_what_is_stuck_is_found_by_an_index(house: House) -> None:
    run = "INSERT INTO outputs.runs (run_id, name, cluster, owner) VALUES ('r1', 'r', 'daint', 'ada')"
    items = (
        "INSERT INTO outputs.items (run_id, task_id, task_name, position, outputs_state)"
        " SELECT 'r1', 't' || n, 'x', n, CASE WHEN n % 5000 = 0 THEN 'failed' ELSE 'collected' END"
        " FROM generate_series(1, 20000) n"
    )
    async with house.database.transaction() as connection:
        for statement in (run, items, "ANALYZE outputs.items"):
            await connection.execute(text(statement))
        plan = await connection.scalars(text("EXPLAIN SELECT run_id FROM outputs.items WHERE outputs_state = 'failed'"))

        assert "ix_items_failed_outputs" in "\n".join(plan)


async def test_storage_is_shown_against_quotas(house: House) -> None:
    house.policy = Policy(quotas=Quotas(default_bytes=1000, bytes_of={"bob": 2}))
    await house.apply(ended(), ended("t0", "r2", owner="bob"))
    await house.store("r1", "t0", b"a", b"four")
    await house.store("r1", "t0", b"b", b"four")
    await house.store("r2", "t0", b"a", b"four")
    await Measuring(house.database).look()

    holders = (await house.get("/admin/storage", "root")).json()["holders"]
    shown = (await page(house, "/storage")).text

    told = [(one["owner"], one["files"], one["stored_bytes"], one["quota_bytes"], one["is_over"]) for one in holders]
    assert told == [("ada", 2, 4, 1000, False), ("bob", 1, 4, 2, True)]
    assert shown.count("over quota") == 1
    assert "200 %" in shown


async def test_everybodys_tokens_can_be_taken_back(house: House) -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    values = {"owner": "ada", "label": HOSTILE, "scopes": ["read", "submit"], "expires_at": at, "created_at": at}
    gone = {"token_id": "t2", "token_sha256": b"2", "revoked_at": at}
    async with house.database.transaction() as connection:
        await connection.execute(insert(ACCESS_TOKENS).values({**values, "token_id": "t1", "token_sha256": b"1"}))
        await connection.execute(insert(ACCESS_TOKENS).values({**values, **gone}))

    shown = (await page(house, "/tokens")).text

    assert shown.count('action="/ui/tokens/') == 1
    assert 'action="/ui/tokens/t1/revoke"' in shown
    assert "read, submit" in shown
    assert HOSTILE not in shown


async def test_the_log_is_shown_and_filtered(house: House) -> None:
    for actor, run_id in ((HOSTILE, "r1"), ("bob", "r2")):
        act = Act(act="run.read", actor=actor, run_id=run_id, details={"why": HOSTILE, "tasks": 3})
        await house.parts.audit.did(act)

    everything, of_run = (await page(house, "/audit")).text, (await page(house, "/audit?run=r2")).text
    nothing = (await page(house, "/audit?actor=eve")).text

    assert everything.count("run.read") == 2
    assert HOSTILE not in everything
    assert "tasks 3" in everything
    assert (of_run.count("run.read"), "bob" in of_run) == (1, True)
    assert "Nothing of that was noted." in nothing


async def test_pages_of_the_log_keep_their_filter(house: House) -> None:
    for number in range(101):
        await house.parts.audit.did(Act(act="run.read", actor="bob", run_id=f"r{number}"))

    first = (await page(house, "/audit?actor=bob")).text
    address = first.partition('href="/ui/admin/audit?actor=bob&amp;cursor=')[2].partition('"')[0]
    second = (await page(house, f"/audit?actor=bob&cursor={address}")).text

    assert second.count("run.read") == 1
    assert "First rows" in second


async def test_dead_letters_are_counted_where_they_can_be(house: House) -> None:
    before = (await page(house)).text
    house.dead_letters = {"outputs.events": 7}
    await house.parts.burials.step()
    after = (await page(house)).text

    assert "Not counted yet." in before
    assert ">7</td>" in after
    assert after.count("not to be seen from here") == 2


async def test_without_a_broker_dead_letters_lie_in_the_database(house: House) -> None:
    letter = "INSERT INTO outputs.dead_letters VALUES ('outputs.events', 'm1', 'x', 'k', 'b', 'why', now())"
    async with house.database.transaction() as connection:
        await connection.execute(text(letter))

    counts = await house.parts.administering.count_buried()

    assert counts == {"outputs.events": 1, "poller.run-requested": 0, "poller.item-submitted": 0}
