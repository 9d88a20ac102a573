"""What endpoints say of runs, tasks, outputs and summaries."""

import json
from base64 import b64decode, urlsafe_b64encode

import pytest

from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.ledger import FileState, Place
from tests.integration.outputs.house import House, document, ended, item


async def test_runs_are_listed_newest_first_page_by_page(house: House) -> None:
    for number in range(5):
        await house.apply(item(run_id=f"r{number}"))

    first = (await house.get("/runs?limit=2")).json()
    second = (await house.get(f"/runs?limit=2&cursor={first['next']}")).json()
    third = (await house.get(f"/runs?limit=2&cursor={second['next']}")).json()

    pages = [[run["run_id"] for run in page["runs"]] for page in (first, second, third)]
    assert pages == [["r4", "r3"], ["r2", "r1"], ["r0"]]
    assert third["next"] is None


def made_up(*position: object) -> str:
    return "cursor=" + urlsafe_b64encode(json.dumps(position).encode()).decode()


@pytest.mark.parametrize(
    "query",
    [
        *(
            "cursor=x",
            "cursor=WzFd",
            "cursor=%00",
            "cursor=",
            "limit=0",
            "limit=x",
            "limit=10001",
            "cursor=" + "x" * 2000,
        ),
        *(
            made_up(2**63, "x"),
            made_up(-1, "\0"),
            made_up("0001-01-01T00:00:00+14:00", "x"),
            made_up(1, 2),
            made_up({}),
        ),
    ],
)
async def test_a_wrong_page_is_refused(house: House, query: str) -> None:
    await house.apply(item())

    for path in ("/runs", "/runs/r1", "/runs/r1/tasks/t0/outputs"):
        answer = await house.get(f"{path}?{query}")
        assert answer.status_code in {400, 422}, path
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("query", "field"), [("limit=x", "limit"), ("limit=0", "limit"), ("cursor=" + "x" * 2000, "cursor")]
)
async def test_a_wrong_parameter_is_named(house: House, query: str, field: str) -> None:
    answer = await house.get(f"/runs?{query}")

    assert [problem["field"] for problem in answer.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ([Outcome.SUCCEEDED, Outcome.SUCCEEDED], "succeeded"),
        ([Outcome.SUCCEEDED, Outcome.TIMED_OUT], "failed"),
        ([Outcome.UNKNOWN, Outcome.FAILED], "failed"),
        ([Outcome.SUCCEEDED, Outcome.UNKNOWN], "unknown"),
        ([Outcome.FAILED, None], "running"),
        ([None, None], "pending"),
    ],
)
async def test_a_runs_state_follows_from_its_items(house: House, outcomes: list[Outcome | None], state: str) -> None:
    for number, outcome in enumerate(outcomes):
        await house.apply(ended(f"t{number}", outcome=outcome) if outcome else item(f"t{number}"))

    assert (await house.get("/runs/r1")).json()["state"] == state


async def test_items_stand_in_submission_order(house: House) -> None:
    for number in (3, 1, 2, 0):
        await house.apply(item(f"t{9 - number}", position=number))

    found = (await house.get("/runs/r1")).json()["items"]
    assert [one["task_id"] for one in found] == ["t9", "t8", "t7", "t6"]


async def test_outputs_name_every_file_stored_or_left_out(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"b\xff.png", b"png")
    await house.store("r1", "t0", b"a.md", b"# A\n\n![plot](b.png)")
    await house.store("r1", "t0", b"task-summary.md", b"# S\n\n![plot](<sub dir/c.png>) [up](../../x)")
    await house.store("r1", "t0", b"big", b"", state=FileState.TOO_LARGE, sha256=None, stored_bytes=None, size_bytes=99)
    await house.store("r1", "t0", b"stdout", b"log", place=Place.STDOUT)

    answer = (await house.get("/runs/r1/tasks/t0/outputs")).json()

    outputs = answer["outputs"]
    assert [b64decode(output["path_b64"]) for output in outputs] == [b"task-summary.md", b"a.md", b"big", b"b\xff.png"]
    assert outputs[3]["path"] == "b\N{REPLACEMENT CHARACTER}.png"
    assert outputs[3]["url"].endswith("/b%FF.png")
    assert (outputs[2]["state"], outputs[2]["size"], outputs[2]["url"]) == ("too_large", 99, None)
    assert 'src="/runs/r1/tasks/t0/outputs/file/sub%20dir/c.png"' in outputs[0]["rendered_html"]
    assert "scripthut-file" not in str(answer)
    assert (answer["counts"], answer["truncated"]) == ({"stored": 3, "too_large": 1}, True)


async def test_outputs_come_page_by_page(house: House) -> None:
    await house.apply(ended())
    for name in (b"task-summary.md", b"a", b"b", b"zz"):
        await house.store("r1", "t0", name, name)

    pages, cursor = [], ""
    while True:
        page = (await house.get(f"/runs/r1/tasks/t0/outputs?limit=1{cursor}")).json()
        pages += [output["path"] for output in page["outputs"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert pages == ["task-summary.md", "a", "b", "zz"]


async def test_the_older_shape_names_stored_files(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.md", b"A\n\n")
    await house.store("r1", "t0", b"big", b"", state=FileState.TOO_LARGE, sha256=None, stored_bytes=None)

    answer = (await house.get("/runs/r1/tasks/t0/detail/outputs")).json()

    assert answer["outputs"] == [
        {
            "path": "a.md",
            "size": 3,
            "kind": "markdown",
            "url": "/runs/r1/tasks/t0/outputs/file/a.md",
            "rendered_html": "<p>A</p>",
        }
    ]
    assert (answer["status"], answer["backend_name"], answer["content"]) == ("completed", "daint", None)


async def test_the_older_shape_has_the_stored_file_behind_ten_thousand_left_out(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"z.txt", b"z")
    await house.rows(
        "INSERT INTO outputs.files (run_id, task_id, place, path, kind, state, attempt) SELECT 'r1', 't0', 'output',"
        " ('a' || n)::bytea, 'other', 'over_count', 1 FROM generate_series(1, 10000) n RETURNING 1"
    )

    answer = (await house.get("/runs/r1/tasks/t0/detail/outputs")).json()

    assert [one["path"] for one in answer["outputs"]] == ["z.txt"]


async def test_html_beyond_the_allowance_has_an_address_of_its_own(house: House) -> None:
    await house.apply(*(ended(f"t{number}", position=number) for number in range(3)))
    text = b"word " * 180_000
    for number in range(3):
        await house.store("r1", f"t{number}", b"", b"%d " % number + text, Place.RUN_SUMMARY, kind="markdown")
        await house.store("r1", "t0", b"dir/%d.md" % number, b"%d " % number + text)

    outputs = (await house.get("/runs/r1/tasks/t0/outputs")).json()["outputs"]
    sections = (await house.get("/runs/r1/summary")).json()["sections"]

    assert ["rendered_html" in output for output in outputs] == [True, True, False]
    assert [bool(section["rendered_html"]) for section in sections] == [True, True, False]
    by_itself = (await house.get(outputs[2]["html_url"])).json()
    assert by_itself["path"] == "dir/2.md"
    assert by_itself["rendered_html"].startswith("<p>2 word")
    assert (await house.get(sections[2]["html_url"])).json()["rendered_html"].startswith("<p>2 word")


@pytest.mark.parametrize("path", ["", "%%%", "YQ", "💥"])
async def test_a_document_that_is_none_is_not_found(house: House, path: str) -> None:
    await house.apply(ended())

    assert (await house.get(f"/runs/r1/tasks/t0/outputs/rendered?path={path}")).status_code == 404


async def test_the_summary_has_a_section_for_each_contribution_in_submission_order(house: House) -> None:
    for number, task_id in enumerate(["z", "m", "a"]):
        await house.apply(ended(task_id, position=number))
    for task_id in ("a", "z"):
        markdown = f"**{task_id}** ![p](plot.png) <div>".encode()
        await house.store("r1", task_id, b"", markdown, Place.RUN_SUMMARY, kind="markdown")
    await house.store("r1", "m", b"", b"", Place.RUN_SUMMARY, kind="markdown")

    answer = (await house.get("/runs/r1/summary")).json()

    assert [section["task_name"] for section in answer["sections"]] == ["task z", "task a"]
    assert 'src="/runs/r1/tasks/z/outputs/file/plot.png"' in answer["sections"][0]["rendered_html"]
    assert answer["any_contributions"] is True


async def test_the_summary_comes_raw_too(house: House) -> None:
    await house.apply(ended(task_name="two\n# lines"))
    await house.store("r1", "t0", b"", b"- done\n", Place.RUN_SUMMARY, kind="markdown")

    answer = await house.get("/runs/r1/summary?format=md")

    assert answer.text == "## two # lines\n\n- done\n\n"
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"


async def test_a_contribution_that_was_left_out_says_so_in_its_section(house: House) -> None:
    await house.apply(ended())
    left_out = {"state": FileState.TOO_LARGE, "sha256": None, "stored_bytes": None, "reason": "<9> bytes"}
    await house.store("r1", "t0", b"t0.md", b"", Place.RUN_SUMMARY, kind="other", **left_out)

    answer = (await house.get("/runs/r1/summary")).json()
    raw = (await house.get("/runs/r1/summary?format=md")).text

    assert "was left out (too_large: &lt;9&gt; bytes)" in answer["sections"][0]["rendered_html"]
    assert answer["any_contributions"] is True
    assert raw == "## task t0\n\n> left out (too_large: <9> bytes)\n\n"


async def test_a_run_without_contributions_has_an_empty_summary(house: House) -> None:
    await house.apply(ended())

    assert (await house.get("/runs/r1/summary")).json() == {"run_id": "r1", "sections": [], "any_contributions": False}


async def test_a_task_shows_its_logs_and_their_tail(house: House) -> None:
    await house.apply(ended(outcome=Outcome.FAILED))
    await house.store("r1", "t0", b"", b"one\ntwo\nthr\xffee\n", Place.STDERR)

    whole = (await house.get("/runs/r1/tasks/t0/detail/error")).json()
    tail = (await house.get("/runs/r1/tasks/t0/detail/error?tail=1")).json()

    assert whole["content"] == "one\ntwo\nthr\N{REPLACEMENT CHARACTER}ee\n"
    assert tail["content"] == "thr\N{REPLACEMENT CHARACTER}ee\n"
    assert (whole["status"], whole["path"]) == ("failed", "/logs/scripthut_r1_t0.err")


async def test_a_log_of_which_only_the_end_is_kept_says_so(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"", b"the end\n", Place.STDOUT, size_bytes=2_000_000)
    await house.store("r1", "t0", b"", b"all of it\n", Place.STDERR)

    assert (await house.get("/runs/r1/tasks/t0/detail/output")).json()["truncated"] is True
    assert (await house.get("/runs/r1/tasks/t0/detail/error")).json()["truncated"] is False


async def test_a_progress_bar_is_one_line_of_the_tail(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"", "one\n10 %\r20 %\u2028\n".encode(), Place.STDOUT)

    tail = (await house.get("/runs/r1/tasks/t0/detail/output?tail=1")).json()

    assert tail["content"] == "10 %\r20 %\u2028\n"


async def test_a_log_that_is_not_here_says_why(house: House) -> None:
    await house.apply(item(state=ItemState.RUNNING))
    assert "the task is running" in (await house.get("/runs/r1/tasks/t0/detail/output")).json()["error"]

    await house.apply(ended())
    await house.store(
        "r1", "t0", b"", b"", Place.STDOUT, state=FileState.UNREADABLE, sha256=None, stored_bytes=None, reason="denied"
    )

    assert (await house.get("/runs/r1/tasks/t0/detail/output")).json()["error"] == "not collected (unreadable): denied"


@pytest.mark.parametrize("query", ["tail=0", "tail=-1", "tail=x"])
async def test_a_tail_that_is_none_is_refused(house: House, query: str) -> None:
    await house.apply(ended())

    answer = await house.get(f"/runs/r1/tasks/t0/detail/output?{query}")

    assert answer.status_code == 400
    assert [problem["field"] for problem in answer.json()["errors"]] == ["tail"]


async def test_an_unknown_detail_is_not_found(house: House) -> None:
    await house.apply(ended())

    assert (await house.get("/runs/r1/tasks/t0/detail/secrets")).content == (await house.get("/runs/r9")).content


async def test_a_task_announced_by_others_has_no_script(house: House) -> None:
    await house.apply(item())

    assert "another program" in (await house.get("/runs/r1/tasks/t0/detail/script")).json()["error"]


async def test_collecting_again_is_asked_for(house: House) -> None:
    await house.apply(ended())

    answer = await house.post("/runs/r1/tasks/t0/outputs/collect")

    assert (answer.status_code, answer.json()["outputs_state"]) == (202, "pending")
    assert await house.rows("SELECT wanted FROM outputs.collections") == [(2,)]


async def test_what_was_never_submitted_cannot_be_collected(house: House) -> None:
    await house.post("/runs", document(run_id="r1"))

    assert (await house.post("/runs/r1/tasks/t0/outputs/collect")).status_code == 409
    assert (await house.post("/runs/r1/tasks/t9/outputs/collect")).status_code == 404
