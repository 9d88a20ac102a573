"""Pages say what the catalog knows, to those who may see it, and cost little to ask for again."""

import re
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import insert, update

from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.controllers.pages import assets
from scripthut_outputs.ledger import FileState, Kind, OutputsState, Place
from scripthut_outputs.tables import COLLECTIONS, FILES, ITEMS
from tests.integration.outputs.house import House, document, ended, item

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def text_of(answer: httpx.Response) -> str:
    """What a page says, on one line."""
    return " ".join(re.sub(r"<[^>]*>", " ", answer.text).split())


async def listen(house: House) -> None:
    """Let the cache keep pages, as it does while notifications are heard."""
    house.cache.is_listening = True


async def test_the_list_shows_my_runs_newest_first(house: House) -> None:
    await house.apply(ended(run_id="r1", run_name="First"))
    await house.apply(ended(run_id="r2", run_name="Second"))
    await house.apply(ended(run_id="r3", run_name="Of another", owner="bob"))

    page = await house.get("/ui/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.index("Second") < page.text.index("First")
    assert "Of another" not in page.text
    assert "Of another" in (await house.get("/ui/", "root")).text


async def test_the_list_goes_on_page_by_page(house: House) -> None:
    for number in range(45):
        await house.apply(ended(run_id=f"r{number}", run_name=f"Run number {number}."))

    first = await house.get("/ui/")
    found = re.search(r'href="(/ui/\?cursor=[^"]+)"', first.text)
    assert found is not None
    second = await house.get(found[1])

    assert first.text.count("Run number") + second.text.count("Run number") == 45
    assert "First runs" in second.text


async def test_a_run_says_how_each_task_went_and_why(house: House) -> None:
    await house.apply(ended("t0", task_name="Good"))
    await house.apply(
        ended("t1", task_name="Bad", outcome=Outcome.FAILED, exit_code=3, reason="exit code 3", node="n7", position=1)
    )
    await house.apply(item("t2", state=ItemState.QUEUED, reason="Priority", task_name="Later", position=2))

    said = text_of(await house.get("/ui/runs/r1"))

    assert "1 succeeded 1 failed 1 queued" in said
    assert re.search(r"Failed Bad exit 3: its program ended with an error 3 .*n7", said)
    assert re.search(r"Queued Later Others come first: .* for the same machines. \( ?Priority ?\)", said)


async def test_the_run_summary_stands_on_top_in_submission_order(house: House) -> None:
    for position, task_id in enumerate(["zeta", "alpha"]):
        await house.apply(ended(task_id, task_name=f"Task {task_id}", position=position))
        await house.store("r1", task_id, b"", f"from **{task_id}**".encode(), Place.RUN_SUMMARY, kind=Kind.MARKDOWN)

    said = text_of(await house.get("/ui/runs/r1"))

    assert said.index("Run summary") < said.index("from zeta") < said.index("from alpha") < said.index("Tasks 2")


async def test_a_panel_shows_summary_pictures_files_and_what_was_left_out(house: House) -> None:
    await house.apply(ended(task_name="Train"))
    await house.store("r1", "t0", b"task-summary.md", b"![](in summary.png)")
    for name in (b"in summary.png", b"sub/alone.png", b"table.csv"):
        await house.store("r1", "t0", name, b"x" * 2048)
    async with house.database.transaction() as connection:
        left_out = {"run_id": "r1", "task_id": "t0", "place": Place.OUTPUT, "kind": Kind.OTHER, "attempt": 1}
        await connection.execute(
            insert(FILES).values(left_out | {"path": b"big.bin", "state": FileState.TOO_LARGE, "size_bytes": 2**31})
        )

    page = await house.get("/ui/runs/r1")

    files = "/runs/r1/tasks/t0/outputs/file"
    assert page.text.count(f'src="{files}/in%20summary.png?v=') == 1
    assert page.text.count(f'src="{files}/sub/alone.png?v=') == 1
    assert f'href="{files}/table.csv" download' in page.text
    assert "big.bin larger than one file may be 2.0 GiB" in text_of(page)


async def test_a_task_that_left_nothing_has_no_panel(house: House) -> None:
    await house.apply(ended())

    page = await house.get("/ui/runs/r1")

    assert 'id="task-t0"' not in page.text
    assert '<article class="panel"' not in page.text


async def test_a_failed_task_shows_the_end_of_its_error_output(house: House) -> None:
    await house.apply(ended(outcome=Outcome.FAILED, exit_code=1))
    await house.store("r1", "t0", b"", b"step\n" * 9000 + b"\x1b[31mTraceback\x1b[0m: <boom>\n", Place.STDERR)

    page = await house.get("/ui/runs/r1")
    whole = await house.get("/ui/runs/r1/tasks/t0/stderr")

    assert '<span class="t-ink-1">Traceback</span>: &lt;boom&gt;</pre>' in page.text
    assert page.text.count("step\n") == 199
    assert whole.text.count("step\n") == 9000


async def test_a_store_that_lost_a_log_does_not_take_the_page_with_it(house: House) -> None:
    await house.apply(ended())
    house.lose(await house.store("r1", "t0", b"", b"text", Place.STDOUT))

    page = await house.get("/ui/runs/r1")

    assert page.status_code == 200
    assert "cannot give it just now" in page.text


async def test_a_failed_collection_says_why(house: House) -> None:
    await house.apply(ended())
    async with house.database.transaction() as connection:
        await connection.execute(update(ITEMS).values(outputs_state=OutputsState.FAILED))
        await connection.execute(update(COLLECTIONS).values(reason="no space left on the blob disk", due_at=None))

    assert "could not be collected. no space left on the blob disk" in text_of(await house.get("/ui/runs/r1"))
    assert "could not be collected. no space left" in text_of(await house.get("/ui/runs/r1/tasks/t0"))


async def test_a_failed_collection_can_be_asked_for_again(house: House) -> None:
    await house.apply(ended(output_dir="/logs/outputs/r1/t0"))
    async with house.database.transaction() as connection:
        await connection.execute(update(ITEMS).values(outputs_state=OutputsState.FAILED))
        await connection.execute(update(COLLECTIONS).values(reason="no space", due_at=None))
    found = re.search(r'<form class="again" method="post" action="([^"]+)">', (await house.get("/ui/runs/r1")).text)
    assert found is not None

    answer = await house.post(found[1])

    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/runs/r1/tasks/t0")
    assert "Outputs wait to be collected." in text_of(await house.get(answer.headers["location"]))


async def test_nobody_else_can_have_it_collected_again(house: House) -> None:
    await house.apply(ended())

    answer = await house.post("/ui/runs/r1/tasks/t0/collect", actor="bob")

    assert answer.status_code == 404


async def test_a_document_that_waits_says_so_and_the_page_follows_or_can_be_loaded_again(house: House) -> None:
    await house.apply(ended())
    async with house.database.transaction() as connection:
        await connection.execute(update(ITEMS).values(outputs_state=OutputsState.COLLECTED))
        stored = {"run_id": "r1", "task_id": "t0", "place": Place.OUTPUT, "attempt": 1, "stored_bytes": 4}
        summary = {"path": b"task-summary.md", "kind": Kind.MARKDOWN, "state": FileState.STORED, "sha256": "0" * 64}
        await connection.execute(insert(FILES).values(stored | summary))

    page = await house.get("/ui/runs/r1")

    assert "Being rendered" in page.text
    assert 'data-events="/runs/r1/events"' in page.text
    assert '<a href="">Load it again</a></p></noscript>' in page.text


async def test_a_run_that_is_over_is_not_asked_for_again(house: House) -> None:
    await house.apply(ended())
    async with house.database.transaction() as connection:
        await connection.execute(update(ITEMS).values(outputs_state=OutputsState.COLLECTED))

    page = await house.get("/ui/runs/r1")

    assert "data-refresh-s" not in page.text
    assert "Load it again" not in page.text


async def test_a_cluster_that_cannot_be_watched_is_told_of(house: House) -> None:
    await house.apply(item(state=ItemState.RUNNING))
    await house.observe("unreachable", error="no <route> to host")
    await house.observe("unreachable", error="elsewhere", cluster="eiger")

    for path in ("/ui/", "/ui/runs/r1", "/ui/runs/r1/tasks/t0"):
        said = text_of(await house.get(path))
        assert "daint has not answered since" in said
        assert "no &lt;route&gt; to host" in said
        assert "elsewhere" not in said


async def test_words_that_this_version_does_not_know_are_shown_as_they_are(house: House) -> None:
    await house.apply(ended(), ended("t1", position=1), item("t2", position=2))
    await house.store("r1", "t1", b"a.txt", b"x")
    async with house.database.transaction() as connection:
        await connection.execute(update(FILES).values(state="in_orbit", kind="hologram"))
        strange = {"outcome": "dreamt<b>", "evidence": "oracle", "outputs_state": "teleported"}
        await connection.execute(update(ITEMS).where(ITEMS.c.task_id == "t1").values(strange))
        await connection.execute(update(ITEMS).where(ITEMS.c.task_id == "t2").values(state="asleep"))

    for path in ("/ui/", "/ui/runs/r1", "/ui/runs/r1/tasks/t1", "/ui/runs/r1/tasks/t2"):
        page = await house.get(path)
        assert page.status_code == 200, path
        assert ("asleep" if path.endswith("t2") else "dreamt&lt;b&gt;") in page.text
    run = (await house.get("/runs/r1")).json()
    assert (run["state"], run["counts"]) == ("running", {"succeeded": 1, "dreamt<b>": 1, "asleep": 1})
    assert [found["outcome"] for found in run["items"]] == ["succeeded", "dreamt<b>", None]
    for path in ("", "/outputs", "/detail/outputs", "/detail/output"):
        assert (await house.get(f"/runs/r1/tasks/t1{path}")).status_code == 200, path


async def test_an_outcome_that_this_version_does_not_know_is_neither_success_nor_failure(house: House) -> None:
    await house.apply(ended(), ended("t1", position=1))
    async with house.database.transaction() as connection:
        await connection.execute(update(ITEMS).where(ITEMS.c.task_id == "t1").values(outcome="dreamt"))

    assert (await house.get("/runs/r1")).json()["state"] == "unknown"


async def test_outputs_that_nobody_collects_any_more_are_told_of(house: House) -> None:
    await house.apply(ended(cluster="gone"))

    assert "gone is not looked after It is not in the clusters file" in text_of(await house.get("/ui/runs/r1"))
    assert await Collections(house.database).unserved({"daint"}) == {"gone": 1}
    assert await Collections(house.database).unserved({"daint", "gone"}) == {}


async def test_the_page_of_a_task_shows_its_command(house: House) -> None:
    run = (await house.post("/runs", document({"id": "t0", "command": "echo '<b>' && sleep 1"}))).json()

    page = await house.get(f"/ui/runs/{run['run_id']}/tasks/t0")

    assert "echo &#39;&lt;b&gt;&#39; &amp;&amp; sleep 1</pre>" in page.text


async def test_a_run_of_many_tasks_comes_page_by_page_with_folded_panels(house: House) -> None:
    for number in range(110):
        await house.apply(ended(f"t{number}", task_name=f"Task {number}.", position=number))
        await house.store("r1", f"t{number}", b"a.txt", b"x")

    first = await house.get("/ui/runs/r1")
    found = re.search(r'href="(/ui/runs/r1\?cursor=[^"]+)"', first.text)
    assert found is not None
    second = await house.get(found[1])

    assert first.text.count('<article class="panel"') == 100
    assert 'id="panel-t0" >' in first.text
    assert second.text.count('<article class="panel"') == 10
    assert 'id="panel-t109" open>' in second.text


async def test_a_page_asked_for_again_is_not_sent_again_until_something_changed(house: House) -> None:
    await listen(house)
    await house.apply(ended())
    for path in ("/ui/", "/ui/runs/r1", "/ui/runs/r1/tasks/t0"):
        first = await house.get(path)

        again = await house.get(path, **{"if-none-match": first.headers["etag"]})

        assert (again.status_code, again.content) == (304, b"")

    etag = (await house.get("/ui/runs/r1")).headers["etag"]
    await house.store("r1", "t0", b"new.txt", b"x")
    house.cache.drop("r1")
    changed = await house.get("/ui/runs/r1", **{"if-none-match": etag})

    assert changed.status_code == 200
    assert "new.txt" in changed.text


async def test_what_is_kept_for_one_reader_is_not_shown_to_another(house: House) -> None:
    await listen(house)
    await house.apply(ended())

    mine = await house.get("/ui/runs/r1")
    admins = await house.get("/ui/runs/r1", "root", **{"if-none-match": mine.headers["etag"]})

    assert admins.status_code == 200
    assert "<span>root</span>" in admins.text


async def test_who_is_not_signed_in_is_led_to_the_login_and_back(house: House) -> None:
    answer = await house.get("/ui/runs/r1?cursor=x", actor=None)

    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=/ui/runs/r1%3Fcursor%3Dx"


@pytest.mark.parametrize(
    "path",
    [
        "/ui/runs/r1",
        "/ui/runs/none",
        "/ui/runs/none/tasks/t0",
        "/ui/runs/r2/tasks/none",
        "/ui/runs/r2/tasks/t0/stdout",
        "/ui/nothing",
        "/ui/runs/%2e%2e",
    ],
)
async def test_what_is_not_there_and_what_is_not_mine_look_the_same(house: House, path: str) -> None:
    await house.apply(ended(run_id="r1", owner="bob"))
    await house.apply(ended(run_id="r2"))

    page = await house.get(path)

    assert page.status_code == 404
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    told = "Nothing is here There is no such thing here, or none that you may see. Go to the list of runs"
    assert told in text_of(page)


async def test_a_wrong_cursor_is_refused_in_words(house: House) -> None:
    page = await house.get("/ui/?cursor=%3Cscript%3E")

    assert page.status_code == 422
    assert "<script>" not in page.text


async def test_every_page_is_caged(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"", b"text", Place.STDOUT)

    for path in (
        "/ui/",
        "/ui/runs/r1",
        "/ui/runs/r1/tasks/t0",
        "/ui/runs/r1/tasks/t0/stdout",
        "/ui/tokens",
        "/ui/none",
        "/login",
    ):
        headers = (await house.get(path)).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


async def test_styles_and_scripts_are_given_to_anybody_for_ever(house: House) -> None:
    answer = await house.get(assets.url("page.css"), actor=None)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]


async def test_a_fault_of_ours_is_a_page_that_tells_no_secrets(house: House) -> None:
    await house.apply(ended())
    async with house.database.transaction() as connection:
        await connection.execute(update(ITEMS).values(definition=["of another version"]))

    page = await house.get("/ui/runs/r1/tasks/t0")

    assert page.status_code == 500
    assert "another version" not in page.text
    assert '<a href="/ui/runs/r1/tasks/t0">Try again</a>' in page.text
