"""Creating runs over HTTP: what is written, what is refused, and why."""

import asyncio
from typing import Any

import msgspec
import pytest

from scripthut_common import events
from scripthut_common.events import CloudEvent, RunCancelRequested, RunRequested
from scripthut_common.tasks import TaskSpec
from tests.integration.outputs.house import House, document, item, raw_ask


async def commands(house: House) -> list[CloudEvent]:
    rows = await house.rows("SELECT body FROM outputs.outbox ORDER BY number")
    found = [events.decode(bytes(row.body)) for row in rows]
    return [event for event in found if event is not None]


async def test_a_run_is_created_with_its_items_and_the_command_that_starts_it(house: House) -> None:
    tasks: list[dict[str, Any]] = [
        {"id": "a", "command": "make a", "env": {"SECRET": "hunter2"}},
        {"id": "b", "command": "b", "deps": ["a"]},
    ]

    answer = await house.post("/runs", document(*tasks, run_id="r1", log_dir="~/logs"))

    assert answer.status_code == 201
    assert answer.headers["location"] == "/runs/r1"
    assert (answer.json()["state"], answer.json()["counts"], answer.json()["owner"]) == (
        "pending",
        {"pending": 2},
        "ada",
    )
    items = (await house.get("/runs/r1")).json()["items"]
    assert [(one["task_id"], one["state"]) for one in items] == [("a", "pending"), ("b", "pending")]
    (command,) = await commands(house)
    requested = command.data
    assert isinstance(requested, RunRequested)
    assert (requested.run_id, requested.parts, requested.log_dir, requested.owner) == ("r1", 1, "~/logs", "ada")
    assert requested.tasks[0] == TaskSpec(id="a", command="make a", env={"SECRET": "hunter2"})


async def test_a_run_may_ask_to_be_followed_whether_somebody_looks_or_not(house: House) -> None:
    await house.post("/runs", document(run_id="plain"))
    answer = await house.post("/runs", document(run_id="asks", follow=True))

    rows = await house.rows("SELECT run_id, follow FROM outputs.runs ORDER BY run_id")
    assert answer.status_code == 201
    assert [tuple(row) for row in rows] == [("asks", True), ("plain", False)]


async def test_a_run_that_does_not_ask_to_be_followed_is_the_same_document_as_before(house: House) -> None:
    await house.post("/runs", document(run_id="r1"))

    same = await house.post("/runs", document(run_id="r1", follow=False))
    other = await house.post("/runs", document(run_id="r1", follow=True))

    (row,) = await house.rows("SELECT document_sha256 FROM outputs.runs")
    assert row.document_sha256 == "2b190f8e77d82149e1540b14a15a95b4e9350937d5e2a8ccaf7cf3872bdff648"
    assert (same.status_code, other.status_code) == (200, 409)


async def test_whether_a_run_is_followed_is_true_or_false(house: House) -> None:
    answer = await house.post("/runs", document(follow="yes"))
    unknown = await house.post("/runs", document(folow=True))

    assert answer.json()["errors"] == [{"field": "follow", "message": "Expected `bool`, got `str`"}]
    known = "there are name, cluster, tasks, run_id, log_dir, follow, visibility, group"
    assert unknown.json()["errors"][0]["message"].endswith(known)


async def test_values_of_the_environment_are_never_given_back(house: House) -> None:
    await house.post("/runs", document({"id": "a", "command": "x", "env": {"SECRET": "hunter2"}}, run_id="r1"))

    for path in ("/runs/r1", "/runs/r1/tasks/a", "/runs/r1/tasks/a/detail/json", "/runs/r1/tasks/a/detail/script"):
        assert "hunter2" not in (await house.get(path)).text
    assert (await house.get("/runs/r1/tasks/a")).json()["definition"]["env"] == {"SECRET": None}


async def test_ids_that_we_make_begin_with_a_letter_and_are_no_numbers(house: House) -> None:
    made = {(await house.post("/runs", document())).json()["run_id"] for _ in range(5)}

    assert len(made) == 5
    for run_id in made:
        assert run_id[0].isalpha()
        with pytest.raises(ValueError, match="could not convert"):
            float(run_id)


async def test_the_same_document_again_finds_the_run(house: House) -> None:
    asked = document(run_id="r1")
    await house.post("/runs", asked)

    again = await house.post("/runs", msgspec.json.encode({key: asked[key] for key in reversed(asked)}))

    assert (again.status_code, again.json()["run_id"]) == (200, "r1")
    assert len(await commands(house)) == 1


@pytest.mark.parametrize("actor", ["ada", "bob"])
async def test_another_document_under_the_same_id_is_refused(house: House, actor: str) -> None:
    await house.post("/runs", document(run_id="r1"))

    answer = await house.post("/runs", document(run_id="r1", name="other" if actor == "ada" else "a run"), actor=actor)

    assert answer.status_code == 409
    assert "choose another run_id" in answer.json()["detail"]


async def test_a_key_makes_a_request_without_run_id_harmless_to_repeat(house: House) -> None:
    answers = [await house.post("/runs", document(), **{"idempotency-key": "k1"}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert len({answer.json()["run_id"] for answer in answers}) == 1
    other = await house.post("/runs", document(name="other"), **{"idempotency-key": "k1"})
    assert other.status_code == 409
    assert (await house.post("/runs", document(), "bob", **{"idempotency-key": "k1"})).status_code == 201


async def test_a_key_sent_many_times_at_once_makes_one_run(house: House) -> None:
    sent = [house.post("/runs", document(), **{"idempotency-key": "k1"}) for _ in range(8)]

    answers = await asyncio.gather(*sent)

    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len(await commands(house)) == 1


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_that_is_none_is_refused(house: House, key: str) -> None:
    assert (await house.post("/runs", document(), **{"idempotency-key": key})).status_code == 422


async def test_a_large_run_travels_in_parts(house: House) -> None:
    tasks = [{"id": f"t{number}", "command": "x" * 100_000} for number in range(12)]

    assert (await house.post("/runs", document(*tasks, run_id="r1"))).status_code == 201

    found = await commands(house)
    parts = [event.data for event in found if isinstance(event.data, RunRequested)]
    assert all(len(events.encode(event)) <= events.MAX_PART_BYTES for event in found)
    assert [part.part for part in parts] == list(range(parts[0].parts))
    assert [task.id for part in parts for task in part.tasks] == [task["id"] for task in tasks]
    assert [part.first_position for part in parts] == [0, 5, 10]


def refused(**fields: Any) -> dict[str, Any]:
    return document() | fields


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({}, ["cluster", "name", "tasks"]),
        ([], [""]),
        ("text", [""]),
        (refused(cluster="nowhere"), ["cluster"]),
        (refused(run_id="../r"), ["run_id"]),
        (refused(run_id="_run"), ["run_id"]),
        (refused(name=""), ["name"]),
        (refused(name=7, cluster=None), ["cluster", "name"]),
        (refused(name="nul \0"), ["name"]),
        (refused(log_dir="relative"), ["log_dir"]),
        (refused(colour="red"), ["colour"]),
        (refused(tasks=[]), ["tasks"]),
        (refused(tasks="t"), ["tasks"]),
        (refused(tasks=["t", {"id": "a"}]), ["tasks[0]", "tasks[1].command"]),
        (document({"id": "a/b", "command": "x"}), ["tasks[0].id"]),
        (document({"id": "a", "command": "x"}, {"id": "a", "command": "x"}), ["tasks[1].id"]),
        (document({"id": "a", "command": "x", "deps": ["b"]}), ["tasks[0].deps"]),
        (document({"id": "a", "command": "x", "deps": ["a"]}), ["tasks[0].deps"]),
        (
            document({"id": "a", "command": "x", "deps": ["b"]}, {"id": "b", "command": "x", "deps": ["a"]}),
            ["tasks"],
        ),
        (
            document({"id": "a", "command": " ", "cpus": "two", "colour": 1}),
            ["tasks[0].colour", "tasks[0].command", "tasks[0].cpus"],
        ),
        (
            document({"id": "a/b", "command": 1, "deps": ["q"]}, 5, {"id": "c", "command": ""}, cluster="nowhere"),
            ["cluster", "tasks[0].command", "tasks[0].deps", "tasks[0].id", "tasks[1]", "tasks[2].command"],
        ),
        (refused(log_dir="/scratch/../home"), ["log_dir"]),
        (document({"id": "a", "command": "x", "name": "nul \0"}), ["tasks[0].name"]),
        (document({"id": "a", "command": "x", "generates_source": "\0"}), ["tasks[0].generates_source"]),
        (document({"id": "a", "command": "x", "partition": "x\n#SBATCH"}), ["tasks[0].partition"]),
        (document({"id": "a", "command": "x", "env": {"SCRIPTHUT_RUN_ID": "1"}}), ["tasks[0].env['SCRIPTHUT_RUN_ID']"]),
        (document({"id": "a", "command": "x" * 300_000}), ["tasks[0].command"]),
    ],
)
async def test_a_wrong_document_is_refused_with_every_faulty_field(house: House, asked: Any, fields: list[str]) -> None:
    answer = await house.post("/runs", asked)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert sorted(problem["field"] for problem in answer.json()["errors"]) == fields
    assert await house.rows("SELECT * FROM outputs.runs") == []
    assert await house.rows("SELECT * FROM outputs.outbox") == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"name":"\\ud800"}'])
async def test_what_is_no_json_is_refused(house: House, body: bytes) -> None:
    answer = await house.post("/runs", body)

    assert answer.status_code == 422
    assert "not readable as JSON" in answer.json()["errors"][0]["message"]


async def test_too_many_tasks_are_refused_with_the_limit(house: House) -> None:
    answer = await house.post("/runs", document(*({"id": f"t{n}", "command": "x"} for n in range(10_001))))

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "tasks", "message": "10001 tasks; at most 10000 in one run"}]


async def test_too_many_tasks_and_a_wrong_one_among_them_are_both_named(house: House) -> None:
    tasks = [{"id": f"t{n}", "command": "x"} for n in range(10_001)]

    answer = await house.post("/runs", document(*tasks, {"id": 5, "command": "x"}))

    assert [problem["field"] for problem in answer.json()["errors"]] == ["tasks[10001].id", "tasks"]


async def test_a_key_written_twice_and_wrong_once_is_refused_with_a_reason(house: House) -> None:
    body = b'{"name": 1, "name": "n", "cluster": "daint", "tasks": [{"id": "a", "command": "x"}]}'

    answer = await house.post("/runs", body)

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "", "message": "Expected `str`, got `int` - at `$.name`"}]


async def test_as_many_tasks_as_there_may_be_are_taken(house: House) -> None:
    answer = await house.post("/runs", document(*({"id": f"t{n}", "command": "x"} for n in range(10_000)), run_id="r1"))

    assert answer.status_code == 201
    first = (await house.get("/runs/r1?limit=6000")).json()
    second = (await house.get(f"/runs/r1?limit=6000&cursor={first['next']}")).json()
    assert [one["task_id"] for one in first["items"] + second["items"]] == [f"t{n}" for n in range(10_000)]
    assert second["next"] is None


async def test_a_body_over_the_limit_is_refused(house: House) -> None:
    answer = await house.post("/runs", b" " * (33 * 1024 * 1024))

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_document_whose_sender_went_away_is_no_fault_of_ours(house: House) -> None:
    begun = {"type": "http.request", "body": b'{"name":', "more_body": True}

    answer = await raw_ask(house, "POST", b"/runs", begun, {"type": "http.disconnect"})

    assert answer.status_code == 400
    assert b"its sender went away" in answer.body


async def test_hostile_text_is_kept_as_it_is(house: House) -> None:
    hostile = "a'\"; DROP TABLE runs; -- $(id) `id`\n<script>alert(1)</script> é🎈"
    await house.post("/runs", document({"id": "a", "command": hostile, "name": hostile}, run_id="r1", name=hostile))

    assert (await house.get("/runs/r1")).json()["name"] == hostile
    assert (await house.get("/runs/r1/tasks/a")).json()["task_name"] == hostile
    assert (await house.get("/runs/r1/tasks/a/detail/script")).json()["content"] == hostile


async def test_cancel_asks_the_poller(house: House) -> None:
    await house.apply(item())

    answer = await house.post("/runs/r1/cancel")

    assert answer.status_code == 202
    (command,) = await commands(house)
    assert isinstance(command.data, RunCancelRequested)
    assert (command.data.run_id, command.data.cluster, command.data.requested_by) == ("r1", "daint", "ada")
